import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { Env } from './server.ts'

/** The most that the kernel keeps for one socket in such a network, in bytes. */
export const KERNEL_BUFFER_BYTES = 65_536

/** A server in a network of its own. */
export interface NetworkServer {
  readonly url: string
  /** Resident memory of the process, in bytes: what the kernel holds for its sockets is no part of it. */
  residentBytes(): number
}

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const SUBNET = `10.213.${process.pid % 250}`

/**
 * Starts a server in a network namespace whose sockets have small buffers, so that a reader who does not read shows after
 * 200 KB and not after 4 MB, as on loopback. Where no namespace may be made, on loopback: `isSmall` tells.
 */
export async function spawnInSmallNetwork(env: Env): Promise<NetworkServer & { isSmall: boolean }> {
  const network = createNetwork()
  const args = ['--disable-warning=ExperimentalWarning', MAIN]
  const [program, ...rest] = network?.within(process.execPath, args) ?? [process.execPath, ...args]
  const HOST = network?.address ?? '127.0.0.1'
  const child = spawn(program, rest, {
    env: { ...process.env, PORT: '0', ADMIN_PORT: '0', STORE: 'memory', DRAIN_MS: '0', HOST, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await exited
  })
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  exited.then(() => reject(new Error('the server ended at its start')))
  createInterface({ input: child.stdout }).on('line', (line) => {
    const address = /"address":"http([^"]+)"/.exec(line)?.[1]
    if (address !== undefined) resolve(`ws${address}`)
  })
  return {
    url: await promise,
    isSmall: network !== undefined,
    residentBytes() {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
    },
  }
}

/** A network namespace, with a way from here. */
export interface Network {
  /** Its address, as it is reached from here. */
  readonly address: string
  /** The command that runs a program in it. */
  within(program: string, args: readonly string[]): [string, ...string[]]
}

/** Undefined where this process may not make one. Removed when the test has finished. */
export function createNetwork(): Network | undefined {
  const name = `statewire-${process.pid}`
  const outside = `sw${process.pid}`
  const inside = `${outside}n`
  const run = (command: string) => execFileSync('sh', ['-c', command], { stdio: 'pipe' })
  try {
    run(`ip netns add ${name}`)
  } catch (error) {
    console.warn(`no network namespace can be made here, loopback it is: ${String(error)}`)
    return undefined
  }
  onTestFinished(() => void run(`ip netns del ${name}`))
  run(`ip link add ${outside} type veth peer name ${inside} netns ${name}`)
  // The kernel takes it away with the namespace, but later: the next test's would be refused as there already.
  onTestFinished(() => void run(`ip link del ${outside}`))
  run(`ip addr add ${SUBNET}.1/24 dev ${outside} && ip link set ${outside} up`)
  run(`ip netns exec ${name} ip addr add ${SUBNET}.2/24 dev ${inside}`)
  run(`ip netns exec ${name} ip link set ${inside} up && ip netns exec ${name} ip link set lo up`)
  const limits = `4096 16384 ${KERNEL_BUFFER_BYTES}`
  run(
    `ip netns exec ${name} sh -c 'echo ${limits} > /proc/sys/net/ipv4/tcp_wmem; echo ${limits} > /proc/sys/net/ipv4/tcp_rmem'`,
  )
  return {
    address: `${SUBNET}.2`,
    within: (program, args) => ['ip', 'netns', 'exec', name, program, ...args],
  }
}
