// Run by `npm run docs`: writes what the code knows into README.md and SPEC.md.
import { readFileSync, writeFileSync } from 'node:fs'
import { withParts } from './generated-parts.ts'
import { documentParts } from './tables.ts'

for (const [path, parts] of Object.entries(documentParts())) {
  const file = new URL(`../../${path}`, import.meta.url)
  writeFileSync(file, withParts(readFileSync(file, 'utf8'), parts))
}
