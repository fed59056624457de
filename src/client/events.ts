/** Listeners by the name of what they listen to. */
export interface Events<M extends object> {
  /** Adds a listener; answers what takes it off again. */
  on<T extends keyof M>(type: T, listener: (event: M[T]) => void): () => void
  emit<T extends keyof M>(type: T, event: M[T]): void
}

/** See {@link Events}. What a listener throws is thrown where it disturbs nobody else. */
export function createEvents<M extends object>(): Events<M> {
  const all: { [T in keyof M]?: Set<(event: M[T]) => void> } = {}
  return {
    on(type, listener) {
      const listeners = all[type] ?? new Set()
      all[type] = listeners
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    emit(type, event) {
      for (const listener of all[type] ?? []) {
        try {
          listener(event)
        } catch (error) {
          queueMicrotask(() => {
            throw error
          })
        }
      }
    },
  }
}
