import type { Locator, Page } from 'playwright-core';
import { expect } from 'vitest';
import { WAIT_MS } from './browser.js';

/** One user of the page, found as people and screen readers find it: by roles and labels. */
export class ChatPane {
  readonly page: Page;
  readonly root: Locator;
  readonly box: Locator;
  readonly messages: Locator;

  constructor(page: Page, name: string) {
    this.page = page;
    this.root = page.getByRole('region', { name, exact: true });
    this.box = this.root.getByRole('textbox', { name: 'Write a message' });
    this.messages = this.root.getByRole('region', { name: /^Messages in / }).locator('.message');
  }

  async isReady(): Promise<void> {
    await this.root.getByText('Online').waitFor();
    await this.messages.last().waitFor();
  }

  /** The button of a room, by its name. */
  room(name: string): Locator {
    return this.root.getByRole('navigation').getByRole('button', { name: new RegExp(`\\b${name}`) });
  }

  async openRoom(name: string): Promise<void> {
    await this.room(name).click();
    await this.root.getByRole('heading', { name, exact: true }).waitFor();
    await this.root.locator('.scroller[aria-busy=false]').waitFor();
  }

  async send(text: string): Promise<void> {
    await this.box.fill(text);
    await this.box.press('Enter');
  }

  message(text: string | RegExp): Locator {
    return this.messages.filter({ has: this.page.locator('.text').getByText(text, { exact: true }) });
  }

  async has(text: string): Promise<void> {
    await this.message(text).waitFor();
  }

  /** The texts of the messages, in their order. */
  async texts(): Promise<string[]> {
    return this.messages.locator('.text').allTextContents();
  }

  /** Presses a button of the message's tool bar. */
  async act(text: string, action: 'React' | 'Reply' | 'Edit' | 'Delete'): Promise<void> {
    const message = this.message(text);
    await message.hover();
    await message.getByRole('button', { name: action, exact: true }).click();
  }
}

/** Waits until `read` gives what is expected. */
export async function eventually<T>(read: () => Promise<T>, expected: T): Promise<void> {
  await expect.poll(read, { timeout: WAIT_MS, interval: 50 }).toEqual(expected);
}
