import type { ClientEvent, MatrixClientManager, MessagePage } from 'matrix-client-manager';
import type { Player } from './cast.js';
import type { FastClock } from './fast-clock.js';
import { say } from './narrate.js';

export interface Stage {
  readonly manager: MatrixClientManager;
  readonly clock: FastClock;
  readonly alice: Player;
  readonly bob: Player;
  readonly roomId: string;
}

export async function goLive(manager: MatrixClientManager, players: readonly Player[]): Promise<void> {
  for (const { name, userId, inbox } of players) {
    const { state, deviceId } = await manager.startClient({ userId, callbacks: [inbox.callback] });
    say(`${name}'s client is ${state} on device ${deviceId}`);
  }
}

export async function openRoom(manager: MatrixClientManager, alice: Player, bob: Player): Promise<string> {
  const { roomId } = await manager.rooms.create({ userId: alice.userId, name: 'Demo', invite: [bob.userId] });
  const invite = await bob.inbox.take('invite', (event) => event.roomId === roomId);
  say(`Bob's callback: an invitation by ${invite.sender} to "${invite.roomName}"`);
  await manager.rooms.join({ userId: bob.userId, roomId });
  await alice.inbox.take('membership', ({ stateKey, membership }) => stateKey === bob.userId && membership === 'join');
  say("Alice's callback: Bob has joined");
  return roomId;
}

export async function talk({ manager, alice, bob, roomId }: Stage): Promise<void> {
  await manager.sendTyping({ userId: alice.userId, roomId, typing: true });
  await bob.inbox.take('typing', ({ userIds }) => userIds.includes(alice.userId));
  say("Bob's callback: Alice is typing");
  const { eventId } = await manager.sendMessage({ userId: alice.userId, roomId, text: 'Hello Bob!' });
  const message = await bob.inbox.take('message', (event) => event.eventId === eventId);
  say(`Bob's callback: message ${quote(message)} (${message.provenance})`);
  await bob.inbox.take('typing', ({ userIds }) => !userIds.includes(alice.userId));
  say("Bob's callback: Alice is not typing any more (the send ended it)");
  await manager.sendReadReceipt({ userId: bob.userId, roomId, eventId });
  await alice.inbox.take('receipt', (event) => event.sender === bob.userId && event.eventId === eventId);
  say("Alice's callback: Bob has read it");
}

export async function readHistory({ manager, alice, bob, roomId }: Stage): Promise<void> {
  for (const text of ['How are you?', 'Lunch at noon?', 'Or at one?']) {
    await exchange(manager, roomId, alice, bob, text);
    await exchange(manager, roomId, bob, alice, `Re: ${text}`);
  }
  say('they have exchanged six more messages');
  const read = (limit: number, from?: string): Promise<MessagePage> =>
    manager.getRoomMessages({ roomId, userId: bob.userId, limit, from });
  const newest = await read(3);
  show('the newest 3', newest);
  const older = await read(3, newest.end);
  show('the next 3, from the cursor `end`', older);
  const oldest = await read(50, older.end);
  show('the rest', oldest);
  const sources = [newest, older, oldest].map(({ source }) => source);
  if (!sources.includes('mixed')) throw new Error(`expected a page from both sources, got ${sources.join(', ')}`);
}

async function exchange(manager: MatrixClientManager, roomId: string, from: Player, to: Player, text: string) {
  const { eventId } = await manager.sendMessage({ userId: from.userId, roomId, text });
  for (const { inbox } of [from, to]) await inbox.take('message', (event) => event.eventId === eventId);
}

function show(what: string, page: MessagePage): void {
  const bodies = page.messages.map(quote).join(', ');
  say(`${what}: ${bodies}`);
  say(`  source '${page.source}', ${page.end === undefined ? 'no `end`: this is the beginning' : 'and an `end`'}`);
}

export async function fallAsleep({ manager, clock, alice, bob }: Stage): Promise<void> {
  const stopped = new Promise<string>((resolve) => {
    manager.on('clientStopped', ({ userId, reason }) => {
      if (userId === bob.userId) resolve(reason);
    });
  });
  clock.skip(15_000);
  manager.touch(alice.userId);
  say('15 seconds pass; Alice is active (touch), Bob is not');
  clock.skip(10_000);
  say(`10 more seconds pass; clientStopped tells that Bob's client has stopped, reason '${await stopped}'`);
  say(`Bob has a client: ${manager.hasClient(bob.userId)}; Alice has one: ${manager.hasClient(alice.userId)}`);
}

export async function wakeUp({ manager, alice, bob, roomId }: Stage): Promise<void> {
  const missed = ['Bob?', 'Are you there?'];
  for (const text of missed) await manager.sendMessage({ userId: alice.userId, roomId, text });
  say(`Alice writes ${missed.length} messages while Bob sleeps`);
  await manager.startClient({ userId: bob.userId });
  for (const text of missed) {
    const event = await bob.inbox.take('message', (event) => event.text === text);
    expectProvenance(event, 'gap-fill');
    say(`Bob's callback: message ${quote(event)} (${event.provenance})`);
  }
  const { eventId } = await manager.sendMessage({ userId: bob.userId, roomId, text: 'Back again.' });
  const live = await alice.inbox.take('message', (event) => event.eventId === eventId);
  expectProvenance(live, 'live');
  say(`Alice's callback: message ${quote(live)} (${live.provenance})`);
}

function expectProvenance(event: ClientEvent, provenance: ClientEvent['provenance']): void {
  if (event.provenance !== provenance) {
    throw new Error(`expected an event to come as '${provenance}', and it came as '${event.provenance}'`);
  }
}

function quote({ text }: { readonly text?: string | undefined }): string {
  return JSON.stringify(text);
}
