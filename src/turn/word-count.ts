/** Counts words between white space as a text comes in pieces, without keeping it. SPEC.md C3. */
export interface WordCount {
  add(text: string): void
  total(): number
}

export function createWordCount(): WordCount {
  let words = 0
  let isInWord = false
  return {
    add(text) {
      for (let at = 0; at < text.length; at++) {
        const isSpace = isWhiteSpace(text.charCodeAt(at))
        if (!isSpace && !isInWord) words++
        isInWord = !isSpace
      }
    },
    total: () => words,
  }
}

/** How many words a whole text has. */
export function countWords(text: string): number {
  const count = createWordCount()
  count.add(text)
  return count.total()
}

/** What `\s` of a regular expression matches, without the cost of one on every token. */
function isWhiteSpace(unit: number): boolean {
  if (unit <= 0x20) return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d)
  if (unit < 0xa0) return false
  return (
    unit === 0xa0 ||
    unit === 0x1680 ||
    (unit >= 0x2000 && unit <= 0x200a) ||
    unit === 0x2028 ||
    unit === 0x2029 ||
    unit === 0x202f ||
    unit === 0x205f ||
    unit === 0x3000 ||
    unit === 0xfeff
  )
}
