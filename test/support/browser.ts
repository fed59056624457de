import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

/** Debian's Chromium, without anything that it would ask of the network by itself. */
const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium'
const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** A page that keeps what went wrong in it. */
export interface TestPage {
  readonly page: Page
  /** Console errors, uncaught exceptions and failed requests so far, in words. */
  readonly problems: readonly string[]
}

/** A browser for tests. It closes by `await using`, or by `close()`. */
export interface TestBrowser extends AsyncDisposable {
  readonly browser: Browser
  /** A page in a context (cookies, storage) of its own. */
  open(url: string, options?: BrowserContextOptions): Promise<TestPage>
  /** Another tab in the context of a page: it shares that page's storage. */
  openBeside(page: Page, url: string): Promise<TestPage>
  close(): Promise<void>
}

/** Starts Chromium. One a test file is enough: contexts are cheap, and keep tests apart. */
export async function launchBrowser(): Promise<TestBrowser> {
  const browser = await chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS })

  async function visit(page: Page, url: string): Promise<TestPage> {
    const problems: string[] = []
    page.on('console', (message) => {
      if (message.type() === 'error') problems.push(`console: ${message.text()}`)
    })
    page.on('pageerror', (error) => problems.push(`exception: ${error.stack ?? error.message}`))
    page.on('requestfailed', (request) => problems.push(`request: ${request.url()} ${request.failure()?.errorText}`))
    await page.goto(url)
    return { page, problems }
  }

  return {
    browser,
    async open(url, options) {
      const context = await browser.newContext(options)
      return visit(await context.newPage(), url)
    },
    openBeside: async (page, url) => visit(await page.context().newPage(), url),
    close: () => browser.close(),
    [Symbol.asyncDispose]: () => browser.close(),
  }
}
