/** Closer than this to the end, in px, counts as being there. */
const NEAR_PX = 48

/** Keeps a growing list at its end, unless the reader has gone up. */
export interface FollowScroll {
  /** Goes to the end and stays there. */
  toEnd(): void
}

/** `onFollow` hears whether the end is being followed. */
export function followScroll(
  scroller: HTMLElement,
  content: HTMLElement,
  onFollow: (following: boolean) => void,
): FollowScroll {
  let following = true
  let lastTop = 0

  function set(next: boolean): void {
    if (next === following) return
    following = next
    onFollow(next)
  }

  function jump(): void {
    scroller.scrollTop = scroller.scrollHeight
    lastTop = scroller.scrollTop
  }

  scroller.addEventListener(
    'scroll',
    () => {
      const left = scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop
      if (left <= NEAR_PX) set(true)
      // Growth pushes the end away without moving the top: only going up is a wish to stay.
      else if (scroller.scrollTop < lastTop - 1) set(false)
      lastTop = scroller.scrollTop
    },
    { passive: true },
  )
  const sizes = new ResizeObserver(() => {
    if (following) jump()
    else if (scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop <= 1) set(true)
  })
  sizes.observe(content)
  sizes.observe(scroller)
  return {
    toEnd() {
      set(true)
      jump()
    },
  }
}
