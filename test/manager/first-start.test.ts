import { afterAll, expect, test } from 'vitest';
import { MatrixClientManager, memoryStorage } from '../../src/index.js';
import { FakeHomeserver } from '../../src/testing/index.js';

const fake = new FakeHomeserver();
const storage = memoryStorage();
const makeManager = (): MatrixClientManager =>
  new MatrixClientManager({ homeserverUrl: fake.baseUrl, fetch: fake.fetch, storage });
const manager = makeManager();
afterAll(async () => {
  await manager.shutdown();
  await fake[Symbol.asyncDispose]();
});

const isSdkLoaded = (): boolean => '__js_sdk_entrypoint' in globalThis;

// Alone in their file, since they are about a process in which nothing has loaded matrix-js-sdk.
test('a call that needs no client does not load matrix-js-sdk', async () => {
  await manager.checkHealth();
  expect(isSdkLoaded()).toBe(false);
});

test('starts share the load of matrix-js-sdk; a stop and a shutdown during it do what they always do', async () => {
  const users = ['alice', 'bob', 'carol'].map((username) => fake.createUser({ username }));
  for (const user of users) await storage.setCredentials(user);
  const [closed, stopped, started] = users.map(({ userId }) => userId) as [string, string, string];
  const closing = makeManager();
  const starts = [
    closing.startClient({ userId: closed }).catch((error: unknown) => error),
    manager.startClient({ userId: stopped }),
    manager.startClient({ userId: started }),
  ];
  expect(isSdkLoaded()).toBe(false); // it takes far longer than the steps up to here
  const ends = [closing.shutdown(), manager.stopClient(stopped)];
  expect(await Promise.all(starts)).toMatchObject([{ code: 'MANAGER_CLOSED' }, {}, { state: 'live' }]);
  await Promise.all(ends);
  expect(manager.listClients()).toMatchObject([{ userId: started, state: 'live' }]);
});
