import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Page } from 'playwright-core';
import { Demo } from '../../demo/demo.js';
import { keepScreenshot, TestBrowser } from './browser.js';
import { ChatPane, eventually } from './chat-pane.js';

let demo: Demo;
let browser: TestBrowser;
let page: Page;
let alice: ChatPane;
let bob: ChatPane;

beforeAll(async () => {
  demo = await Demo.start({ port: 0 });
  browser = await TestBrowser.launch();
  page = await browser.open(demo.url);
  alice = new ChatPane(page, 'Alice');
  bob = new ChatPane(page, 'Bob');
  await alice.isReady();
  await bob.isReady();
});

afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await demo?.[Symbol.asyncDispose]();
});

afterEach(() => browser.assertNoFaults());

test('shows two users with the same room, its picture, reply, edit and reaction', async () => {
  for (const pane of [alice, bob]) {
    await pane.has('Lovely. At one?');
    const reply = pane.message('One is perfect. See you there!');
    expect(await reply.getByRole('button', { name: /^Reply to Bob: Lovely\. At one\?$/ }).count()).toBe(1);
    expect(await pane.message('Lovely. At one?').getByText('edited').count()).toBe(1);
    const picture = pane.messages.getByRole('img', { name: 'lake.png' });
    await eventually(
      () => picture.evaluate((image) => (image as unknown as { naturalWidth: number }).naturalWidth),
      480,
    );
  }
  await bob.root.getByRole('button', { name: '❤️, 1: Alice' }).waitFor();
  await alice.root.getByRole('button', { name: '❤️, 1: you', pressed: true }).waitFor();
  await keepScreenshot(page, 'light');
});

test('counts what was unread before the page was opened', async () => {
  await alice.root.getByRole('button', { name: /Book club.*, 1 unread/ }).waitFor();
  await bob.root.getByRole('button', { name: /Alice.*, 1 unread/ }).waitFor();
});

test('shows a message to both users at once, and that it was seen', async () => {
  await alice.send('Hello from Alice');
  await bob.has('Hello from Alice');
  await alice.message('Hello from Alice').getByText('Seen by Bob').waitFor();
  await bob.send('Hello from Bob');
  await alice.has('Hello from Bob');
});

test('shows who is typing, until the message is there', async () => {
  await alice.box.pressSequentially('I am ');
  await bob.root.getByText('Alice is typing').waitFor();
  await alice.send('I am done');
  await bob.has('I am done');
  await bob.root.getByText('Alice is typing').waitFor({ state: 'detached' });
});

test('adds and takes back reactions', async () => {
  await alice.send('React to this');
  await bob.act('React to this', 'React');
  await bob.message('React to this').getByRole('button', { name: 'React with 🎉' }).click();
  const chip = alice.message('React to this').getByRole('button', { name: '🎉, 1: Bob', pressed: false });
  await chip.click();
  const both = bob.message('React to this').getByRole('button', { name: '🎉, 2: you, Alice', pressed: true });
  await both.click();
  await alice.message('React to this').getByRole('button', { name: '🎉, 1: you', pressed: true }).click();
  await bob.message('React to this').getByRole('button', { name: /^🎉/ }).waitFor({ state: 'detached' });
});

test('edits, replies and deletes', async () => {
  await alice.send('A mistkae');
  await alice.act('A mistkae', 'Edit');
  await alice.send('A correction');
  await bob.has('A correction');
  expect(await bob.message('A mistkae').count()).toBe(0);
  await bob.act('A correction', 'Reply');
  await bob.send('Better');
  await alice.message('Better').getByRole('button', { name: 'Reply to Alice: A correction' }).waitFor();
  await alice.act('A correction', 'Delete');
  await bob.message('Better').getByRole('button', { name: 'Reply to Alice: This message was deleted' }).waitFor();
  expect(await bob.message('A correction').count()).toBe(0);
});

describe('files', () => {
  test('are sent, and downloaded with their name and content', async () => {
    const file = { name: 'übung "1".txt', mimeType: 'text/plain', buffer: Buffer.from('A small file') };
    await alice.root.getByLabel('Files').setInputFiles(file);
    const link = bob.messages.getByRole('link', { name: /übung "1"\.txt/ });
    await link.waitFor();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      link.evaluate((node) => (node as unknown as { click(): void }).click()),
    ]);
    expect(download.suggestedFilename()).toMatch(/^übung ["_]1["_]\.txt$/);
    expect(String(await (await download.createReadStream()).toArray())).toBe('A small file');
  });

  test('that a browser could run are never shown, only downloaded', async () => {
    const script = '<svg xmlns="http://www.w3.org/2000/svg"><script>document.title = "taken over"</script></svg>';
    const file = { name: 'drawing.svg', mimeType: 'image/svg+xml', buffer: Buffer.from(script) };
    await alice.root.getByLabel('Files').setInputFiles(file);
    const link = bob.messages.getByRole('link', { name: /drawing\.svg/ });
    await link.waitFor();
    const url = new URL((await link.getAttribute('href')) ?? '', demo.url);
    const { headers } = await fetch(url);
    expect(headers.get('content-type')).toBe('application/octet-stream');
    expect(headers.get('content-disposition')).toMatch(/^attachment;/);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('content-security-policy')).toContain('sandbox');
  });
});

test('shows markup in messages, names and rooms as text', async () => {
  const markup = '<img src=x onerror="document.title=1"><script>document.title=2</script> & <b>bold</b>';
  await alice.send(markup);
  await bob.has(markup);
  await alice.root.getByRole('button', { name: 'New room' }).click();
  await alice.root.getByRole('textbox', { name: 'Name of the new room' }).fill('<b>Room</b>');
  await alice.page.keyboard.press('Enter');
  await alice.root.getByRole('heading', { name: '<b>Room</b>', exact: true }).waitFor();
  await bob.root.getByRole('button', { name: /<b>Room<\/b>.*Join/ }).click();
  await bob.root.getByRole('heading', { name: '<b>Room</b>', exact: true }).waitFor();
  await bob.send('I am in');
  await alice.has('I am in');
  expect(await page.locator('b:has-text("Room"), .text b, .text img').count()).toBe(0);
  await alice.openRoom('Summer picnic');
  await bob.openRoom('Summer picnic');
});

test('counts unread messages, and no longer when they are read', async () => {
  await bob.openRoom('Book club');
  for (const text of ['One', 'Two', 'Three']) await alice.send(text);
  await bob.root.getByRole('button', { name: /Summer picnic.*, 3 unread/ }).waitFor();
  expect(await page.title()).toMatch(/^\(\d+\) /);
  await bob.openRoom('Summer picnic');
  await bob.messages.last().getByText('Three').waitFor();
  await eventually(() => bob.root.getByRole('button', { name: /Summer picnic.*unread/ }).count(), 0);
  await bob.root.getByRole('separator').filter({ hasText: 'New' }).waitFor();
  await alice.message('Three').getByText('Seen by Bob').waitFor();
});

test('loads the history of a room by scrolling, and what is read stays in its place', async () => {
  await alice.openRoom('Book club');
  const first = await alice.messages.count();
  const scroller = alice.root.getByRole('region', { name: 'Messages in Book club' });
  for (;;) {
    const count = await alice.messages.count();
    if (await alice.root.getByText('This is the beginning').isVisible()) break;
    await scroller.hover();
    await page.mouse.wheel(0, -4_000);
    await expect
      .poll(
        async () =>
          (await alice.messages.count()) > count || (await alice.root.getByText('This is the beginning').isVisible()),
      )
      .toBe(true);
  }
  const texts = await alice.texts();
  expect(first).toBeLessThan(60);
  expect(texts).toHaveLength(151);
  expect(texts[0]).toBe('I have just finished chapter 1.');
  expect(texts.at(-1)).toBe('The next meeting is on Thursday at seven.');
  await alice.openRoom('Summer picnic');
});

test('is used with the keyboard alone', async () => {
  const { keyboard } = page;
  await bob.room('Summer picnic').focus();
  await keyboard.press('ArrowDown');
  await keyboard.press('ArrowUp');
  await keyboard.press('Enter');
  await keyboard.type('By keyboard');
  await keyboard.press('Shift+Enter');
  await keyboard.type('in two lines');
  await keyboard.press('Enter');
  await alice.messages.last().getByText('in two lines').waitFor();
  await keyboard.press('ArrowUp'); // edits the last message
  await keyboard.press('Control+A');
  await keyboard.type('Edited by keyboard');
  await keyboard.press('Enter');
  await alice.has('Edited by keyboard');
  // Shift+Tab leads to the list, where the arrow keys choose a message, and Tab leads to its buttons.
  await keyboard.press('Shift+Tab');
  await keyboard.press('Shift+Tab');
  const focused = (): Promise<string> =>
    page.evaluate('document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.className');
  for (let presses = 0; !(await focused()).startsWith('message') && presses < 10; presses++)
    await keyboard.press('Shift+Tab');
  expect(await focused()).toMatch(/^message/);
  await keyboard.press('Tab');
  expect(await focused()).toBe('React');
  await keyboard.press('Enter');
  expect(await focused()).toBe('React with 👍');
  await keyboard.press('Enter');
  await alice.message('Edited by keyboard').getByRole('button', { name: '👍, 1: Bob' }).waitFor();
  await keyboard.press('Escape');
  expect(await focused()).toBe('Write a message');
});

test('tells screen readers of messages of others', async () => {
  await alice.send('Listen');
  await bob.root.getByRole('log').getByText('Alice: Listen').waitFor({ state: 'attached' });
  expect(await alice.root.getByRole('log').getByText('Listen').count()).toBe(0);
});

test('keeps two windows and a reload in step', async () => {
  const second = await browser.open(`${demo.url}?user=bob`);
  const other = new ChatPane(second, 'Bob');
  await other.isReady();
  await other.openRoom('Summer picnic');
  await other.send('From the second window');
  await bob.has('From the second window');
  await alice.has('From the second window');
  await page.reload();
  await alice.isReady();
  await alice.has('From the second window');
  expect(await alice.message('From the second window').count()).toBe(1);
  await second.context().close();
});
