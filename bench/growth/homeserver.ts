// The fake homeserver in a process of its own, so that its work is not measured: one room, and somebody who talks in it.
import { FakeHomeserver } from '../../src/testing/index.js';
import type { Connection } from './protocol.js';

const fake = new FakeHomeserver();
const speaker = fake.createUser({ username: 'speaker' });
const listener = fake.createUser({ username: 'listener' });
const roomId = fake.createRoom({ creator: speaker.userId, members: [listener.userId] });
const homeserverUrl = await fake.listen();
let sent = 0;

process.on('message', (count: number) => {
  for (let i = 0; i < count; i++) fake.sendMessage(roomId, speaker.userId, `message ${sent++} of a long conversation`);
  fake.clearRequests();
});
process.on('disconnect', () => process.exit());
process.send?.({ homeserverUrl, listener, roomId } satisfies Connection);
