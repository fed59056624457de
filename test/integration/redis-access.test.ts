import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { ask, say } from '../support/chat-server.ts'
import { connect } from '../support/client.ts'
import { freePort } from '../support/free-port.ts'
import { type RedisProcess, startRedis } from '../support/redis.ts'
import { spawnServer, startServer, temporaryDirectory } from '../support/server.ts'

async function start(args: readonly string[] = []): Promise<RedisProcess> {
  const redis = await startRedis({ args })
  onTestFinished(() => redis.close())
  return redis
}

/** Uses the log, a lease, the queue, presence and a signal; all of it must be in this Redis. */
async function use(url: string, redis: RedisProcess): Promise<void> {
  const [first, second] = [await connect(`${url}/chat/one`), await connect(`${url}/room/one`)]
  await ask(first, 'hello')
  expect((await second.next('presence')).members).toHaveLength(1)
  expect(await redis.call('exists', 'sw:{chat/one}:log', 'sw:{room/one}:members')).toBe(2)
  await expect.poll(() => redis.call('exists', 'sw:{queue-chat}:owners')).toBe(1)
  // Was Redis away, its part would be one server's.
  expect(await redis.call('exists', 'sw:{places-0}:alive')).toBe(1)
}

test('a Redis with a password: with it everything works, without it the start says so in one line', async () => {
  const redis = await start()
  await redis.call('config', 'set', 'requirepass', 'correct horse')
  const server = await startServer({ REDIS_URL: `redis://:correct%20horse@127.0.0.1:${redis.port}` })
  await use(server.url, redis)
  const wrong = startServer({ REDIS_URL: `redis://:battery@127.0.0.1:${redis.port}` })
  const error = await wrong.then(
    () => expect.unreachable(),
    (reason: unknown) => String(reason),
  )
  expect(error).toContain('WRONGPASS')
  expect(error).not.toContain('battery')
  expect(error).not.toContain('\n')
})

/** What a server needs, as docs/deploy.md says it. */
const RIGHTS = [
  '~sw:*',
  '&sw:*',
  '-@all',
  '+@read',
  '+@write',
  '+@pubsub',
  '+@scripting',
  '+@connection',
  '+info',
  '+time',
  '+wait',
]

test('a Redis with a user who may do no more than a server needs', async () => {
  const redis = await start()
  await redis.call('acl', 'setuser', 'statewire', 'on', '>secret', 'resetkeys', 'resetchannels', ...RIGHTS)
  await redis.call('acl', 'setuser', 'default', 'off')
  const url = `redis://statewire:secret@127.0.0.1:${redis.port}`
  const [a, b] = [await startServer({ REDIS_URL: url }), await startServer({ REDIS_URL: url })]
  await use(a.url, redis)
  // A signal, and an entry, from one to the other.
  const [first, second] = [await connect(`${a.url}/chat/one`), await connect(`${b.url}/chat/one`)]
  await second.next('history')
  first.send({ type: 'typing' })
  await second.next('typing')
  await say(first, 'again')
  await second.next('ai_stream_end')
  expect(await redis.call('acl', 'log')).toEqual([])
})

test('a Redis by TLS, with a certificate of an authority of one’s own', async () => {
  const folder = temporaryDirectory()
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2']
  const made = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  await promisify(execFile)('openssl', ['req', ...made, ...subject, '-keyout', key, '-out', certificate])
  const port = await freePort()
  const files = ['--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', certificate]
  const redis = await start(['--tls-port', `${port}`, ...files, '--tls-auth-clients', 'no'])
  const env = { REDIS_URL: `rediss://127.0.0.1:${port}` }
  const [server, error] = await Promise.all([
    spawnServer({ ...env, NODE_EXTRA_CA_CERTS: certificate }),
    spawnServer(env).then(
      () => expect.unreachable(),
      (reason: unknown) => String(reason),
    ),
  ])
  await use(server.url, redis)
  expect(error).toContain('self-signed certificate')
})

test('two deployments in two databases of one Redis hear nothing of each other; a database that there is not is told at the start', async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const servers = [
    await startServer({ REDIS_URL: `${redis.url}/1` }),
    await startServer({ REDIS_URL: `${redis.url}/2` }),
    await startServer({ REDIS_URL: `${redis.url}/2` }),
  ] as const
  const join = async ({ url }: { url: string }) => {
    const client = await connect(`${url}/room/lobby`)
    await client.next('presence')
    return client
  }
  const [alone, first, second] = [await join(servers[0]), await join(servers[1]), await join(servers[2])]
  await first.next('user_joined')
  first.send({ type: 'message', content: 'among us' })
  // Its own proposal of an epoch was not taken: it reads the room anew.
  expect(await second.next('history')).toMatchObject({ messages: [{ content: 'among us' }], offset: 1 })
  // What was published for the others has long been heard when this has made its way.
  alone.send({ type: 'message', content: 'alone' })
  expect(await alone.next('message')).toMatchObject({ content: 'alone', offset: 1 })
  expect(alone.frames.map(({ type }) => type)).toEqual(['welcome', 'presence', 'message'])
  for (const client of [first, second]) expect(client.frames.some(({ content }) => content === 'alone')).toBe(false)
  await expect(startServer({ REDIS_URL: `${redis.url}/99` })).rejects.toThrow(/has no database 99/)
})
