import { expect, test } from 'vitest'
import type { AnyStateMachine } from 'xstate'
import { connectionMachine } from '../../machines/connection.machine.ts'
import type { ConnectionEvent } from '../../machines/connection-event.ts'
import { serverMachine } from '../../machines/server.machine.ts'
import { turnMachine } from '../../machines/turn.machine.ts'
import { upstreamMachine } from '../../machines/upstream.machine.ts'
import { workerMachine } from '../../machines/worker.machine.ts'
import type { ActorEvent } from '../../src/actor/actor-host.ts'
import { type BehaviourOf, createInterpretedHost } from '../../src/actor/interpreted-host.ts'
import { connectionBehaviour } from '../../src/connection/connection-behaviour.ts'
import { createCountingClock } from '../support/chart-clock.ts'
import { bringAbout, createFakeConnection, type FakeConnection, whyImpossible } from '../support/chart-connection.ts'
import { driveEdge, driveGraph, type Plan, plannedBehaviour, plannedDelays, refusedOf } from '../support/chart-drive.ts'
import { graphOf } from '../support/chart-graph.ts'

const MACHINES: Record<string, AnyStateMachine> = {
  connection: connectionMachine,
  server: serverMachine,
  turn: turnMachine,
  upstream: upstreamMachine,
  worker: workerMachine,
}

test.each(Object.entries(MACHINES))('every edge of the %s chart leads where the graph says', (name, machine) => {
  const graph = graphOf(machine)
  const clock = createCountingClock()
  // The behaviour has the machine's own names, whichever they are: more than a type can say of any machine.
  const behaviour = plannedBehaviour(machine.implementations) as BehaviourOf<AnyStateMachine, Plan, ActorEvent>
  const host = createInterpretedHost<AnyStateMachine, Plan, ActorEvent>(machine, behaviour, clock, {
    onError: (_, error) => expect.unreachable(String(error)),
  })
  driveGraph(graph, clock, host)
  const { states, edges } = graph
  console.log(
    `${name}: ${states.length} states, all ${edges.length} edges of the whole chart driven through the host,`,
    `and ${refusedOf(graph).length} events that a state has no transition for`,
  )
})

test('every edge of the connection chart that a connection can bring about is taken by its own guards and actions', () => {
  const { edges } = graphOf(connectionMachine)
  const clock = createCountingClock()
  const host = createInterpretedHost<typeof connectionMachine, FakeConnection, ConnectionEvent>(
    connectionMachine,
    { ...connectionBehaviour, delays: plannedDelays(({ plan }) => plan, connectionBehaviour.delays) },
    clock,
    { onError: (_, error) => expect.unreachable(String(error)) },
  )
  const possible = edges.filter((edge) => whyImpossible(edge) === undefined)
  for (const edge of possible) {
    let connection: FakeConnection | undefined
    driveEdge<ConnectionEvent>(
      edge,
      clock,
      (plan) => {
        connection = createFakeConnection(plan, clock)
        connection.actor = host.create(connection)
        return connection.actor
      },
      (_, step) => connection !== undefined && bringAbout(connection, step, clock),
    )
  }
  const reasons = Map.groupBy(
    edges.flatMap((edge) => whyImpossible(edge) ?? []),
    String,
  )
  const inWords = [...reasons].map(([reason, which]) => `${which.length}: ${reason}`)
  console.log(
    `connection: ${possible.length} of these edges driven with a connection's own guards and actions;`,
    `the other ${edges.length - possible.length} are impossible (${inWords.join('; ')})`,
  )
  expect(possible.length).toBeGreaterThan(0.9 * edges.length)
})
