import type { Principal } from '../channel/member.ts'
import type { Coordination } from '../coordination/coordination.ts'
import type { CloseName } from '../protocol/close-codes.ts'
import type { Route, UpgradeRequest } from '../transport/upgrade.ts'

/** The principal of everybody who is not signed in. */
export const ANONYMOUS: Principal = { id: 'anonymous' }

/** A channel, as `authorize` sees it. */
export interface ChannelName {
  readonly route: Exclude<Route, 'ws'>
  readonly channel: string
}

/** A team's own sign-in. Both may be asynchronous; what they throw closes the connection with 1011. */
export interface SignIn {
  /** Answers who it is, or undefined: close 4401. The default: everybody is the one anonymous principal. */
  readonly authenticate: (request: UpgradeRequest) => Principal | undefined | Promise<Principal | undefined>
  /** Whether a principal may join a channel; if not: close 1008. The default: yes. */
  readonly authorize: (principal: Principal, channel: ChannelName) => boolean | Promise<boolean>
}

/** A team's sign-in, with the defaults where it has none. */
export function signInOf(own: Partial<SignIn>): SignIn {
  return { authenticate: own.authenticate ?? (() => ANONYMOUS), authorize: own.authorize ?? (() => true) }
}

/** Places for connections: in the server, per address, and per principal. */
export interface Admission {
  /** Takes the server's place; undefined where it is full. */
  enter(): Place | undefined
}

/** A connection's places. */
export interface Place {
  /** Takes the address's place. Answers the close where there is none. */
  takeAddress(ip: string): Promise<CloseName | undefined>
  /** Takes the place of a principal that is signed in. Answers the close where there is none. */
  takePrincipal(id: string): Promise<CloseName | undefined>
  /** Gives all places back; those that are still being taken, too. */
  leave(): void
}

/** Limits are undefined where there is none. `onError` gets what the coordination failed with when a place was given back. */
export function createAdmission(
  limits: { connections: number; perAddress: number | undefined; perPrincipal: number | undefined },
  coordination: Coordination,
  onError: (error: unknown) => void,
): Admission {
  let taken = 0
  return {
    enter() {
      if (taken >= limits.connections) return undefined
      taken++
      const counters: string[] = []
      let hasLeft = false
      /** Answers whether there was a place. */
      async function take(counter: string, limit: number): Promise<boolean> {
        if (!(await coordination.take(counter, limit))) return false
        if (hasLeft) await coordination.giveBack(counter)
        else counters.push(counter)
        return true
      }
      return {
        async takeAddress(ip) {
          const { perAddress } = limits
          return perAddress === undefined || (await take(`connections:${ip}`, perAddress)) ? undefined : 'tooManyFromIp'
        },
        async takePrincipal(id) {
          const { perPrincipal } = limits
          const isFree = perPrincipal === undefined || (await take(`connections-of:${id}`, perPrincipal))
          return isFree ? undefined : 'tooManyOfPrincipal'
        },
        leave() {
          if (hasLeft) return
          hasLeft = true
          taken--
          for (const counter of counters) coordination.giveBack(counter).catch(onError)
        },
      }
    },
  }
}
