/** Two users, two live clients, one message: the shortest way to see an event reach a callback. */
import { MatrixClientManager } from 'matrix-client-manager';
import { openHomeserver } from './homeserver.js';

await using homeserver = await openHomeserver(); // embedded, or yours: see homeserver.ts

await using manager = new MatrixClientManager({ homeserverUrl: homeserver.url, admin: homeserver.admin });

// An account and a session for each; asked again, the same ones come back.
const alice = await manager.provisionUser({ username: homeserver.username('alice'), displayName: 'Alice' });
const bob = await manager.provisionUser({ username: homeserver.username('bob'), displayName: 'Bob' });

// A live client for Bob, who is told of every message.
const received = Promise.withResolvers<void>();
await manager.startClient({
  userId: bob.userId,
  callbacks: [
    (event) => {
      if (event.type !== 'message') return;
      console.log(`${event.sender} says: ${event.text}`);
      received.resolve();
    },
  ],
});

// A room. Alice needs no client for that.
const { roomId } = await manager.rooms.create({ userId: alice.userId, name: 'Greetings', invite: [bob.userId] });
await manager.rooms.join({ userId: bob.userId, roomId });

await manager.sendMessage({ userId: alice.userId, roomId, text: 'Hello Bob!' });
await received.promise;

const { messages } = await manager.getRoomMessages({ roomId, userId: bob.userId, limit: 10 });
console.log(`The room's history has ${messages.length} message`);
// `await using` ends with manager.shutdown(): both clients stop, and nothing keeps the process alive.
