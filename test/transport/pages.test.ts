import { expect, test } from 'vitest'
import { startServer } from '../support/server.ts'

test('a page and its assets answer GET and HEAD alike, and the server lives on', async () => {
  const server = await startServer()
  const base = server.url.replace('ws', 'http')
  const page = await fetch(base)
  const text = await page.text()
  const asset = /(?:src|href)="\.?(\/assets\/[^"]+)"/.exec(text)?.[1]
  for (const path of ['/', ...(asset === undefined ? [] : [asset])]) {
    const got = await fetch(base + path)
    const head = await fetch(base + path, { method: 'HEAD' })
    expect(head.status).toBe(200)
    expect(await head.text()).toBe('')
    for (const name of ['content-type', 'content-length', 'cache-control', 'content-security-policy']) {
      expect(head.headers.get(name)).toBe(got.headers.get(name))
    }
  }
  expect((await fetch(`${base}/nothing`, { method: 'HEAD' })).status).toBe(404)
  expect((await fetch(base, { method: 'POST' })).status).toBe(404)
  expect((await fetch(base)).status).toBe(200)
})
