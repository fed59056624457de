import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Deployment } from 'kubernetes-models/apps/v1'
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2'
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1'
import { ConfigMap, Secret, Service } from 'kubernetes-models/v1'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** The kinds that our manifests have, by `apiVersion/kind`: whether an object's values are legal. Throws where they are not. */
const KINDS: Readonly<Record<string, (object: never) => void>> = {
  'apps/v1/Deployment': (object) => new Deployment(object).validate(),
  'autoscaling/v2/HorizontalPodAutoscaler': (object) => new HorizontalPodAutoscaler(object).validate(),
  'networking.k8s.io/v1/NetworkPolicy': (object) => new NetworkPolicy(object).validate(),
  'policy/v1/PodDisruptionBudget': (object) => new PodDisruptionBudget(object).validate(),
  'v1/ConfigMap': (object) => new ConfigMap(object).validate(),
  'v1/Secret': (object) => new Secret(object).validate(),
  'v1/Service': (object) => new Service(object).validate(),
}

/**
 * What is wrong with some Kubernetes objects; nothing where they are right. The validators of kubernetes-models know required
 * fields and legal values, but let unknown fields pass; its types do not, so each object is also type-checked as a literal.
 */
export async function problemsOf(objects: readonly object[]): Promise<string[]> {
  const problems = objects.flatMap((object) => {
    const kind = kindOf(object)
    const validate = KINDS[kind]
    if (validate === undefined) return [`${kind} is not a kind that is known here`]
    try {
      validate(object as never)
      return []
    } catch (error) {
      return [`${kind}: ${error instanceof Error ? error.message : error}`]
    }
  })
  return problems.length > 0 ? problems : typeProblems(objects)
}

function kindOf(object: object): string {
  const { apiVersion, kind } = { apiVersion: '', kind: '', ...object }
  return `${apiVersion}/${kind}`
}

async function typeProblems(objects: readonly object[]): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'statewire-kubernetes-'))
  try {
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
    const literals = objects.map((object, n) => {
      const path = kindOf(object).split('/')
      const kind = path.pop()
      return `import type { I${kind} as Type${n} } from 'kubernetes-models/${path.join('/')}'
export const object${n}: Type${n} = ${JSON.stringify(object, null, 2)}\n`
    })
    writeFileSync(join(folder, 'objects.ts'), literals.join('\n'))
    const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--types', '']
    await promisify(execFile)(
      process.execPath,
      [join(ROOT, 'node_modules/typescript/bin/tsc'), ...options, 'objects.ts'],
      {
        cwd: folder,
      },
    )
    return []
  } catch (error) {
    const { stdout } = { stdout: '', ...(error instanceof Error ? error : undefined) }
    if (stdout === '') throw error
    return stdout.split('\n').filter((line) => line.includes('error TS'))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
