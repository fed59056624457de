import { clearLine, createInterface, cursorTo } from 'node:readline'
import { Writable } from 'node:stream'
import { styleText } from 'node:util'
import { type Chat, ChatError, type Turn } from '../client/index.ts'
import { COMMANDS, noCommand } from './commands.ts'
import { createTranscript } from './transcript.ts'

/** A conversation at a terminal. Resolves when the person leaves, or the connection has ended for good. */
export interface Interactive {
  /** Tells something beside the conversation, on standard error. */
  tell(line: string): void
  readonly left: Promise<void>
}

/** See {@link Interactive}. The prompt stands only while nothing is being answered. */
export function startInteractive(chat: Chat): Interactive {
  const { stdin, stdout, stderr } = process
  const dim = (text: string) => styleText('dim', text, { stream: stdout })
  const typed = new Set<string>()
  let isPrompting = false
  let isMidLine = false
  let isWarned = false

  // While an answer is written, the line editor must not write between its words.
  const screen = new Writable({
    write(data, _encoding, done) {
      if (isPrompting) stdout.write(data)
      done()
    },
  })
  const editor = createInterface({ input: stdin, output: screen, terminal: true, prompt: '> ' })
  const { promise: left, resolve: leave } = Promise.withResolvers<void>()
  const transcript = createTranscript({
    write(text) {
      hidePrompt()
      isMidLine = !text.endsWith('\n')
      stdout.write(text)
    },
    isTyped: (id) => typed.has(id),
    question: (text) => styleText('bold', text, { stream: stdout }),
    note: dim,
  })

  function hidePrompt(): void {
    if (!isPrompting) return
    cursorTo(stdout, 0)
    clearLine(stdout, 0)
    isPrompting = false
  }

  function isBusy(): boolean {
    return chat.turn !== 'idle' || (chat.state === 'open' && chat.outbox.length > 0)
  }

  function draw(): void {
    transcript.update(chat.history)
    if (isBusy()) hidePrompt()
    else if (!isPrompting && chat.position !== undefined) {
      isPrompting = true
      editor.prompt(true)
    }
  }

  function tell(line: string): void {
    hidePrompt()
    stderr.write(`${isMidLine ? '\n' : ''}${styleText('dim', `[${line}]`, { stream: stderr })}\n`)
    isMidLine = false
    draw()
  }

  // How a turn ended stands in the transcript; that it never began does not.
  function watch(turn: Turn): void {
    turn.ended.catch(tellError)
  }

  function tellError(error: unknown): void {
    if (!(error instanceof ChatError)) throw error
    if (error.code !== 'closed') tell(error.message)
  }

  const commands: Readonly<Record<string, () => void>> = {
    '/stop': () => chat.stop(),
    '/regenerate': () => watch(chat.regenerate()),
    '/new': () => void chat.startConversation().catch(tellError),
    '/help': () => void stdout.write(COMMANDS),
    '/quit': leave,
  }

  function obey(line: string): void {
    const unknown = noCommand(line)
    const command = Object.hasOwn(commands, line) ? commands[line] : undefined
    if (command !== undefined) command()
    else if (unknown !== undefined) tell(unknown)
    else if (line !== '') say(line)
  }

  function say(line: string): void {
    const wasShown = isPrompting
    const turn = chat.send(line)
    if (wasShown) typed.add(turn.id)
    watch(turn)
  }

  editor.on('line', (line) => {
    isWarned = false
    obey(line.trim())
    // The editor has gone to a new line, and forgets the prompt.
    isPrompting = false
    draw()
  })
  editor.on('SIGINT', () => {
    if (isWarned) return leave()
    isWarned = true
    // That the answer was stopped is told in the transcript.
    if (isBusy()) chat.stop()
    else tell('Ctrl-C again leaves.')
  })
  editor.on('close', leave)
  chat.on('change', draw)
  chat.on('error', ({ turn_id, content }) => {
    if (turn_id !== undefined) tell(content)
  })
  chat.on('state', ({ at }) => {
    if (at === 'closed') leave()
  })
  return {
    tell,
    left: left.then(() => {
      hidePrompt()
      editor.close()
    }),
  }
}
