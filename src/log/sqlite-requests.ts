import type { Position } from '../protocol/position.ts'
import type { Appended, AppendOptions, Head, LogErrorCode, ReadLimit } from './channel-log.ts'

/** What the main thread asks of the thread that owns the database. All of it can be cloned between threads. */
export type StoreRequest =
  | {
      readonly op: 'append'
      readonly key: string
      readonly text: string
      readonly time: number
      /** What the entry does to its channel's number of open turns. */
      readonly opens: -1 | 0 | 1
      /** Whether the entry is the terminal one of its turn. */
      readonly ends: boolean
      readonly writer: AppendOptions
    }
  | { readonly op: 'head'; readonly key: string }
  | { readonly op: 'read'; readonly key: string; readonly after: Position; readonly limit: ReadLimit }
  | {
      readonly op: 'find'
      readonly key: string
      readonly producer: string
      readonly sequence: AppendOptions['sequence']
    }
  | { readonly op: 'unfinished' }
  | { readonly op: 'fold'; readonly endedBefore: number; readonly after: EndedPlace }
  | { readonly op: 'expirable'; readonly appendedBefore: number; readonly afterId: number }
  | { readonly op: 'forget'; readonly keys: readonly string[]; readonly appendedBefore: number }
  | { readonly op: 'sweep'; readonly afterId: number }
  | { readonly op: 'check'; readonly time: number }

/** The name of a request. */
export type StoreOp = StoreRequest['op']
/** The request of one name. */
export type StoreRequestOf<O extends StoreOp> = Extract<StoreRequest, { op: O }>

/** A place in the order of the turns that are to be folded: by time, channel and offset. */
export type EndedPlace = readonly [time: number, channel: number, offset: number]

/** What of long work failed, by the channel's key: it is stepped over, and left for the next time. */
export interface PartFailed {
  readonly part: string
  readonly message: string
}

/** A record as it is stored. `foldedFrom` as in a page's row. */
export interface StoredRecord {
  readonly offset: number
  readonly text: string
  readonly time: number
  readonly foldedFrom: number | undefined
}

/** What each request is answered with. `next` says from where the rest is to be asked for: long work goes in slices. */
export interface StoreResults {
  append: Appended & { readonly reset: Head | undefined }
  head: Head
  read: { readonly head: Head; readonly records: readonly StoredRecord[] | undefined }
  find: StoredRecord | undefined
  unfinished: readonly string[]
  fold: { readonly folded: number; readonly next: EndedPlace | undefined; readonly failed: readonly PartFailed[] }
  expirable: {
    readonly keys: readonly string[]
    readonly next: number | undefined
    readonly failed: readonly PartFailed[]
  }
  forget: readonly string[]
  sweep: { readonly next: number | undefined; readonly failed: readonly PartFailed[] }
  check: undefined
}

/** The answer to one request of a batch. */
export type StoreAnswer =
  | { readonly ok: true; readonly value: StoreResults[StoreOp] }
  | { readonly ok: false; readonly code: LogErrorCode; readonly message: string }

/** The answers to a batch, in its order, after its commit; or why nothing of it was done. */
export type BatchReply =
  | { readonly ok: true; readonly answers: readonly StoreAnswer[] }
  | { readonly ok: false; readonly message: string }
