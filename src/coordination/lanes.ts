/** One value's place in its lane. */
export interface Place<T> {
  readonly value: T
  readonly lane: Lane<T>
  previous: Place<T> | undefined
  next: Place<T> | undefined
}

/** The values of one key, in order, and the lane's own place among the others. */
export interface Lane<T> {
  readonly key: string
  readonly places: List<Place<T>>
  size: number
  previous: Lane<T> | undefined
  next: Lane<T> | undefined
}

interface Node<N> {
  previous: N | undefined
  next: N | undefined
}

interface List<N> {
  first: N | undefined
  last: N | undefined
}

/** Values that are served one of each key in turn, and in order within a key. All operations take constant time. */
export interface Lanes<T> {
  /** The lanes with something in them, in the order of service. */
  readonly list: Readonly<List<Lane<T>>>
  add(key: string, value: T): Place<T>
  /** Takes out the value to serve next; its lane goes to the end. */
  take(): Place<T> | undefined
  /** Takes out a value that is in. */
  remove(place: Place<T>): void
  /** How many values are in. */
  size(): number
  /** How many of them are of a key. */
  sizeOf(key: string): number
  /** The lane with most in it; of several, the one that has been as long for the longest time. */
  longest(): Lane<T> | undefined
}

/** Empty lanes are forgotten at once, so that keys cost nothing. */
export function createLanes<T>(): Lanes<T> {
  const byKey = new Map<string, Lane<T>>()
  const list: List<Lane<T>> = { first: undefined, last: undefined }
  /** The lanes by how much is in them, to find the longest one. */
  const bySize = new Map<number, Set<Lane<T>>>()
  let longest = 0
  let size = 0

  function resize(lane: Lane<T>, to: number): void {
    const before = bySize.get(lane.size)
    before?.delete(lane)
    if (before?.size === 0) bySize.delete(lane.size)
    lane.size = to
    if (to > 0) bySize.set(to, (bySize.get(to) ?? new Set()).add(lane))
    // A lane's size changes by one, and so does the greatest.
    if (to > longest) longest = to
    else if (!bySize.has(longest)) longest--
  }

  function remove(place: Place<T>): void {
    const { lane } = place
    unlink(lane.places, place)
    size--
    resize(lane, lane.size - 1)
    if (lane.size > 0) return
    unlink(list, lane)
    byKey.delete(lane.key)
  }

  return {
    list,
    add(key, value) {
      let lane = byKey.get(key)
      if (lane === undefined) {
        lane = { key, places: { first: undefined, last: undefined }, size: 0, previous: undefined, next: undefined }
        byKey.set(key, lane)
        append(list, lane)
      }
      const place: Place<T> = { value, lane, previous: undefined, next: undefined }
      append(lane.places, place)
      resize(lane, lane.size + 1)
      size++
      return place
    },
    take() {
      const lane = list.first
      const place = lane?.places.first
      if (lane === undefined || place === undefined) return undefined
      remove(place)
      if (lane.size > 0) {
        unlink(list, lane)
        append(list, lane)
      }
      return place
    },
    remove,
    size: () => size,
    sizeOf: (key) => byKey.get(key)?.size ?? 0,
    longest: () => bySize.get(longest)?.values().next().value,
  }
}

/** All places in the order of service: the first of each lane, then the second of each, and so on. */
export function inOrder<T>(lanes: Lanes<T>): Place<T>[] {
  const order: Place<T>[] = []
  let round: Place<T>[] = []
  for (let lane = lanes.list.first; lane !== undefined; lane = lane.next) {
    if (lane.places.first !== undefined) round.push(lane.places.first)
  }
  while (round.length > 0) {
    for (const place of round) order.push(place)
    round = round.flatMap((place) => place.next ?? [])
  }
  return order
}

/** The place of a lane's last value in the order of service, from 1; takes a step for each lane. */
export function positionOf<T>(lanes: Lanes<T>, last: Place<T>): number {
  const rounds = last.lane.size
  let position = 0
  let isBehind = false
  for (let lane = lanes.list.first; lane !== undefined; lane = lane.next) {
    // The lanes behind its own have had one round less when it is served.
    position += Math.min(lane.size, isBehind ? rounds - 1 : rounds)
    if (lane === last.lane) isBehind = true
  }
  return position
}

function append<N extends Node<N>>(list: List<N>, node: N): void {
  node.previous = list.last
  node.next = undefined
  if (list.last === undefined) list.first = node
  else list.last.next = node
  list.last = node
}

function unlink<N extends Node<N>>(list: List<N>, node: N): void {
  if (node.previous === undefined) list.first = node.next
  else node.previous.next = node.next
  if (node.next === undefined) list.last = node.previous
  else node.next.previous = node.previous
  node.previous = undefined
  node.next = undefined
}
