import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { inject } from 'vitest';

const screenshots = fileURLToPath(new URL('../../.screenshots/', import.meta.url));

/** Waits of the page's tests end after this time, in milliseconds. */
export const WAIT_MS = 15_000;

/** Chromium for one test file, with every fault that its pages report. */
export class TestBrowser implements AsyncDisposable {
  /** Errors of scripts, of the security policy, and failed loads of files. */
  readonly faults: string[] = [];
  readonly #browser: Browser;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async launch(): Promise<TestBrowser> {
    // Chromium's sandbox does not run as root, which CI is. Shared memory is small in containers.
    const args = ['--no-sandbox', '--disable-dev-shm-usage'];
    return new TestBrowser(await chromium.launch({ executablePath: inject('chromium'), args }));
  }

  async open(url: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await this.#browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(WAIT_MS);
    const page = await context.newPage();
    page.on('pageerror', (error) => this.faults.push(error.stack ?? error.message));
    page.on('console', (message) => {
      // A stream that was cut, or a server that is gone, is part of the tests.
      const isNetwork = /net::ERR_|Failed to load resource/.test(message.text());
      if (message.type() === 'error' && !isNetwork) this.faults.push(message.text());
    });
    await page.goto(url);
    return page;
  }

  /** Throws if a page has reported a fault. */
  assertNoFaults(): void {
    const faults = this.faults.splice(0);
    if (faults.length > 0) throw new Error(`The page reported:\n${faults.join('\n')}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}

/** Keeps a picture of the page in `.screenshots/`. */
export async function keepScreenshot(page: Page, name: string): Promise<void> {
  mkdirSync(screenshots, { recursive: true });
  await page.screenshot({ path: join(screenshots, `${name}.png`), animations: 'disabled' });
}
