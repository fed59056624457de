import type { Locator, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { launchBrowser, type TestBrowser } from '../support/browser.ts'
import { type ChatPageServer, startChatPageServer } from './chat-page-server.ts'

const { TURN_QUEUE } = loadConfig({})

let server: ChatPageServer
let browser: TestBrowser

beforeAll(async () => {
  server = await startChatPageServer()
  browser = await launchBrowser()
})

afterAll(async () => {
  await browser.close()
  await server.stop()
})

/** Waits until the badge shows this state of the chart. */
async function state(page: Page, name: string): Promise<void> {
  await page.locator(`.badge[data-states~="${name}"]`).waitFor()
}

/** Opens a chat of its own. */
async function chat(options: Parameters<TestBrowser['open']>[1] = {}) {
  const opened = await browser.open(server.url, options)
  await state(opened.page, 'idle')
  return opened
}

function messageBox(page: Page): Locator {
  return page.getByRole('textbox', { name: 'Message' })
}

/** A note below a message, such as how its turn ended. */
function note(page: Page, text: string): Locator {
  return page.locator('.note:visible', { hasText: text })
}

/** Sends a message by keyboard, and takes the model's side of it. */
async function ask(page: Page, text: string) {
  await messageBox(page).fill(text)
  await page.keyboard.press('Enter')
  return server.model.asked()
}

/** Waits until the thread reads like this: a `>` before each message, a `<` before each answer. */
async function expectThread(page: Page, lines: readonly string[]): Promise<void> {
  const read = () =>
    page
      .locator('.turns')
      .evaluate((turns) =>
        [...turns.querySelectorAll('.question, .markdown')]
          .filter((part) => part.checkVisibility() && part.textContent !== '')
          .map((part) => `${part.className === 'question' ? '>' : '<'} ${part.textContent.trim()}`),
      )
  await expect.poll(read, { timeout: 10_000 }).toEqual(lines)
}

describe('chat page', () => {
  it('C2 shows a message, the thinking, the reasoning and the answer as they come', async () => {
    const { page, problems } = await chat()
    const speech = await ask(page, 'Hello there')
    expect(speech.question).toBe('Hello there')
    await state(page, 'typing')
    await page.getByLabel('The model is thinking').waitFor()
    speech.think('A greeting.')
    await page.getByText('Thinking…').waitFor()
    await page.getByText('Thinking…').click()
    await page.getByText('A greeting.').waitFor()
    speech.say('Good **day')
    await state(page, 'streaming')
    await page.getByText('Good **day').waitFor()
    speech.say('** to you.')
    await page.locator('strong', { hasText: 'day' }).waitFor()
    speech.finish()
    await state(page, 'idle')
    await expectThread(page, ['> Hello there', '< Good day to you.'])
    expect(await page.title()).toContain('Hello there')
    expect(problems).toEqual([])
  })

  it('C6 stops by Escape, keeps the text so far, and offers a new answer', async () => {
    const { page, problems } = await chat()
    const speech = await ask(page, 'A long story')
    speech.say('Once upon a time')
    await page.getByText('Once upon a time').waitFor()
    await page.keyboard.press('Escape')
    await note(page, 'Stopped.').waitFor()
    expect(speech.aborted).toBe(true)
    await expectThread(page, ['> A long story', '< Once upon a time'])

    await page.getByRole('button', { name: 'Regenerate' }).click()
    const second = await server.model.asked()
    expect(second.question).toBe('A long story')
    second.say('There was once')
    await page.getByText('There was once').waitFor()
    await expectThread(page, ['> A long story', '< There was once'])
    await page.getByRole('button', { name: 'Stop the answer' }).click()
    await note(page, 'Stopped.').waitFor()
    expect(problems).toEqual([])
  })

  it('C5 lets a message wait behind a running answer, and takes it back', async () => {
    const { page } = await chat()
    const speech = await ask(page, 'first')
    speech.say('one')
    await messageBox(page).fill('second')
    await page.keyboard.press('Enter')
    await note(page, 'Waits for the answer above.').waitFor()
    speech.say(' two')
    await page.getByText('one two').waitFor()
    await expectThread(page, ['> first', '< one two', '> second'])
    await page.getByRole('button', { name: 'Take this message back' }).click()
    await note(page, 'Stopped before an answer came.').waitFor()
    speech.finish()
    await state(page, 'idle')
  })

  it('C16 tells in plain words that an answer failed', async () => {
    const { page, problems } = await chat()
    const speech = await ask(page, 'break')
    speech.say('So far')
    speech.breakOff()
    await note(page, 'The answer broke off before its end.').waitFor()
    await page.getByRole('button', { name: 'Regenerate' }).waitFor()
    await expectThread(page, ['> break', '< So far'])
    expect(problems).toEqual([])
  })

  it('G3 a reload in mid-answer keeps the history and goes on', async () => {
    const { page, problems } = await chat()
    const first = await ask(page, 'one')
    first.say('answer one')
    first.finish()
    await state(page, 'idle')
    const second = await ask(page, 'two')
    second.say('answer')
    await page.getByText('answer', { exact: true }).waitFor()
    await page.reload()
    await state(page, 'streaming')
    second.say(' two')
    second.finish()
    await state(page, 'idle')
    await expectThread(page, ['> one', '< answer one', '> two', '< answer two'])
    expect(problems).toEqual([])
  })

  it('C4 a second tab sees everything live, and lists the chat', async () => {
    const { page } = await chat()
    const { page: beside, problems } = await browser.openBeside(page, page.url())
    await state(beside, 'idle')
    const speech = await ask(page, 'seen by both')
    speech.say('and')
    await beside.getByText('and', { exact: true }).waitFor()
    speech.say(' answered to both')
    speech.finish()
    await state(beside, 'idle')
    await expectThread(page, ['> seen by both', '< and answered to both'])
    await expectThread(beside, ['> seen by both', '< and answered to both'])
    await beside.getByRole('navigation').getByRole('link', { name: 'seen by both' }).waitFor()
    expect(problems).toEqual([])
  })

  it('G2 loses and doubles nothing when its socket is cut again and again in mid-answer', async () => {
    const { page, problems } = await chat()
    const speech = await ask(page, 'count')
    const words = Array.from({ length: 120 }, (_, index) => `w${index} `)
    for (const [index, word] of words.entries()) {
      speech.say(word)
      if (index % 15 !== 7) continue
      await page.getByText(word.trim(), { exact: false }).waitFor()
      const back = page.waitForEvent('websocket')
      server.line.cut()
      // Said while nobody listens.
      speech.say('(')
      await back
      speech.say(') ')
    }
    speech.finish()
    await state(page, 'idle')
    const expected = words.map((word, index) => (index % 15 === 7 ? `${word}() ` : word)).join('')
    await expectThread(page, ['> count', `< ${expected.trim()}`])
    expect(problems).toEqual([])
  })

  it('C7 keeps what is written while disconnected, also over a reload, and sends it once', async () => {
    const { page } = await chat()
    server.line.setClosed(true)
    server.line.cut()
    await page.getByText('Reconnecting in').or(page.getByText('Reconnecting…')).first().waitFor()
    await messageBox(page).fill('from the dark')
    await page.keyboard.press('Enter')
    await note(page, 'It is sent when the connection is back.').waitFor()
    server.line.setClosed(false)
    await page.reload()
    const speech = await server.model.asked()
    expect(speech.question).toBe('from the dark')
    speech.say('received')
    speech.finish()
    await expectThread(page, ['> from the dark', '< received'])
    expect(await page.locator('.draft').count()).toBe(0)
  })

  it('a Markdown answer cannot run, load or lead to anything', async () => {
    const { page, problems } = await chat()
    const requests: string[] = []
    page.on('request', (request) => requests.push(request.url()))
    await page.evaluate('window.attacked = []')
    const attack = [
      '<script>attacked.push("script")</script>',
      '<img src=x onerror="attacked.push(\'img\')">',
      '<svg onload="attacked.push(\'svg\')"></svg>',
      '<iframe srcdoc="<script>parent.attacked.push(1)</script>"></iframe>',
      '[script](javascript:attacked.push("link")) [data](data:text/html,hi) [fine](https://example.com/?a=1&b="x")',
      '[entity](&#106;avascript:attacked.push("entity")) ![pixel](https://example.com/pixel.png)',
      '<a href="javascript:attacked.push(1)" style="position:fixed;inset:0">cover</a>',
      '```html\n<script>attacked.push("code")</script>\n```',
      '| a | <b onclick="attacked.push(1)">b</b> |\n|---|---|\n| c | d<br>e |',
    ].join('\n\n')
    const speech = await ask(page, attack)
    for (const piece of attack.match(/[\s\S]{1,9}/g) ?? []) speech.say(piece)
    speech.finish()
    await state(page, 'idle')
    await page.getByRole('cell', { name: 'd e' }).waitFor()
    const elements = await page
      .locator('.markdown')
      .evaluate((root) => [...root.querySelectorAll('*')].map((element) => element.localName))
    for (const name of ['script', 'img', 'iframe', 'style']) expect(elements).not.toContain(name)
    const links = await page
      .locator('.markdown a')
      .evaluateAll((all) => all.map((link) => [link.textContent, link.getAttribute('href'), link.getAttribute('rel')]))
    expect(links.map(([text, href]) => [text, href])).toEqual([
      ['fine', 'https://example.com/?a=1&b="x"'],
      ['pixel', 'https://example.com/pixel.png'],
    ])
    for (const [, , rel] of links) expect(rel).toContain('noopener')
    for (const text of ['script', 'entity', 'cover']) await page.locator('.markdown').getByText(text).last().click()
    expect(await page.evaluate('window.attacked')).toEqual([])
    expect(await page.locator('.markdown').textContent()).toContain('<script>attacked.push("script")</script>')
    expect(requests).toEqual([])
    expect(problems).toEqual([])
  })

  it('fits a screen of 360 px, whatever the answer holds', async () => {
    const { page, problems } = await chat({ viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true })
    const long = 'x'.repeat(300)
    const speech = await ask(page, `wide ${long}`)
    speech.say(
      `${long} \`${long}\`\n\n\`\`\`\n${long}\n\`\`\`\n\n| a | b |\n|---|---|\n| ${long} | c |\n\n# ${long}\n\n- ${long}\n`,
    )
    speech.finish()
    await state(page, 'idle')
    const overflow = (element: { scrollWidth: number; clientWidth: number }) =>
      element.scrollWidth - element.clientWidth
    const widths = await Promise.all(
      ['html', 'body', '.scroller', '.column'].map((selector) => page.locator(selector).evaluate(overflow)),
    )
    expect(widths).toEqual([0, 0, 0, 0])
    // Where notices stand.
    const edges = (element: { getBoundingClientRect(): { left: number; right: number } }) =>
      element.getBoundingClientRect()
    const { left, right } = await page.locator('.toasts').evaluate(edges)
    expect([left, 360 - right]).toEqual([16, 16])
    await page.getByRole('button', { name: 'Chats' }).click()
    await page.getByRole('navigation').getByRole('button', { name: 'New chat' }).click()
    await page.getByText('What would you like to talk about?').waitFor()
    expect(problems).toEqual([])
  })

  it('a notice covers nothing that can be pressed, and the end of the thread stays in view', async () => {
    const { page } = await chat({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })
    const speech = await ask(page, 'first')
    speech.say('one')
    for (let waiting = 0; waiting <= TURN_QUEUE; waiting++) {
      await messageBox(page).fill(`one more, ${waiting}`)
      await page.keyboard.press('Enter')
    }
    const buttons = page.getByRole('button')
    await buttons.filter({ hasText: 'Send again' }).waitFor()
    await page.getByRole('button', { name: 'Copy the link to this chat' }).click()
    const box = (locator: Locator) =>
      locator.evaluate((element) => {
        const { left, right, top, bottom } = element.getBoundingClientRect()
        return { left, right, top, bottom, words: element.textContent || element.ariaLabel }
      })
    const end = page.getByRole('button', { name: 'Discard' })
    const thread = page.locator('.scroller')
    await page.locator('.toast').waitFor()
    // The thread follows after the notice has taken its place.
    await expect.poll(async () => (await box(end)).bottom <= (await box(thread)).bottom).toBe(true)
    const notice = await box(page.locator('.toast'))
    const pressable = await Promise.all((await buttons.or(messageBox(page)).all()).map(box))
    const covered = pressable.filter(
      ({ left, right, top, bottom }) =>
        left < notice.right && right > notice.left && top < notice.bottom && bottom > notice.top,
    )
    expect(pressable.map(({ words }) => words)).toContain('Discard')
    expect(covered).toEqual([])
    // What waits would ask the model in the next test.
    speech.finish()
    for (let waiting = 0; waiting < TURN_QUEUE; waiting++) (await server.model.asked()).finish()
  })

  it('can be used by keyboard alone', async () => {
    const { page } = await chat()
    await page.keyboard.type('line one')
    await page.keyboard.press('Shift+Enter')
    await page.keyboard.type('line two')
    await page.keyboard.press('Enter')
    const speech = await server.model.asked()
    expect(speech.question).toBe('line one\nline two')
    speech.say('An answer.')
    speech.finish()
    await state(page, 'idle')
    const focused = () => page.evaluate('document.activeElement.ariaLabel ?? document.activeElement.textContent')
    expect(await focused()).toBe('Message')
    await page.getByRole('button', { name: 'Regenerate' }).waitFor()
    await page.keyboard.press('Shift+Tab')
    expect(await focused()).toBe('Regenerate')
    await page.keyboard.press('Enter')
    const again = await server.model.asked()
    again.say('Another.')
    again.finish()
    await state(page, 'idle')
    await expectThread(page, ['> line one\nline two', '< Another.'])
    const reached = new Set<unknown>()
    for (let step = 0; step < 25; step++) {
      await page.keyboard.press('Tab')
      reached.add(await focused())
    }
    for (const name of ['Copy answer', 'Regenerate', 'Copy the link to this chat', 'New chat', 'Message']) {
      expect(reached).toContain(name)
    }
  })

  it('an Enter that ends the composition of an input method sends nothing', async () => {
    const { page } = await chat()
    await messageBox(page).fill('にほん')
    for (const composing of ['isComposing: true', 'keyCode: 229']) {
      await page.evaluate(
        `document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, ${composing} }))`,
      )
    }
    expect(await messageBox(page).inputValue()).toBe('にほん')
    const speech = await ask(page, 'にほんご')
    expect(speech.question).toBe('にほんご')
    speech.finish()
  })

  it('follows the end of an answer, but not when the reader has gone up', async () => {
    const { page } = await chat({ viewport: { width: 800, height: 500 } })
    const speech = await ask(page, 'long')
    const top = () => page.locator('.scroller').evaluate((element) => element.scrollTop)
    const left = () =>
      page.locator('.scroller').evaluate((element) => element.scrollHeight - element.clientHeight - element.scrollTop)
    for (let line = 0; line < 60; line++) speech.say(`line ${line}\n\n`)
    await page.getByText('line 59').waitFor()
    await expect.poll(left).toBeLessThanOrEqual(1)
    await page.mouse.move(400, 200)
    await page.mouse.wheel(0, -600)
    await page.getByRole('button', { name: 'Jump to the latest' }).waitFor()
    await expect.poll(left).toBeGreaterThanOrEqual(500)
    const held = await top()
    for (let line = 60; line < 90; line++) speech.say(`line ${line}\n\n`)
    await page.getByText('line 89').waitFor({ state: 'attached' })
    expect(await top()).toBe(held)
    await page.getByRole('button', { name: 'Jump to the latest' }).click()
    await expect.poll(left).toBeLessThanOrEqual(1)
    speech.finish()
    await state(page, 'idle')
    expect(await page.getByRole('button', { name: 'Jump to the latest' }).isVisible()).toBe(false)
  })

  it('copies answers, code and the link', async () => {
    const { page } = await chat({ permissions: ['clipboard-read', 'clipboard-write'] })
    const speech = await ask(page, 'code')
    speech.say('Here:\n\n```js\nlet a = 1\n```\n')
    speech.finish()
    await state(page, 'idle')
    const clipboard = () => page.evaluate('navigator.clipboard.readText()')
    await page.getByRole('button', { name: 'Copy code' }).click()
    await expect.poll(clipboard).toBe('let a = 1')
    await page.getByRole('button', { name: 'Copy answer' }).click()
    await expect.poll(clipboard).toBe('Here:\n\n```js\nlet a = 1\n```\n')
    await page.getByRole('button', { name: 'Copy the link to this chat' }).click()
    await expect.poll(clipboard).toBe(page.url())
    await page.getByText('Link copied').waitFor()
  })

  it('reads an answer aloud once it is whole, and not token by token', async () => {
    const { page } = await chat()
    const spoken = page.locator('.chat > [aria-live="polite"]')
    const speech = await ask(page, 'aloud')
    speech.say('Half of')
    await page.getByText('Half of').waitFor()
    expect(await spoken.textContent()).toBe('The model is answering.')
    speech.say(' **it**')
    speech.finish()
    await expect.poll(() => spoken.textContent()).toBe('Half of it')
  })
})
