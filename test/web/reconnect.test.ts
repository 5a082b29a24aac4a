import { afterAll, afterEach, beforeAll, test } from 'vitest';
import type { Page } from 'playwright-core';
import { Demo } from '../../demo/demo.js';
import { TestBrowser } from './browser.js';
import { ChatPane, eventually } from './chat-pane.js';

let demo: Demo;
let browser: TestBrowser;
let page: Page;
let alice: ChatPane;
let bob: ChatPane;

beforeAll(async () => {
  demo = await Demo.start({ port: 0, history: 0 });
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

/** Sends a message as a user who is not on the page. */
async function sendElsewhere(text: string): Promise<void> {
  const [, userId] = [...demo.people.values()].map((person) => person.userId);
  const rooms = await fetch(new URL('/api/bob/rooms', demo.url)).then((response) => response.json());
  const { roomId } = (rooms as { rooms: { roomId: string; name: string }[] }).rooms.find(
    ({ name }) => name === 'Summer picnic',
  )!;
  await demo.manager.sendMessage({ userId: userId!, roomId, text });
}

test('shows every message once and in order, however often the streams are cut', async () => {
  const texts = Array.from({ length: 30 }, (_, index) => `Message ${index}`);
  for (const [index, text] of texts.entries()) {
    if (index % 5 === 0) demo.server.cutStreams();
    await sendElsewhere(text);
  }
  for (const pane of [alice, bob]) {
    await eventually(async () => (await pane.texts()).filter((text) => text.startsWith('Message ')), texts);
  }
});

test('shows what has come while the browser was offline', async () => {
  await page.context().setOffline(true);
  demo.server.cutStreams();
  await alice.root.getByText('Connecting').waitFor();
  await sendElsewhere('While you were away');
  await alice.send('Written offline');
  await alice.root.getByText('The server cannot be reached. Try again').waitFor();
  await page.context().setOffline(false);
  await alice.has('While you were away');
  await alice.root.getByText('Online').waitFor();
  await alice.root.getByRole('button', { name: /Try again$/ }).click();
  await bob.has('Written offline');
  await eventually(() => alice.message('Written offline').count(), 1);
});

test('goes on with a server that was started again, on which everything is new', async () => {
  const { port } = new URL(demo.url);
  await alice.send('Before the restart');
  await bob.has('Before the restart');
  await demo[Symbol.asyncDispose]();
  await alice.root.getByText('Connecting').waitFor();
  demo = await Demo.start({ port: Number(port), history: 0 });
  await alice.root.getByText('Online').waitFor();
  await eventually(() => alice.message('Before the restart').count(), 0);
  await bob.root.getByText('Online').waitFor();
  await alice.has('One is perfect. See you there!');
  await bob.openRoom('Summer picnic');
  await alice.openRoom('Summer picnic');
  await alice.send('After the restart');
  await bob.has('After the restart');
});
