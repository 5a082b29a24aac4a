/** An encrypted support desk: a customer, two agents, and a restart of the desk in the middle of the conversation. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MatrixClientManager, sqliteStorage } from 'matrix-client-manager';
import type { ClientEvent } from 'matrix-client-manager';
import { openHomeserver } from './homeserver.js';

await using homeserver = await openHomeserver(); // embedded, or yours: see homeserver.ts

const folder = await mkdtemp(join(tmpdir(), 'support-desk-'));
const secret = crypto.getRandomValues(new Uint8Array(32)); // yours comes from where you keep secrets

function openDesk(): MatrixClientManager {
  return new MatrixClientManager({
    homeserverUrl: homeserver.url,
    admin: homeserver.admin,
    storage: sqliteStorage({ path: join(folder, 'app.sqlite'), secret }),
    encryption: { path: join(folder, 'keys.sqlite'), secret },
  });
}

/** A callback that prints messages, and lets us wait for one. */
function inbox(name: string) {
  const waiting = new Map<string, () => void>();
  const texts = new Set<string>();
  return {
    callback: (event: ClientEvent): void => {
      if (event.type !== 'message') return;
      const { text = '' } = event; // absent if it could not be decrypted
      console.log(`${name} reads: ${text} (${event.decryption?.state}, ${event.provenance})`);
      texts.add(text);
      waiting.get(text)?.();
    },
    has: (text: string): Promise<void> =>
      new Promise((resolve) => (texts.has(text) ? resolve() : waiting.set(text, resolve))),
  };
}

const users: Record<string, string> = {};
let roomId = '';
{
  await using desk = openDesk();
  for (const name of ['customer', 'agent-one', 'agent-two']) {
    const { userId } = await desk.provisionUser({ username: homeserver.username(name) });
    users[name] = userId;
  }
  const { customer = '', 'agent-one': one = '', 'agent-two': two = '' } = users;
  const atOne = inbox('agent one');
  const atTwo = inbox('agent two');
  await desk.startClient({ userId: one, callbacks: [atOne.callback] });
  await desk.startClient({ userId: two, callbacks: [atTwo.callback] });
  ({ roomId } = await desk.rooms.create({ userId: customer, invite: [one, two], encrypted: true }));
  for (const agent of [one, two]) await desk.rooms.join({ userId: agent, roomId });

  await desk.sendMessage({ userId: customer, roomId, text: 'My order has not come.' });
  await Promise.all([atOne.has('My order has not come.'), atTwo.has('My order has not come.')]);
  await desk.stopClient(two); // the second agent goes home
  await desk.sendMessage({ userId: one, roomId, text: 'I am looking into it.' });
  console.log('The desk restarts');
}

await using desk = openDesk(); // the same devices with the same keys
const { customer = '', 'agent-two': two = '' } = users;
const atTwo = inbox('agent two');
await desk.startClient({ userId: two, callbacks: [atTwo.callback] });
await atTwo.has('I am looking into it.');
await desk.sendMessage({ userId: two, roomId, text: 'It comes tomorrow.' });
const { messages } = await desk.getRoomMessages({ roomId, userId: customer, limit: 10 });
for (const { text } of messages.toReversed()) console.log(`customer's history: ${text}`);
await desk.shutdown();
await rm(folder, { recursive: true });
