import { expect, test } from 'vitest'
import { Outbox } from '../../src/connection/outbox.ts'
import { createTelemetry } from '../../src/telemetry.ts'
import type { Socket } from '../../src/transport/socket.ts'

/** An outbox at `e1:5`, and what it has sent, in order. */
function createOutbox() {
  const sent: string[] = []
  const socket: Socket = {
    send: (text) => void sent.push(text),
    buffered: () => 0,
    ping() {},
    end() {},
    cut() {},
  }
  const outbox = new Outbox(socket, createTelemetry(), {
    congested() {},
    overrun() {},
    welcome: (epoch, resumedAt) => void sent.push(`welcome ${epoch}:${resumedAt ?? 0}`),
  })
  outbox.resume('e1', 5)
  return { outbox, sent }
}

test('C7 G8 what is acknowledged under the next epoch, at a place that the reader has, is told when he goes on under it', () => {
  const { outbox, sent } = createOutbox()
  outbox.acknowledge({ epoch: 'e2', offset: 3 }, 'stored')
  expect(sent).toEqual([])
  outbox.goOn('e2')
  expect(sent).toEqual(['welcome e2:5', 'stored'])
})

test('C7 G8 what was to be acknowledged under an epoch that is over is read from the log, or was lost', () => {
  const { outbox, sent } = createOutbox()
  outbox.acknowledge({ epoch: 'e1', offset: 7 }, 'stored')
  outbox.goOn('e2')
  outbox.take('seven', 7)
  expect(sent).toEqual(['welcome e2:5', 'seven'])
})
