import { afterAll, afterEach, beforeAll, test } from 'vitest';
import { startSynapse } from '../../scripts/synapse/start-synapse.js';
import { Demo } from '../../demo/demo.js';
import { keepScreenshot, TestBrowser } from './browser.js';
import { ChatPane, eventually } from './chat-pane.js';

let synapse: Awaited<ReturnType<typeof startSynapse>> | undefined;
let demo: Demo;
let browser: TestBrowser;

// Longer than elsewhere: Synapse may have to be installed.
beforeAll(async () => {
  synapse = await startSynapse();
  const env = {
    MATRIX_HOMESERVER_URL: synapse.baseUrl,
    MATRIX_ADMIN_USER: synapse.admin.userId,
    MATRIX_ADMIN_TOKEN: synapse.admin.accessToken,
  };
  demo = await Demo.start({ port: 0, env, history: 40 });
  browser = await TestBrowser.launch();
}, 600_000);

afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await demo?.[Symbol.asyncDispose]();
  await synapse?.stop();
});
afterEach(() => browser.assertNoFaults());

test('two users chat on Synapse: messages, edits, reactions, typing, receipts, files, unread counts, history', async () => {
  const page = await browser.open(demo.url);
  const [alice, bob] = [new ChatPane(page, 'Alice'), new ChatPane(page, 'Bob')] as const;
  await alice.isReady();
  await bob.isReady();
  await alice.openRoom('Summer picnic');
  await bob.openRoom('Summer picnic');

  await alice.send('Hello from Synapse');
  await bob.has('Hello from Synapse');
  await alice.message('Hello from Synapse').getByText('Seen by Bob').waitFor();

  await bob.box.pressSequentially('Hel');
  await alice.root.getByText('Bob is typing').waitFor();
  await bob.send('Helo');
  await alice.has('Helo');
  await bob.act('Helo', 'Edit');
  await bob.send('Hello');
  await alice.has('Hello');
  await alice.act('Hello', 'React');
  await alice.message('Hello').getByRole('button', { name: 'React with 👍' }).click();
  await bob.message('Hello').getByRole('button', { name: '👍, 1: Alice' }).waitFor();

  const file = { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('Notes') };
  await alice.root.getByLabel('Files').setInputFiles(file);
  await bob.messages.getByRole('link', { name: /notes\.txt/ }).waitFor();

  await bob.openRoom('Book club');
  await alice.send('One');
  await alice.send('Two');
  await bob.root.getByRole('button', { name: /Summer picnic.*, 2 unread/ }).waitFor();
  await keepScreenshot(page, 'synapse');
  await bob.root.getByRole('region', { name: 'Messages in Book club' }).hover();
  await page.mouse.wheel(0, -10_000);
  await eventually(() => bob.messages.count(), 41);

  demo.server.cutStreams();
  await bob.openRoom('Summer picnic');
  await bob.has('Two');
  await eventually(() => bob.root.getByRole('button', { name: /Summer picnic.*unread/ }).count(), 0);
});
