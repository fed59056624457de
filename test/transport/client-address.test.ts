import { expect, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { clientAddress } from '../../src/transport/upgrade.ts'
import { connect } from '../support/client.ts'
import { startServer } from '../support/server.ts'

const PROXIES = '10.0.0.0/8, 192.168.1.1, fd00::/8, ::1'

test.each([
  ['nothing forwarded', '10.0.0.1', undefined, '10.0.0.1'],
  ['a stranger who forwards', '203.0.113.9', '198.51.100.1', '203.0.113.9'],
  ['a trusted proxy', '10.0.0.1', '198.51.100.1', '198.51.100.1'],
  ['what the client itself put on the left', '10.0.0.1', '1.1.1.1, 10.9.9.9, 198.51.100.1', '198.51.100.1'],
  ['a chain of trusted proxies', '10.0.0.1', '1.1.1.1, 198.51.100.1, 192.168.1.1, 10.2.2.2', '198.51.100.1'],
  ['only trusted addresses', '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
  ['no address', '10.0.0.1', 'unknown', '10.0.0.1'],
  ['no address in the middle', '10.0.0.1', '198.51.100.1, junk, 10.0.0.2', '10.0.0.2'],
  ['an empty header', '10.0.0.1', '', '10.0.0.1'],
  ['an address with a port', '10.0.0.1', '198.51.100.1:51515', '198.51.100.1'],
  ['IPv6', '10.0.0.1', '2001:DB8:0:0::1', '2001:db8::1'],
  ['IPv6 with brackets and port', '10.0.0.1', '[2001:db8::1]:443', '2001:db8::1'],
  ['IPv4 mapped into IPv6', '::ffff:10.0.0.1', '::FFFF:198.51.100.1', '198.51.100.1'],
  ['IPv4 mapped, in hexadecimal', '0:0:0:0:0:ffff:0a00:0001', '::ffff:c633:6401', '198.51.100.1'],
  ['an IPv6 proxy', 'fd12::1', '198.51.100.1', '198.51.100.1'],
  ['an IPv6 stranger', '2001:db8::1', '198.51.100.1', '2001:db8::1'],
  ['loopback of IPv6, spelled out', '0000:0000:0000:0000:0000:0000:0000:0001', '198.51.100.1', '198.51.100.1'],
])('L4 the address behind %s', (_, remote, forwarded, expected) => {
  const { TRUSTED_PROXIES } = loadConfig({ TRUSTED_PROXIES: PROXIES })
  expect(clientAddress(remote, forwarded, TRUSTED_PROXIES)).toBe(expected)
})

test('L4 a proxy that is written as IPv4 mapped into IPv6 is trusted under its IPv4 address', () => {
  const { TRUSTED_PROXIES } = loadConfig({ TRUSTED_PROXIES: '::ffff:10.0.0.1' })
  expect(clientAddress('10.0.0.1', '198.51.100.1', TRUSTED_PROXIES)).toBe('198.51.100.1')
})

test('L4 without trusted proxies, X-Forwarded-For gets nobody another place', async () => {
  const server = await startServer({ MAX_CONNECTIONS_PER_IP: '1' })
  await connect(`${server.url}/room/a`, { headers: { 'X-Forwarded-For': '198.51.100.1' } })
  const second = await connect(`${server.url}/room/a`, { headers: { 'X-Forwarded-For': '198.51.100.2' } })
  expect(await second.closed).toMatchObject({ code: 1008 })
})

test('L4 behind a trusted proxy, places are counted per client, whatever the client put in front', async () => {
  const server = await startServer({ MAX_CONNECTIONS_PER_IP: '1', TRUSTED_PROXIES: '127.0.0.1' })
  const from = (forwarded: string) => connect(`${server.url}/room/a`, { headers: { 'X-Forwarded-For': forwarded } })
  await (await from('198.51.100.1')).next('welcome')
  await (await from('198.51.100.2')).next('welcome')
  expect(await (await from('9.9.9.9, 198.51.100.1')).closed).toMatchObject({ code: 1008 })
  expect(await (await from('::ffff:198.51.100.2')).closed).toMatchObject({ code: 1008 })
  await (await from('2001:db8::1')).next('welcome')
  expect(await (await from('2001:DB8:0::1')).closed).toMatchObject({ code: 1008 })
})

test('L4 a header that is repeated counts as one list', async () => {
  const server = await startServer({ MAX_CONNECTIONS_PER_IP: '1', TRUSTED_PROXIES: '127.0.0.1' })
  const from = (...forwarded: string[]) =>
    connect(`${server.url}/room/a`, { headers: { 'X-Forwarded-For': forwarded as never } })
  await (await from('198.51.100.1')).next('welcome')
  expect(await (await from('9.9.9.9', '198.51.100.1')).closed).toMatchObject({ code: 1008 })
})
