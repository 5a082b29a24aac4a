import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Page } from 'playwright-core';
import { Demo } from '../../demo/demo.js';
import { keepScreenshot, TestBrowser } from './browser.js';
import { ChatPane } from './chat-pane.js';
import { findContrastProblems, findNameProblems } from './page-checks.js';

let demo: Demo;
let browser: TestBrowser;
beforeAll(async () => {
  demo = await Demo.start({ port: 0, history: 4 });
  browser = await TestBrowser.launch();
});
afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await demo?.[Symbol.asyncDispose]();
});
afterEach(() => browser.assertNoFaults());

/** Shows what the tests look at: unread counts, the tool bar, a reply that is being written, and a deleted message. */
async function fill(page: Page): Promise<[ChatPane, ChatPane]> {
  const [alice, bob] = [new ChatPane(page, 'Alice'), new ChatPane(page, 'Bob')] as const;
  await alice.isReady();
  await bob.isReady();
  await alice.openRoom('Summer picnic');
  await bob.openRoom('Book club');
  await alice.send('A message that goes');
  await alice.act('A message that goes', 'Delete');
  await alice.messages.getByText('This message was deleted').last().waitFor();
  await alice.send('Are you there?');
  await bob.root.getByRole('button', { name: /Summer picnic.* unread/ }).waitFor();
  await alice.act('Lovely. At one?', 'Reply');
  await alice.message('Lovely. At one?').hover();
  return [alice, bob];
}

describe.each(['light', 'dark'] as const)('in the %s scheme', (colorScheme) => {
  let page: Page;
  beforeAll(async () => {
    page = await browser.open(demo.url, { colorScheme, reducedMotion: 'reduce' });
    await fill(page);
    await keepScreenshot(page, `${colorScheme}-busy`);
  });
  afterAll(() => page?.context().close());

  test('texts have a contrast of 4.5, large ones of 3', async () => {
    expect(await findContrastProblems(page)).toEqual([]);
  });

  test('everything that can be used has a name, every list its items, and no id is there twice', async () => {
    expect(await findNameProblems(page)).toEqual([]);
  });
});

test('has the landmarks and headings that screen readers go by', async () => {
  const page = await browser.open(demo.url);
  const [alice] = await fill(page);
  for (const role of ['banner', 'main'] as const) expect(await page.getByRole(role).count()).toBe(1);
  expect(await page.getByRole('navigation').count()).toBe(2);
  expect(await page.getByRole('heading', { level: 1 }).allTextContents()).toEqual([' matrix-client-manager']);
  expect(await page.getByRole('heading', { level: 2 }).allTextContents()).toEqual(['Alice', 'Bob']);
  expect(await alice.root.getByRole('region', { name: 'Conversation Summer picnic' }).count()).toBe(1);
  expect(await alice.room('Summer picnic').getAttribute('aria-current')).toBe('true');
  await page.context().close();
});

test('shows one user at a time in a narrow window, and either the rooms or the conversation', async () => {
  const page = await browser.open(demo.url, { viewport: { width: 390, height: 780 } });
  const [alice, bob] = [new ChatPane(page, 'Alice'), new ChatPane(page, 'Bob')];
  await alice.room('Summer picnic').waitFor();
  expect(await bob.root.count()).toBe(0); // hidden, so that no screen reader finds it
  await keepScreenshot(page, 'narrow-rooms');
  await alice.room('Summer picnic').click();
  await alice.has('One is perfect. See you there!');
  expect(await alice.room('Summer picnic').count()).toBe(0);
  await alice.send('From a phone');
  await alice.has('From a phone');
  await keepScreenshot(page, 'narrow');
  expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
  expect(await page.evaluate('document.documentElement.scrollHeight <= innerHeight')).toBe(true);
  await alice.root.getByRole('button', { name: 'Back to the rooms' }).click();
  expect(await page.evaluate('document.activeElement?.textContent')).toContain('Summer picnic');
  await page
    .getByRole('group', { name: 'User that is shown' })
    .getByRole('button', { name: /^Bob(, \d+ unread)?$/ })
    .click();
  await bob.room('Summer picnic').waitFor();
  expect(await alice.root.count()).toBe(0);
  await page.context().close();
});
