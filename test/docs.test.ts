import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { withParts } from '../src/docs/generated-parts.ts'
import { documentParts } from '../src/docs/tables.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string) => readFileSync(join(root, path), 'utf8')

test.each(Object.entries(documentParts()))('%s is what `npm run docs` writes', (path, parts) => {
  expect(read(path)).toBe(withParts(read(path), parts))
})

test('a document without its marker, and a part that was edited by hand, are noticed', () => {
  const written = withParts('<!-- generated: a -->\n<!-- end of generated -->\n', { a: 'one' })
  expect(written).toBe('<!-- generated: a -->\n\none\n\n<!-- end of generated -->\n')
  expect(withParts(written.replace('one', 'two'), { a: 'one' })).toBe(written)
  expect(() => withParts(written, { b: 'one' })).toThrow("'b'")
})

test('CI runs the test command of the README', () => {
  const command = 'npx -y -p node@22 -c "npm ci && npm test"'
  expect(read('README.md')).toContain(`\n${command}\n`)
  expect(read('.ci/run')).toContain(`(${command} </dev/null`)
})

describe('the rules of SPEC.md', () => {
  const rules = [...read('src/protocol/SPEC.md').matchAll(/^- \*\*([A-Z]\d+)\*\* /gm)].map((match) => match[1] ?? '')
  const tested = testedRules()

  test('have a number each, once', () => {
    expect(rules.length).toBeGreaterThan(60)
    expect(rules.filter((rule, at) => rules.indexOf(rule) !== at)).toEqual([])
  })

  test('are all there that a test names in its title', () => {
    expect([...tested].filter(([rule]) => !rules.includes(rule))).toEqual([])
  })

  test('have a test each, with the number in its title', () => {
    expect(rules.filter((rule) => !tested.has(rule))).toEqual([])
  })
})

/** The numbers at the beginning of titles, such as `C1 C2 a user message …`, with a file that has them. */
function testedRules(): Map<string, string> {
  const found = new Map<string, string>()
  const title = /\b(?:test|it|describe)(?:\.\w+(?:\((?:[^()]|\([^()]*\))*\))?)*\(\s*['"`]((?:[LPHCGRQ]\d+[,:]? )+)/g
  for (const path of readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })) {
    if (!path.endsWith('.test.ts') && !path.startsWith('contracts')) continue
    for (const [, numbers = ''] of readSource(path).matchAll(title)) {
      for (const [number] of numbers.matchAll(/[A-Z]\d+/g)) found.set(number, path)
    }
  }
  return found
}

function readSource(path: string): string {
  return path.endsWith('.ts') ? read(join('test', path)) : ''
}
