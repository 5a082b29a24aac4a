import { delay } from '../../src/core/abort.js';
import { openGate } from '../../src/core/ports/request-gate.js';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import { HomeserverHttp } from '../../src/http/homeserver-http.js';
import { ServerVersions } from '../../src/http/server-versions.js';
import { Session } from '../../src/http/session.js';
import { SyncClient } from '../../src/sdk/sync-client.js';
import type { StoredCheckpoint } from '../../src/storage/checkpoint.js';
import { FakeHomeserver, ManualClock, MemoryLogger } from '../../src/testing/index.js';

/** A user on a fake homeserver with which another user shares a room, and what the user's clients are made of. */
export function userOnFake() {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  const [alice, bob] = [fake.createUser({ username: 'alice' }), fake.createUser({ username: 'bob' })];
  const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
  const connections = fetchTransport(fake.fetch).open();
  const http = new HomeserverHttp({ homeserverUrl: fake.baseUrl, connections, clock, requestTimeoutMs: 30_000 });
  const closed = new AbortController();
  const parts = {
    credentials: alice,
    session: new Session(alice.userId, alice),
    http,
    versions: new ServerVersions(http, clock, 30_000, closed.signal),
    gate: {
      ...openGate,
      up: async () => false,
      pause: (delayMs: number, signal: AbortSignal) => delay(clock, delayMs, signal, 'sync'),
    },
    answersOtherRequests: () => true,
  };
  const settings = {
    clock,
    logger: new MemoryLogger(),
    slidingSync: true,
    timelineLimit: 100,
    pollTimeoutMs: 30_000,
    startTimeoutMs: 60_000,
    requestTimeoutMs: 30_000,
    maxResponseBytes: 2 ** 28,
    gapFillTimeoutMs: 600_000,
  };
  return {
    clock,
    fake,
    userId: alice.userId,
    parts,
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
  { parts, settings }: ReturnType<typeof userOnFake>,
  stored: StoredCheckpoint,
  slidingSync: boolean,
): SyncClient {
  return new SyncClient({
    ...parts,
    ...settings,
    slidingSync,
    stored,
    timelineOf: () => undefined,
    onConnection: () => {},
    onPositionLost: () => {},
    onFatal: () => {},
  });
}
