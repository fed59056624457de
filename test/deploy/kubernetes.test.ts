import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { loadConfig } from '../../src/config.ts'
import { VARIABLES } from '../../src/config-variables.ts'
import { problemsOf } from './kubernetes-schema.ts'
import { longestStopMs } from './longest-stop.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const FOLDER = join(ROOT, 'deploy/kubernetes')
const SECOND_MS = 1_000
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

/** By file: an object each. */
const MANIFESTS = new Map(
  readdirSync(FOLDER).map((file) => {
    const [document, ...more] = parseAllDocuments(read(`deploy/kubernetes/${file}`))
    if (document === undefined || more.length > 0) throw new Error(`${file} is not one object`)
    return [file, document.toJS()]
  }),
)

type Env = Readonly<Record<string, string>>

describe('the Kubernetes manifests', () => {
  const deployment = structuredClone(MANIFESTS.get('deployment.yaml'))
  const pod = deployment.spec.template.spec
  const [container] = pod.containers
  const settings: Env = MANIFESTS.get('config.yaml').data
  const secrets: Env = MANIFESTS.get('secret.yaml.example').stringData

  test('are legal objects, without an unknown field', async () => {
    expect(await problemsOf([...MANIFESTS.values()])).toEqual([])
  })

  test.each([
    ['a misspelt field', { readinesProbe: container.readinessProbe }, 'readinesProbe'],
    ['a value of a wrong type', { ports: [{ containerPort: '8000' }] }, 'containerPort'],
    ['a required field that is missing', { name: undefined }, 'name'],
  ])('%s would be found', async (_, change, named) => {
    const wrong = structuredClone(deployment)
    Object.assign(wrong.spec.template.spec.containers[0], change)
    const problems = await problemsOf([wrong])
    expect(problems).not.toEqual([])
    expect(problems.join('\n')).toContain(named)
  })

  test('set what the server knows, to what it takes', () => {
    for (const name of [...Object.keys(settings), ...Object.keys(secrets)]) expect(VARIABLES).toHaveProperty(name)
    expect(() => loadConfig({ ...settings, ...secrets, OPENAI_API_KEY: 'sk' })).not.toThrow()
  })

  test('give a pod the time that it may take to stop', () => {
    const preStopMs = container.lifecycle.preStop.sleep.seconds * SECOND_MS
    expect(pod.terminationGracePeriodSeconds * SECOND_MS).toBeGreaterThan(preStopMs + longestStopMs(settings))
  })

  test('name the ports on which the server listens, and let the kubelet reach them', () => {
    expect(container.ports).toEqual([
      { name: 'clients', containerPort: Number(settings.PORT) },
      { name: 'admin', containerPort: Number(settings.ADMIN_PORT) },
    ])
    expect([settings.HOST, settings.ADMIN_HOST]).toEqual(['0.0.0.0', '0.0.0.0'])
    expect(deployment.spec.template.metadata.annotations['prometheus.io/port']).toBe(settings.ADMIN_PORT)
    expect(MANIFESTS.get('service.yaml').spec.ports[0].targetPort).toBe('clients')
  })

  test('belong together: names, labels, the user of the image, the metric', () => {
    const label = { 'app.kubernetes.io/name': 'statewire' }
    for (const [, { metadata }] of MANIFESTS) expect(metadata).toMatchObject({ name: 'statewire', labels: label })
    expect(deployment.spec.template.metadata.labels).toEqual(label)
    expect(MANIFESTS.get('service.yaml').spec.selector).toEqual(label)
    for (const { matchLabels } of [
      deployment.spec.selector,
      MANIFESTS.get('disruption-budget.yaml').spec.selector,
      MANIFESTS.get('network-policy.yaml').spec.podSelector,
    ]) {
      expect(matchLabels).toEqual(label)
    }
    expect(read('Dockerfile')).toContain(`USER ${pod.securityContext.runAsUser}:${pod.securityContext.runAsGroup}`)
    const [{ pods }] = MANIFESTS.get('autoscaler.yaml').spec.metrics
    const [rule] = parse(read('deploy/prometheus-adapter-values.yaml')).rules.custom
    expect(rule.name.as).toBe(pods.metric.name)
    expect(Number(pods.target.averageValue)).toBeLessThan(Number(settings.MAX_CONNECTIONS))
  })
})
