import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'vite'
import { expect, test } from 'vitest'

const MAX_BYTES = 5 * 1024

/** The library as a page's bundler would take it in, minified, as one script. */
async function bundle(): Promise<string> {
  const entry = fileURLToPath(new URL('../../src/client/index.ts', import.meta.url))
  const result = await build({
    configFile: false,
    logLevel: 'silent',
    build: {
      write: false,
      target: 'es2022',
      modulePreload: false,
      // As a page does it: in its mode for libraries, Vite would leave the white space.
      rolldownOptions: { input: entry, preserveEntrySignatures: 'strict' },
    },
  })
  const [output] = [result].flat()
  if (output === undefined || !('output' in output)) throw new Error('nothing was built')
  return output.output.map((part) => (part.type === 'chunk' ? part.code : '')).join('')
}

test('the client is under 5 KB when compressed, and needs no package', async () => {
  const code = await bundle()
  expect(code).toContain('ai_stream_chunk')
  expect(code).not.toMatch(/\bimport\b/)
  expect(gzipSync(code).length).toBeLessThan(MAX_BYTES)
})
