import { describe, expect, test } from 'vitest'
import { LogError } from '../../src/log/channel-log.ts'
import { slotOf } from '../../src/log/redis-keys.ts'
import { openRedisLog } from '../../src/log/redis-log.ts'
import { parseRedisUrl } from '../../src/log/redis-url.ts'

describe('the address of Redis', () => {
  test('a single server, with a database, a user and a password', () => {
    expect(parseRedisUrl('redis://localhost')).toEqual({
      kind: 'single',
      options: { host: 'localhost', port: 6379, db: 0 },
      description: 'redis at localhost:6379',
    })
    expect(parseRedisUrl('rediss://me:p%40ss@[::1]:7000/3')).toMatchObject({
      options: { host: '::1', port: 7000, db: 3, username: 'me', password: 'p@ss', tls: {} },
    })
    expect(parseRedisUrl('redis://:secret@h').options).toEqual({ password: 'secret', host: 'h', port: 6379, db: 0 })
  })

  test('sentinels with the name of the master, and a Cluster', () => {
    expect(parseRedisUrl('redis+sentinel://a:1,b/mymaster/2')).toEqual({
      kind: 'sentinel',
      options: {
        sentinels: [
          { host: 'a', port: 1 },
          { host: 'b', port: 26379 },
        ],
        name: 'mymaster',
        db: 2,
        enableTLSForSentinelMode: false,
      },
      description: 'redis mymaster by the sentinels at a:1, b:26379',
    })
    expect(parseRedisUrl('redis+cluster://:pw@a:1,b:2')).toEqual({
      kind: 'cluster',
      nodes: [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
      ],
      options: { password: 'pw' },
      description: 'redis cluster at a:1, b:2',
    })
  })

  test.each([
    'http://h:secret',
    'redis://secret@',
    'redis://:secret@a,b',
    'redis://:secret@h/x',
    'redis+sentinel://:secret@a:1',
    'redis+cluster://:secret@a:1/0',
    'redis://:secret%@h',
    'redis://:secret@h:99999',
  ])('a wrong one is refused, and never shown: %s', (url) => {
    expect(() => parseRedisUrl(url)).toThrow(LogError)
    expect(() => parseRedisUrl(url)).not.toThrow(/secret/)
  })

  test('nobody there: one sentence within the time, without the password', async () => {
    const opened = openRedisLog({ url: 'redis://:secret@127.0.0.1:1', ttlMs: 1000, waitReplicas: 0, timeoutMs: 100 })
    const error = await opened.then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error).toMatchObject({ name: 'LogError', code: 'failed' })
    expect(String(error)).toMatch(/^LogError: redis at 127\.0\.0\.1:1 cannot be reached: .*ECONNREFUSED/)
    expect(String(error)).not.toContain('secret')
  })
})

test('the slot of a key is that of its hash tag, as Redis counts it', () => {
  // From `redis-cli cluster keyslot`.
  expect(slotOf('sw:{123456789}:meta')).toBe(0x31c3)
  expect(slotOf('sw:{foo}:log')).toBe(12_182)
})
