import { BlockList, isIP } from 'node:net'
import { z } from 'zod'

/** A whole number within bounds, in decimal digits. */
export const integer = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/)
    .transform(Number)
    .pipe(z.number().min(min).max(max))

/** An address or a host name; whether it exists is found out when it is listened on. */
export const host = z.string().regex(/^[A-Za-z0-9.:_-]{1,255}$/)
/** A TCP port; 0 is any free one. */
export const port = integer(0, 65535)
/** Items between commas; empty ones do not count. */
export const list = z.string().transform((text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
)

/** Addresses and CIDR ranges. */
export const proxies = list.transform((items, context) => {
  const blocks = new BlockList()
  for (const item of items) {
    const [, address = '', prefix] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(item) ?? []
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    const bits = prefix === undefined ? undefined : Number(prefix)
    if (isIP(address) === 0 || (bits !== undefined && bits > (family === 'ipv6' ? 128 : 32))) {
      context.addIssue({ code: 'custom', message: 'not an address' })
      return z.NEVER
    }
    if (bits === undefined) blocks.addAddress(address, family)
    else blocks.addSubnet(address, bits, family)
  }
  return blocks
})

/** origins */
export const origins = list
  .transform((items) => items.map((item) => item.toLowerCase()))
  .refine((items) => items.every((item) => item === '*' || isOrigin(item)))
/** Whether a text is an origin, in any case. */
export const isOrigin = (text: string) => URL.canParse(text) && new URL(text).origin === text
/** Whether a text is an http(s) URL that can be used. */
export const isHttpUrl = (text: string) =>
  URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) && isDecodable(text)

/** Credentials in a URL are percent-encoded, and must not fail when they are first used. */
function isDecodable(text: string): boolean {
  try {
    const { username, password } = new URL(text)
    return decodeURIComponent(username + password) !== undefined
  } catch {
    // Not decodable is an answer here.
    return false
  }
}

/** Where Redis is; what stands behind the scheme is read where it is opened. */
export const redisUrl = z.string().regex(/^rediss?(\+(sentinel|cluster))?:\/\/\S+$/)
