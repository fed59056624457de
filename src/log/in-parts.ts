import type { LogError, OnPartFailed } from './channel-log.ts'

/** Does work of which parts may fail; where nobody is told of them, it fails with the first, after the rest was done. */
export async function inParts<T>(
  onFailed: OnPartFailed | undefined,
  work: (onFailed: OnPartFailed) => Promise<T>,
): Promise<T> {
  const untold: LogError[] = []
  const done = await work(onFailed ?? ((_, error) => void untold.push(error)))
  for (const error of untold) throw error
  return done
}
