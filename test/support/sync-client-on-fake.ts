import { EncryptedRooms } from '../../src/encryption/encrypted-rooms.js';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import { Session } from '../../src/http/session.js';
import { SyncClient } from '../../src/sdk/sync-client.js';
import type { SyncUser } from '../../src/sdk/sync-client.js';
import type { SyncSettings } from '../../src/sync/sync-context.js';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import type { StoredCheckpoint } from '../../src/storage/checkpoint.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';
import { testHomeserver } from './context.js';

/** A user on a fake homeserver with which another user shares a room, and what the user's clients are made of. */
export function userOnFake() {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  const [alice, bob] = [fake.createUser({ username: 'alice' }), fake.createUser({ username: 'bob' })];
  const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
  const connections = fetchTransport(fake.fetch).open();
  const closed = new AbortController();
  const context = testHomeserver({ homeserverUrl: fake.baseUrl, connections, clock, signal: closed.signal });
  const settings = {
    slidingSync: true,
    timelineLimit: 100,
    pollTimeoutMs: 30_000,
    gapFillTimeoutMs: 600_000,
    encryptedRooms: new EncryptedRooms(context, memoryStorage()),
  };
  return {
    clock,
    fake,
    userId: alice.userId,
    credentials: alice,
    session: new Session(alice.userId, alice),
    context,
    settings,
    /** The other user sends a message to the room. */
    say: (text: string): void => void fake.sendMessage(roomId, bob.userId, text),
    [Symbol.asyncDispose]: async (): Promise<void> => {
      closed.abort();
      await fake.close();
    },
  };
}

/** The client of such a user that polls. */
export function syncClientOf(
  { context, credentials, session, settings }: ReturnType<typeof userOnFake>,
  stored: StoredCheckpoint,
  more: Partial<SyncSettings & SyncUser> = {},
): SyncClient {
  const user = { credentials, session, stored, encryption: undefined, onReachableChanged: () => {}, onFatal: () => {} };
  return new SyncClient(context, { ...settings, ...more }, { ...user, ...more });
}
