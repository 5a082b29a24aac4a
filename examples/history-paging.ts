/** Reading a room back page by page, with edits and redactions applied, with and without a live client. */
import { MatrixClientManager } from 'matrix-client-manager';
import type { RoomMessage } from 'matrix-client-manager';
import { openHomeserver } from './homeserver.js';

await using homeserver = await openHomeserver();
await using manager = new MatrixClientManager({
  homeserverUrl: homeserver.url,
  admin: homeserver.admin,
  timelineLimit: 4, // so that a short history does not fit in memory; the default is 100
});

const { userId } = await manager.provisionUser({ username: homeserver.username('alice') });
const { roomId } = await manager.rooms.create({ userId, name: 'History' });

// A page of a live client shows what the client has received; the redaction below is the last thing that will come.
const caughtUp = new Promise<void>((resolve) => {
  manager.addCallback(userId, () => resolve(), { types: ['redaction'] });
});

const ids: string[] = [];
for (let n = 1; n <= 7; n++) ids.push(await send(`message ${n}`));
const [first, second] = ids as [string, string];
await send('message one', first);
await manager.redact({ userId, roomId, eventId: second, reason: 'a mistake' });
await caughtUp;

console.log('Page by page, newest first:');
await readBack();

console.log('The same without a client, from the homeserver alone:');
await manager.stopClient(userId);
await readBack();

console.log('Other kinds of events, by `types`:');
const { messages } = await manager.getRoomMessages({ roomId, userId, types: ['membership', 'm.room.name'] });
for (const { eventType, content } of messages)
  console.log(`  ${eventType} ${String(content['membership'] ?? content['name'])}`);

async function send(text: string, edits?: string): Promise<string> {
  const { eventId } = await manager.sendMessage({ userId, roomId, text, edits });
  return eventId;
}

async function readBack(): Promise<void> {
  let from: string | undefined;
  do {
    const page = await manager.getRoomMessages({ roomId, userId, limit: 3, from });
    console.log(`  [${page.source}] ${page.messages.map(show).join(' | ')}`);
    from = page.end; // opaque, and good on any process of yours; absent at the beginning of the room
  } while (from !== undefined);
}

function show({ text, edited, redacted }: RoomMessage): string {
  if (redacted) return `(taken back: ${redacted.reason ?? 'no reason'})`;
  return `${text}${edited ? ' (edited)' : ''}`;
}
