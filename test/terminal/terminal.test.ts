import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { startChatServer } from '../support/chat-server.ts'
import { startProxy } from '../support/proxy.ts'
import { startServer } from '../support/server.ts'
import { cutShort } from '../support/upstream-scripts.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const COMMAND = [process.execPath, '--disable-warning=ExperimentalWarning', MAIN, 'chat']

/** Runs the command with this on its standard input, to its end. */
async function pipe(input: string, ...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const [program = '', ...before] = COMMAND
  const child = spawn(program, [...before, ...args], { stdio: 'pipe' })
  onTestFinished(() => void child.kill('SIGKILL'))
  const ended = once(child, 'close')
  child.stdin.end(input)
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])
  await ended
  return { code: child.exitCode, out, err }
}

/** A pseudo-terminal for the command; it ends with its exit code, or that of a shell where a signal ended it. */
const PTY = `
import os, pty, sys
code = os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:]))
sys.exit(code if code >= 0 else 128 - code)
`

/** The command at a terminal. */
function type(...args: string[]) {
  const child: ChildProcess = spawn('/usr/bin/python3', ['-c', PTY, ...COMMAND, ...args], { stdio: 'pipe' })
  onTestFinished(() => void child.kill('SIGKILL'))
  let screen = ''
  child.stdout?.on('data', (data) => {
    screen += String(data)
  })
  const shown = () => stripVTControlCharacters(screen).replaceAll('\r', '')
  return {
    screen: () => screen,
    shown,
    type: (keys: string) => child.stdin?.write(keys),
    terminate: () => execFileSync('pkill', ['-TERM', '-P', String(child.pid)]),
    shows: (words: string) => expect.poll(shown, { timeout: 10_000 }).toContain(words),
    ended: once(child, 'close').then(() => child.exitCode),
  }
}

test('standard input is asked line by line, and nothing but the answers is written', async () => {
  const { server } = await startChatServer()
  const { code, out, err } = await pipe('Hello\n\nWhat now?\n/regenerate\n', `${server.url}/ai-chat/one`)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  expect(out).toBe('Hello\nWhat now?\nWhat now?\n')
  // Who comes later gets no history here.
  expect((await pipe('Me too', `${server.url}/ai-chat/one`)).out).toBe('Me too\n')
})

test('what fails is told in a line, with exit code 1', async () => {
  const { server, upstream } = await startChatServer()
  upstream.next(cutShort({ after: 2 }))
  const broken = await pipe('one two three four\nnever asked\n', `${server.url}/ai-chat/one`)
  expect(broken).toMatchObject({ code: 1, err: 'statewire: The answer broke off before its end.\n' })
  expect(broken.out).not.toContain('never asked')
  const nowhere = await pipe('hi', 'ws://127.0.0.1:1/ai-chat/one')
  expect(nowhere).toMatchObject({ code: 1, out: '' })
  expect(nowhere.err).toContain('ws://127.0.0.1:1/ai-chat/one cannot be reached')
  for (const args of [
    [],
    ['nonsense'],
    ['ftp://host/'],
    ['http://host/ai-chat'],
    ['ws://'],
    ['ws://a/', 'ws://b/'],
    ['--unknown'],
  ]) {
    expect(await pipe('hi', ...args)).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(/^statewire: [^\n]+\n$/),
    })
  }
  expect(await pipe('', '--help')).toMatchObject({ code: 0, out: expect.stringContaining('/regenerate') })
})

test('a line that looks like a command and is none is no message, with exit code 1; /help goes where answers do not', async () => {
  const { server, upstream } = await startChatServer()
  const url = `${server.url}/ai-chat/one`
  expect(await pipe('one\n/nonsense\ntwo\n', url)).toEqual({
    code: 1,
    out: 'one\n',
    err: 'statewire: /nonsense is no command; /help lists them\n',
  })
  const helped = await pipe('/help\n/a/path\n', url)
  expect(helped).toEqual({ code: 0, out: '/a/path\n', err: expect.stringContaining('/regenerate') })
  expect(upstream.requests.map(({ body }) => body.messages.at(-1)?.content)).toEqual(['one', '/a/path'])
})

test('SIGTERM ends it as SIGTERM does (143 for a shell), from a pipe and at a terminal', async () => {
  const [program = '', ...before] = COMMAND
  const args = [...before, 'ws://127.0.0.1:1/chat/one']
  const piped = spawn(program, args, { stdio: 'pipe' })
  onTestFinished(() => void piped.kill('SIGKILL'))
  await once(piped.stderr, 'data')
  piped.kill('SIGTERM')
  expect(await once(piped, 'exit')).toEqual([null, 'SIGTERM'])
  const terminal = type(String(args.at(-1)))
  await terminal.shows('Trying again…')
  terminal.terminate()
  expect(await terminal.ended).toBe(143)
})

test('G2 an answer goes on over a lost connection, which is told on standard error', async () => {
  const { server, upstream } = await startChatServer()
  const proxy = await startProxy(server.url)
  const answer = upstream.hold()
  const piped = pipe('tell me', `${proxy.url}/ai-chat/one`)
  await answer.requested
  answer.open()
  answer.say('once upon ')
  await answer.flushed()
  proxy.cutAll()
  answer.say('a time')
  answer.finish()
  expect(await piped).toEqual({
    code: 0,
    out: 'once upon a time\n',
    err: 'statewire: Connection lost. Reconnecting…\nstatewire: Connected.\n',
  })
})

test('at a terminal it shows the history, streams, answers anew, stops by Ctrl-C, and leaves by the second', async () => {
  const { server, upstream } = await startChatServer()
  const url = `${server.url}/ai-chat/one`
  await pipe('before', url)
  const terminal = type(url)
  await terminal.shows('> before\nbefore\n\n> ')
  terminal.type('first words\r')
  await terminal.shows('> first words\nfirst words\n')
  terminal.type('/regenerate\r')
  await terminal.shows('> /regenerate\nfirst words\n')
  const answer = upstream.hold()
  terminal.type('a story\r')
  await answer.requested
  answer.open()
  answer.say('once \u001b[31mupon')
  await terminal.shows('once [31mupon')
  terminal.type('\u0003')
  await terminal.shows('[The answer was stopped.]\n\n> ')
  terminal.type('/nonsense\r')
  await terminal.shows('/nonsense is no command')
  terminal.type('\u0003')
  await terminal.shows('[Ctrl-C again leaves.]')
  terminal.type('\u0003')
  expect(await terminal.ended).toBe(0)
})

test('at a terminal a lost connection is told, and what is typed meanwhile goes out', async () => {
  const server = await startServer()
  const proxy = await startProxy(server.url)
  const terminal = type(`${proxy.url}/chat/one`)
  await terminal.shows('> ')
  proxy.cutAll()
  await terminal.shows('[Connection lost. Reconnecting…]')
  await terminal.shows('[Connected.]')
  terminal.type('still here\r')
  await terminal.shows('still here。')
  terminal.type('/quit\r')
  expect(await terminal.ended).toBe(0)
})
