/** Several callbacks per user: by kind, by room, asynchronous, failing; and what becomes of events that fail for good. */
import { MatrixClientManager } from 'matrix-client-manager';
import type { ClientEvent } from 'matrix-client-manager';
import { setTimeout as pause } from 'node:timers/promises';
import { openHomeserver } from './homeserver.js';

await using homeserver = await openHomeserver();
await using manager = new MatrixClientManager({
  homeserverUrl: homeserver.url,
  admin: homeserver.admin,
  callbackAttempts: 3,
  callbackRetryDelayMs: 50, // the default is a second
});

const alice = await manager.provisionUser({ username: homeserver.username('alice') });
const bob = await manager.provisionUser({ username: homeserver.username('bob') });
const { roomId } = await manager.rooms.create({
  userId: alice.userId,
  name: 'Callbacks',
  invite: [bob.userId],
});

// Callbacks may be registered before the client starts; they stay when it stops.
// 1. Events of every room, but neither typing nor receipts. `backlog` also delivers what is older than Bob's first sync,
//    here the invitation.
manager.addCallback(bob.userId, (event) => console.log(`[log]   ${describe(event)}`), {
  types: ['message', 'reaction', 'membership', 'invite'],
  backlog: true,
});

// 2. One room only, asynchronous: it is awaited before it gets the next event of that room.
manager.addCallback(
  bob.userId,
  async (event) => {
    await pause(20); // a database, a push service
    console.log(`[store] ${describe(event)}`);
  },
  { types: ['m.room.message'], rooms: [roomId] },
);

// 3. One that fails. The others are not affected; it gets the event again, up to callbackAttempts times.
manager.addCallback(
  bob.userId,
  (event) => {
    if (event.type === 'message' && event.text === 'poison') throw new Error('cannot handle this');
  },
  { types: ['message'] },
);
manager.on('callbackError', ({ attempt, error }) => {
  console.log(`[error] attempt ${attempt} failed: ${error instanceof Error ? error.message : String(error)}`);
});
const dead = new Promise<void>((resolve) => {
  manager.on('deadLetter', ({ event }) => {
    console.log(`[dead]  given up: ${describe(event)}`);
    resolve();
  });
});

// 4. One that removes itself when it has seen enough; removeCallback() would do as well.
const joined = new Promise<void>((resolve) => {
  const off = manager.addCallback(bob.userId, (event) => {
    if (event.type !== 'membership' || event.stateKey !== bob.userId) return;
    off();
    resolve();
  });
});

await manager.startClient({ userId: bob.userId });
await manager.rooms.join({ userId: bob.userId, roomId });
await joined;

const { eventId } = await manager.sendMessage({ userId: alice.userId, roomId, text: 'Hello' });
await manager.sendReaction({ userId: alice.userId, roomId, eventId, key: '👋' });
await manager.sendMessage({ userId: alice.userId, roomId, text: 'poison' });
await dead;

for (const { event, error, attempts } of await manager.deadLetters(bob.userId)) {
  console.log(`Dead letter after ${attempts} attempts (${error.message}): ${describe(event)}`);
}

function describe(event: ClientEvent): string {
  switch (event.type) {
    case 'message':
      return `message ${JSON.stringify(event.text)} from ${event.sender} (${event.provenance})`;
    case 'reaction':
      return `reaction ${event.key} from ${event.sender}`;
    case 'membership':
      return `membership ${event.stateKey} -> ${event.membership}`;
    case 'invite':
      return `invitation to "${event.roomName}" from ${event.sender}`;
    default:
      return event.type;
  }
}
