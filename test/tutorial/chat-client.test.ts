import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ConsoleMessage, Page } from 'playwright-core'
import { expect, onTestFinished, test } from 'vitest'
import { launchBrowser } from '../support/browser.ts'
import { connect } from '../support/client.ts'
import { freePort } from '../support/free-port.ts'
import { spawnServer, temporaryDirectory } from '../support/server.ts'
import { printedClient } from './printed-client.ts'

/** Serves one page whose script is set once the server's address is known. Answers its origin. */
async function servePage(script: () => string): Promise<string> {
  const pages = createServer((request, response) => {
    const isScript = request.url === '/chat-client.js'
    response.setHeader('content-type', isScript ? 'text/javascript; charset=utf-8' : 'text/html; charset=utf-8')
    response.end(
      isScript ? script() : '<!doctype html><link rel="icon" href="data:,"><script src="/chat-client.js"></script>',
    )
  }).listen(0, '127.0.0.1')
  onTestFinished(() => {
    pages.closeAllConnections()
    pages.close()
  })
  await once(pages, 'listening')
  return `http://127.0.0.1:${(pages.address() as AddressInfo).port}`
}

/** The next console message that begins so. */
function logged(page: Page, start: string): Promise<ConsoleMessage> {
  return page.waitForEvent('console', { predicate: (message) => message.text().startsWith(start), timeout: 15_000 })
}

test('G11 the ChatClient (tutorial 5.2) chats, returns after a restart of the server, and finds the history', async () => {
  let script = ''
  const origin = await servePage(() => script)
  const env = { DATA_DIR: temporaryDirectory(), ALLOWED_ORIGINS: origin, PORT: String(await freePort()) }
  const server = await spawnServer(env)
  script = printedClient('chat-client.js.txt', server.url)
  await using browser = await launchBrowser()
  const { page, problems } = await browser.open(origin)

  const watcher = await connect(`${server.url}/chat/session-1`)
  const connected = logged(page, '连接成功')
  await page.evaluate('globalThis.client = new ChatClient("session-1"); client.connect()')
  await connected
  expect(await page.evaluate('client.ws.readyState')).toBe(1)
  await page.evaluate('client.send({ type: "user_message", content: "hello from the browser" })')
  await watcher.next('ai_stream_end')
  expect(problems).toEqual([])

  // As a crash does; after a polite 1001 this client stays away by its own choice (`wasClean`).
  const [retrying, returned, restored] = [
    logged(page, '将在 '),
    logged(page, '连接成功'),
    logged(page, '恢复历史会话:'),
  ]
  await server.kill('SIGKILL')
  await spawnServer(env)
  expect((await retrying).text()).toBe('将在 1000ms 后重连...')
  await returned
  const history = await (await restored).args()[1]?.jsonValue()
  expect(history).toMatchObject([
    { role: 'user', content: 'hello from the browser' },
    { role: 'assistant', content: expect.stringContaining('hello from the browser'), outcome: 'completed' },
  ])
  expect(await page.evaluate('client.reconnectAttempts')).toBe(0)
}, 40_000)

test('L3 the ChatClient of a page that is not allowed does not get in', async () => {
  let script = ''
  const origin = await servePage(() => script)
  const server = await spawnServer({ DATA_DIR: temporaryDirectory() })
  script = printedClient('chat-client.js.txt', server.url)
  await using browser = await launchBrowser()
  const { page } = await browser.open(origin)
  const refused = logged(page, 'WebSocket 错误:')
  await page.evaluate('globalThis.client = new ChatClient("session-1"); client.connect()')
  await refused
  expect(await page.evaluate('client.ws.readyState')).toBe(3)
})
