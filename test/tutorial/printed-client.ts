import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { temporaryDirectory } from '../support/server.ts'

/** A program that the tutorial prints, as printed but for host and port. `url` is the server's, such as `ws://127.0.0.1:8000`. */
export function printedClient(file: string, url: string): string {
  const printed = readFileSync(new URL(`clients/${file}`, import.meta.url), 'utf8')
  const address = 'localhost:8000'
  if (!printed.includes(address)) throw new Error(`${file} names no ${address}`)
  return printed.replaceAll(address, new URL(url).host)
}

/** Runs a printed program to its end; answers its standard output. Throws where it fails or says anything on standard error. */
export async function runPrinted(interpreter: 'python' | 'sh', file: string, url: string): Promise<string> {
  const directory = temporaryDirectory()
  const program = join(directory, file)
  writeFileSync(program, printedClient(file, url))
  // The tutorial says `python`; Debian has the websockets module for its own python3 only, and no `python` at all.
  symlinkSync('/usr/bin/python3', join(directory, 'python'))
  const env = { ...process.env, PATH: `${directory}${delimiter}${process.env.PATH}`, PYTHONIOENCODING: 'utf-8' }
  const child = spawn(interpreter, [program], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  if (code !== 0 || errors !== '') throw new Error(`${file} ended with ${code}: ${errors}`)
  return output
}
