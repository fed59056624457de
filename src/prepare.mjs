// Run by npm's `prepare`: builds the pages and the library. Plain JavaScript, as it runs before anything is built.
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const steps = [
  ['vite/bin/vite.js', 'build', '--logLevel', 'warn'],
  ['typescript/bin/tsc', '-p', 'tsconfig.build.json'],
].map(([script, ...options]) => ({ script: join(root, 'node_modules', script), options }))

// `npm ci --omit=dev` runs this too, and leaves out what builds; what was built before is then what there is.
if (steps.every(({ script }) => existsSync(script))) {
  // What was built of files that are gone would end up in the package.
  rmSync(join(root, 'dist'), { recursive: true, force: true })
  for (const { script, options } of steps) {
    const { status, error } = spawnSync(process.execPath, [script, ...options], { cwd: root, stdio: 'inherit' })
    if (error !== undefined) throw error
    if (status !== 0) process.exit(status ?? 1)
  }
}
