import { afterAll, expect, test } from 'vitest';
import { MatrixClientManager, memoryStorage } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';

const clock = new ManualClock();
const fake = new FakeHomeserver({ clock });
const storage = memoryStorage();
const manager = new MatrixClientManager({ homeserverUrl: fake.baseUrl, fetch: fake.fetch, clock, storage });
afterAll(async () => {
  await manager.shutdown();
  await fake[Symbol.asyncDispose]();
});

// Alone in its file, since it is about a process in which nothing has loaded matrix-js-sdk.
test('advance() lets a first start settle, with all that has to be loaded for it', async () => {
  expect('__js_sdk_entrypoint' in globalThis).toBe(false);
  const alice = fake.createUser({ username: 'alice' });
  await storage.setCredentials(alice);
  const starting = manager.startClient({ userId: alice.userId });
  await clock.advance(1_000);
  expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'live' });
  await starting;
});
