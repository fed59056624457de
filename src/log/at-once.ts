/** Does something for each of several, in their order, so many at once at most. `work` is to tell by itself what fails. */
export async function atOnce<T>(most: number, items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  const rest = items[Symbol.iterator]()
  const workOn = async () => {
    for (let next = rest.next(); next.done !== true; next = rest.next()) await work(next.value)
  }
  await Promise.all(Array.from({ length: most }, workOn))
}
