/** What may be typed at a terminal, or stand on a line of standard input, in the words of `/help`. */
export const COMMANDS = `/stop        ends the answer that is being written; so does Ctrl-C
/regenerate  asks for another answer to the last message
/new         begins a conversation that knows nothing of this one
/help        shows this
/quit        leaves; so do Ctrl-D, and Ctrl-C twice
What is typed while an answer is written shows up after it.
`

const NAMES: readonly string[] = COMMANDS.match(/^\/\w+/gm) ?? []

/** What is told of a line that looks like a command and is none; undefined for any other line. */
export function noCommand(line: string): string | undefined {
  return /^\/\w+$/.test(line) && !NAMES.includes(line) ? `${line} is no command; /help lists them` : undefined
}
