/** How many frames a backlog of text is spread over. */
const SPREAD = 7
/** A text that begins longer than this was written before we came: it is there at once. */
const AT_ONCE = 400

/** Lets text that arrives in gusts appear evenly. */
export interface Pace {
  /** How much of a text of this length to show in this frame. */
  next(text: string, ended: boolean): number
}

/** `calm` shows all that has come, for those who want no motion. */
export function createPace(calm: boolean): Pace {
  let shown: number | undefined
  return {
    next(text, ended) {
      if (shown === undefined) shown = ended || text.length > AT_ONCE ? text.length : 0
      const backlog = text.length - shown
      if (calm || backlog < 0) shown = text.length
      else shown += Math.min(backlog, Math.max(2, Math.ceil(backlog / SPREAD)))
      // Not between the two halves of one character.
      if (/[\uD800-\uDBFF]/.test(text.charAt(shown - 1)) && shown < text.length) shown++
      return shown
    },
  }
}
