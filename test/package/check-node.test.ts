import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryDirectory } from '../support/server.ts'
import { root } from './new-project.ts'

const SCRIPT = join(root, 'src/check-node.mjs')
const WRONG =
  /^statewire needs Node\.js 22 \(22\.18 or later\), and this is (\S+)\. Try: npx -y -p node@22 -c "(.*)"\n$/

function check(node: string, ...options: string[]) {
  const { status, stderr } = spawnSync(node, [...options, SCRIPT], { encoding: 'utf8' })
  return { status, stderr }
}

/** The script under this Node.js, which says that it is of another version. */
function checkAs(version: string) {
  const disguise = join(temporaryDirectory(), 'disguise.cjs')
  writeFileSync(disguise, `Object.defineProperty(process.versions, 'node', { value: '${version}' })`)
  return check(process.execPath, '--require', disguise)
}

test.each(['22.18.0', '22.99.1'])('Node.js %s is let through', (version) => {
  expect(checkAs(version)).toEqual({ status: 0, stderr: '' })
})

test.each(['16.20.2', '18.20.4', '20.20.2', '22.17.1', '23.0.0', '24.4.0'])(
  'Node.js %s is told in one line',
  (version) => {
    const { status, stderr } = checkAs(version)
    expect(status).toBe(1)
    expect(WRONG.exec(stderr)?.slice(1)).toEqual([version, 'npm ci && npm start'])
  },
)

test('every other Node.js of this machine runs the script itself, and gets the same answer', () => {
  const nodes = [process.execPath, '/usr/bin/node', '/usr/local/bin/node'].filter((node) => existsSync(node))
  for (const node of nodes) {
    const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim().slice(1)
    const [major = 0, minor = 0] = version.split('.').map(Number)
    const { status, stderr } = check(node)
    if (major === 22 && minor >= 18) expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    else expect(WRONG.exec(stderr)?.[1]).toBe(version)
  }
})
