import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { ended, framesOf, startChatServer } from '../../support/chat-server.ts'
import { connect } from '../../support/client.ts'
import { isLong } from '../../support/faults/fault-run.ts'
import { startProxy } from '../../support/proxy.ts'
import type { Script } from '../../support/upstream-scripts.ts'
import { createWitness, watch } from '../../support/witness.ts'

const CUTS = isLong ? 1000 : 100
/** The most frames that a connection gets to see. */
const LONGEST_LIFE = 20
/** How many of the returns do not resume, but join anew: one in so many. */
const FORGETFUL = 10

/** How long a connection is kept that has nothing more to tell, in ms. */
const PATIENCE_MS = 30

/** What the upstream says to a message: pieces of text and of reasoning, of one to four bytes a character. */
function piecesFor(message: string): { text: string; isReasoning: boolean }[] {
  const number = Number(message)
  return Array.from({ length: 20 + (number % 30) }, (_, at) => ({
    text: `${['word', 'größer', '你好', '🙂', '\n"\\', ' '][(number + at) % 6]}${at} `,
    isReasoning: at < number % 7,
  }))
}

const textFor = (message: string, isReasoning: boolean) =>
  piecesFor(message)
    .filter((piece) => piece.isReasoning === isReasoning)
    .map(({ text }) => text)
    .join('')

const sayPieces: Script = async (answer, { body }) => {
  for (const [at, piece] of piecesFor(body.messages.at(-1)?.content ?? '').entries()) {
    if (piece.isReasoning) answer.reason(piece.text)
    else answer.say(piece.text)
    if (at % 2 === 0) await sleep(1)
  }
  answer.finish()
}

test(`G2 G4 C7 ${CUTS} cuts at random frames: byte for byte what the upstream sent`, { timeout: 300_000 }, async () => {
  const chat = await startChatServer(
    { HISTORY_MESSAGES: '100000', CONTEXT_MESSAGES: '1', SYSTEM_PROMPT: '' },
    { store: 'sqlite' },
  )
  chat.upstream.always(sayPieces)
  const proxy = await startProxy(chat.server.url)
  const [reference, seen] = [createWitness(), createWitness()]
  const stayer = await chat.join()
  const stays = watch(stayer, reference)

  const asked: string[] = []
  let cuts = 0
  let isAcknowledged = true
  while (cuts < CUTS) {
    const query = Math.random() * FORGETFUL < 1 ? '' : seen.query
    const client = await connect(`${proxy.url}/ai-chat/one${query}`)
    const life = 1 + Math.floor(Math.random() * LONGEST_LIFE)
    const byClient = Math.random() < 0.5
    const reads = watch(client, seen, byClient ? life : undefined)
    // What was not acknowledged is sent again; what was answered is followed by the next one.
    const isOver = [...seen.turns.values()].filter(({ outcome }) => outcome !== undefined).length >= asked.length
    if (isAcknowledged && isOver) {
      asked.push(String(asked.length))
      isAcknowledged = false
    }
    const id = asked.at(-1) ?? ''
    seen.sent(id)
    if (!isAcknowledged) client.send({ type: 'user_message', content: id, id })
    // A connection may have nothing more to tell: then the next message is asked for on another.
    await Promise.race([reads.until(() => reads.taken >= life), sleep(PATIENCE_MS)])
    if (byClient) client.cut()
    else proxy.cutAll()
    await client.closed
    cuts++
    isAcknowledged ||= client.frames
      .slice(0, reads.taken)
      .some((frame) => frame.type === 'user_message' && frame.id === id)
  }

  const last = await chat.join(seen.query)
  const reads = watch(last, seen)
  const id = asked.at(-1) ?? ''
  seen.sent(id)
  last.send({ type: 'user_message', content: id, id })
  const { turn_id } = await stayer.next('user_message', (frame) => frame.id === id)
  await ended(stayer, String(turn_id))
  await reads.until(() => seen.turns.get(String(turn_id))?.outcome === 'completed')
  await stays.until(() => reference.offset >= seen.offset)

  seen.compare(reference)
  const messages = framesOf(stayer, 'user_message')
  expect(messages.map(({ content }) => content)).toEqual(asked)
  let bytes = 0
  for (const { turn_id, content } of messages) {
    const shown = seen.turns.get(String(turn_id))
    const text = textFor(String(content), false)
    expect(Buffer.from(shown?.text ?? '').equals(Buffer.from(text)), `turn ${content}`).toBe(true)
    expect(shown?.outcome).toBe('completed')
    if (shown?.reasoning !== undefined) expect(shown.reasoning).toBe(textFor(String(content), true))
    expect(reference.turns.get(String(turn_id))).toMatchObject({ text, reasoning: textFor(String(content), true) })
    bytes += Buffer.byteLength(text)
  }
  expect(chat.upstream.requests).toHaveLength(asked.length)
  const { welcomes, resumed, frames } = seen.counts
  console.log(
    `cuts: ${cuts}, connections: ${welcomes} (${resumed} resumed), frames: ${frames}, turns: ${asked.length}, bytes compared: ${bytes}`,
  )
})
