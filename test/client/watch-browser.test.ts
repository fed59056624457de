import { expect, test, vi } from 'vitest'
import { watchBrowser } from '../../src/client/watch-browser.ts'

test('the network’s coming and going and a look at the page are heard of, until nobody wants to know', () => {
  const window = new EventTarget()
  const document = new EventTarget()
  vi.stubGlobal('addEventListener', window.addEventListener.bind(window))
  vi.stubGlobal('document', document)
  try {
    const heard: string[] = []
    const end = watchBrowser(
      () => heard.push('wake'),
      () => heard.push('offline'),
    )
    const happen = () => {
      for (const type of ['offline', 'online', 'pageshow']) window.dispatchEvent(new Event(type))
      document.dispatchEvent(new Event('visibilitychange'))
    }
    happen()
    expect(heard).toEqual(['offline', 'wake', 'wake', 'wake'])
    end()
    happen()
    expect(heard).toHaveLength(4)
  } finally {
    vi.unstubAllGlobals()
  }
})

test('without a browser there is nothing to hear', () => {
  expect(watchBrowser(expect.unreachable, expect.unreachable)).not.toThrow()
})
