import { catchUp } from '../channel/catch-up.ts'
import type { Channel } from '../channel/channel.ts'
import type { Connection } from './connection.ts'
import { unread } from './unread.ts'

/**
 * Reads the channel's log from the reader's offset to the head, and then goes live. The chart hears `flow.caughtUp`,
 * unless it has left `catchingUp` meanwhile.
 */
export function readOn(connection: Connection): void {
  const { channel, actor } = connection
  const reading = ++connection.readings
  if (channel === undefined) {
    actor.send({ type: 'flow.caughtUp' })
    return
  }
  channel.live.delete(connection)
  const isWanted = () => reading === connection.readings && actor.matches('open.flow.catchingUp')
  catchUp(channel, connection.outbox, isWanted).then(
    (result) => {
      if (result === 'caughtUp' && isWanted()) goLive(connection, channel)
    },
    (error: unknown) => unread(connection, error, 'the log could not be read'),
  )
}

/** Stops reading and live delivery: the offset stays where it is. */
export function park(connection: Connection): void {
  connection.readings++
  connection.channel?.live.delete(connection)
}

function goLive(connection: Connection, channel: Channel): void {
  const { outbox } = connection
  // Between the catch-up's last look at the head and this, a promise was awaited: entries may have come.
  if (outbox.offset < channel.head || outbox.epoch !== channel.epoch) {
    readOn(connection)
    return
  }
  channel.live.add(connection)
  connection.options.reading.worked()
  connection.actor.send({ type: 'flow.caughtUp' })
}
