import { describe, expect, it, onTestFinished } from 'vitest'
import { type Chat, type ConnectOptions, connect, type Turn } from '../../src/client/index.ts'
import { ask, startChatServer } from '../support/chat-server.ts'
import { connect as connectBare } from '../support/client.ts'
import { freePort } from '../support/free-port.ts'
import { startProxy } from '../support/proxy.ts'
import { spawnServer, startServer, temporaryDirectory } from '../support/server.ts'
import { startUpstream } from '../support/upstream.ts'

/** Over the real global WebSocket; closed when the test has finished. */
function open(url: string, options?: ConnectOptions): Chat {
  const chat = connect(url, options)
  onTestFinished(() => chat.close())
  return chat
}

async function textOf(turn: Turn): Promise<string> {
  let text = ''
  for await (const delta of turn) text += delta
  return text
}

const WORDS = Array.from({ length: 60 }, (_, index) => `word${index}ü `)

describe('the client on a real server', () => {
  it('C1 C3 iterates an answer, tells its usage, and answers anew', async () => {
    const { server, upstream } = await startChatServer()
    const chat = open(`${server.url}/ai-chat/one`)
    const turn = chat.send('hello out there')
    expect(await textOf(turn)).toContain('hello out there')
    expect(await turn.ended).toMatchObject({ outcome: 'completed', finishReason: 'stop' })
    const again = chat.regenerate()
    expect(await textOf(again)).toBe(turn.text)
    expect(again.turnId).not.toBe(turn.turnId)
    expect(chat.history).toMatchObject([{ question: 'hello out there', answer: { turnId: again.turnId } }])
    expect(upstream.requests).toHaveLength(2)
    expect(chat.position?.offset).toBeGreaterThan(0)
  })

  it('G2 C7 an answer that is cut at random is whole, and started once', async () => {
    const { server, upstream, entriesOf } = await startChatServer({ RATE_LIMIT: '10000' })
    const proxy = await startProxy(server.url)
    const chat = open(`${proxy.url}/ai-chat/one`)
    let frames = 0
    let cuts = 0
    let next = 1
    // Not by chance but by a fixed walk, so that a failure comes again; from the message's own frame on.
    const countDown = () => {
      if (++frames !== next) return
      cuts++
      next += 2 + ((cuts * 7) % 5)
      proxy.cutAll()
    }
    for (const type of ['welcome', 'user_message', 'typing', 'ai_stream_chunk', 'history'] as const)
      chat.on(type, countDown)
    const answer = upstream.hold()
    const turn = chat.send('tell me')
    const text = textOf(turn)
    await answer.requested
    answer.open()
    for (const word of WORDS) {
      answer.say(word)
      await answer.flushed()
      // The answer waits for whoever is being cut off from it, so that there is something left to cut.
      await expect.poll(() => chat.state, { interval: 1, timeout: 10_000 }).toBe('open')
      if (cuts < 8) await expect.poll(() => turn.text.endsWith(word), { interval: 1, timeout: 10_000 }).toBe(true)
    }
    answer.finish()
    expect(await text).toBe(WORDS.join(''))
    expect(cuts).toBeGreaterThan(7)
    expect(upstream.requests).toHaveLength(1)
    expect(await entriesOf('user_message')).toHaveLength(1)
  })

  it('C7 a message is written once although the line is cut before each acknowledgement', async () => {
    const { server, entriesOf } = await startChatServer()
    const proxy = await startProxy(server.url)
    for (let run = 0; run < 10; run++) {
      const chat = open(`${proxy.url}/ai-chat/one`)
      await expect.poll(() => chat.state).toBe('open')
      const turn = chat.send(`message ${run}`)
      // What is on its way is lost or is not, as it happens.
      if (run % 2 === 0) await new Promise((resolve) => setImmediate(resolve))
      proxy.cutAll()
      expect(await textOf(turn)).toContain(`message ${run}`)
      chat.close()
    }
    const contents = (await entriesOf('user_message')).map(({ content }) => content)
    expect(contents).toEqual(Array.from({ length: 10 }, (_, run) => `message ${run}`))
  })

  it('C14 a server that dies in mid-answer interrupts it, and the next one answers anew', async () => {
    const upstream = await startUpstream()
    onTestFinished(() => upstream.close())
    const PORT = String(await freePort())
    const env = { PORT, DATA_DIR: temporaryDirectory(), OPENAI_BASE_URL: upstream.baseUrl, LLM_BACKOFF_MS: '1' }
    const first = await spawnServer(env)
    const chat = open(`${first.url}/ai-chat/one`)
    const states: string[] = []
    chat.on('state', ({ at }) => states.push(at))
    const answer = upstream.hold()
    const turn = chat.send('tell me')
    await answer.requested
    answer.open()
    answer.say('once upon ')
    await expect.poll(() => turn.text).toBe('once upon ')
    await first.kill()
    await spawnServer(env)
    await expect(textOf(turn)).rejects.toMatchObject({ name: 'ChatError', code: 'interrupted' })
    expect(await turn.ended).toMatchObject({ outcome: 'interrupted', text: 'once upon ' })
    expect(states).toContain('waiting')
    expect(await textOf(chat.regenerate())).toContain('tell me')
  })

  it('C6 stops an answer', async () => {
    const { server, upstream } = await startChatServer()
    const chat = open(`${server.url}/ai-chat/one`)
    const answer = upstream.hold()
    const turn = chat.send('tell me')
    await answer.requested
    answer.open()
    answer.say('once ')
    for await (const delta of turn) {
      expect(delta).toBe('once ')
      chat.stop()
    }
    expect(await turn.ended).toMatchObject({ outcome: 'stopped', text: 'once ' })
  })

  it('C4 G3 a second client sees the history and what comes live', async () => {
    const { server } = await startChatServer()
    const chat = open(`${server.url}/ai-chat/one`)
    await chat.send('first').ended
    const other = open(`${server.url}/ai-chat/one`)
    await expect.poll(() => other.history).toMatchObject([{ question: 'first', answer: { outcome: 'completed' } }])
    const bare = await connectBare(`${server.url}/ai-chat/one`)
    await ask(bare, 'second')
    await expect.poll(() => other.history.length).toBe(2)
    await expect.poll(() => other.turn).toBe('idle')
    await expect.poll(() => chat.history).toMatchObject([{ question: 'first' }, other.history[1]])
  })

  it('L2 stays in the private channel that it was given', async () => {
    const server = await startServer()
    const proxy = await startProxy(server.url)
    const chat = open(`${proxy.url}/chat`)
    await chat.send('remember').ended
    const { channel } = chat
    proxy.cutAll()
    await expect.poll(() => proxy.accepted).toBe(2)
    await expect.poll(() => chat.state).toBe('open')
    expect(chat.channel).toBe(channel)
    await chat.send('and now').ended
    expect(chat.history).toHaveLength(2)
  })

  it('R1 R2 talks in a room', async () => {
    const server = await startServer()
    const [ada, bob] = [open(`${server.url}/room/lobby`), open(`${server.url}/room/lobby`)]
    const typing = new Promise((resolve) => bob.on('typing', resolve))
    await expect.poll(() => [ada.state, bob.state]).toEqual(['open', 'open'])
    await ada.message('hello')
    await expect.poll(() => bob.messages).toMatchObject([{ content: 'hello' }])
    ada.typing()
    expect(await typing).toMatchObject({ client_id: bob.messages[0]?.client_id })
    await expect(ada.startConversation()).rejects.toMatchObject({ code: 'illegal' })
  })

  it('L8 goes through a drain to the next server', async () => {
    const env = { PORT: String(await freePort()), DATA_DIR: temporaryDirectory(), SIMULATED_DELAY_MS: '0' }
    const first = await spawnServer(env)
    const chat = open(`${first.url}/chat/one`)
    await chat.send('before').ended
    await first.kill('SIGTERM')
    const turn = chat.send('after')
    await spawnServer(env)
    expect(await textOf(turn)).toContain('after')
    expect(chat.history).toHaveLength(2)
  })

  it('is told what is no URL', () => {
    expect(() => connect('no url')).toThrow(TypeError)
  })
})
