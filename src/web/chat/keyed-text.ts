/** Text by key: `localStorage`, `sessionStorage`, or what a test gives. */
export interface KeyedText {
  getItem(key: string): string | null
  setItem(key: string, text: string): void
  removeItem(key: string): void
}

/** What `open` gives, or, where the browser forbids it (merely to look at `localStorage` then throws), memory. */
export function keyedText(open: () => KeyedText): KeyedText {
  try {
    return open()
  } catch {
    // A chat without its list of chats is still a chat.
    const texts = new Map<string, string>()
    return {
      getItem: (key) => texts.get(key) ?? null,
      setItem: (key, text) => texts.set(key, text),
      removeItem: (key) => texts.delete(key),
    }
  }
}
