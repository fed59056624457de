import type { DatabaseSync } from 'node:sqlite'
import type { PartFailed } from './sqlite-requests.ts'

/** Does a part of a transaction by itself. Where it fails, what it wrote is taken back, and it answers why. */
export type Apart = (part: () => string, work: () => void) => PartFailed | undefined

/** See {@link Apart}. Throws where SQLite has given up the whole transaction, as it does when the disk is full. */
export function createApart(database: DatabaseSync): Apart {
  const begin = database.prepare('SAVEPOINT part')
  const end = database.prepare('RELEASE part')
  const takeBack = database.prepare('ROLLBACK TO part')
  return (part, work) => {
    begin.run()
    try {
      work()
      end.run()
      return undefined
    } catch (error) {
      if (!database.isTransaction) throw error
      takeBack.run()
      end.run()
      return { part: part(), message: error instanceof Error ? error.message : String(error) }
    }
  }
}
