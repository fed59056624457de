import { parseArgs } from 'node:util'
import { connect } from '../client/index.ts'
import { COMMANDS } from './commands.ts'
import { startInteractive } from './interactive.ts'
import { tellLink } from './link-lines.ts'
import { runPiped } from './piped.ts'

const USAGE = `Usage: statewire chat <url>

Talks to a chat of a server, such as ws://127.0.0.1:8000/ai-chat/my-chat; without a channel's name, to a new one.
With standard input from a file or a pipe, each line is a message, and only the answers are written:

  echo 'Why is the sky blue?' | statewire chat ws://127.0.0.1:8000/ai-chat

At a terminal:

${COMMANDS}`

/** The command `statewire chat`. Answers the exit code; throws where the arguments are wrong. */
export async function runChat(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    options: { help: { type: 'boolean', short: 'h' } },
    allowPositionals: true,
  })
  if (values.help === true) {
    process.stdout.write(USAGE)
    return 0
  }
  const [url] = positionals
  if (url === undefined || positionals.length > 1 || !/^wss?:\/\//.test(url) || !URL.canParse(url)) {
    process.stderr.write('statewire: chat takes one ws:// or wss:// URL, such as ws://127.0.0.1:8000/ai-chat/my-chat\n')
    return 1
  }
  const chat = connect(url)
  const code = process.stdin.isTTY && process.stdout.isTTY ? await converse() : await pipe()
  await new Promise<void>((closed) => {
    chat.on('state', ({ at }) => {
      if (at === 'closed') closed()
    })
    chat.close()
    if (chat.state === 'closed') closed()
  })
  return code

  async function converse(): Promise<number> {
    const { tell, left } = startInteractive(chat)
    tellLink(chat, String(url), tell)
    await left
    return chat.state === 'closed' ? 1 : 0
  }

  function pipe(): Promise<number> {
    const tell = (line: string) => void process.stderr.write(`statewire: ${line}\n`)
    tellLink(chat, String(url), tell)
    return runPiped(chat, tell)
  }
}
