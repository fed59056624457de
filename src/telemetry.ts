/** Plain integers, counted in place. They are read from outside, so the hot path pays an addition and nothing else. */
export interface Telemetry {
  connectionsOpened: number
  connectionsOpen: number
  framesReceived: number
  framesSent: number
  /** Upgrade requests refused, by HTTP status. */
  readonly refusedUpgrades: Map<number, number>
  /** Connections that ended, by close code. */
  readonly closes: Map<number, number>
  /** Connections that uWebSockets.js cut by itself (their client sees 1006), by its reason. */
  readonly cuts: Map<string, number>
  /** The queues in front of the models, by route. */
  readonly queues: Map<string, QueueNumbers>
}

/** How many of this process ask a model, and how many wait for that. */
export interface QueueNumbers {
  running(): number
  waiting(): number
}

export function createTelemetry(): Telemetry {
  return {
    connectionsOpened: 0,
    connectionsOpen: 0,
    framesReceived: 0,
    framesSent: 0,
    refusedUpgrades: new Map(),
    closes: new Map(),
    cuts: new Map(),
    queues: new Map(),
  }
}

/** Adds one to a counter that is one of many. */
export function count<K>(counters: Map<K, number>, name: K): void {
  counters.set(name, (counters.get(name) ?? 0) + 1)
}
