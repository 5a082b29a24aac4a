import { expect, it } from 'vitest';
import { openCryptoStore } from './support/crypto-store.js';
import { FakeHomeserver } from '../../src/testing/index.js';
import { Deployment } from './support/encrypted-chats.js';

const secret = new Uint8Array(32).fill(7);

it('forgetUser deletes the keys of the user, and of nobody else', async () => {
  const fake = new FakeHomeserver();
  const { baseUrl, serverName, fetch, admin } = fake;
  const deployment = new Deployment({ baseUrl, serverName, fetch, admin });
  const manager = deployment.start();
  const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
  for (const userId of [alice, bob]) await manager.startClient({ userId });
  await manager.forgetUser(alice);
  // A new life on a new device, whose keys are there until the next time.
  await manager.provisionUser({ username: alice.slice(1, alice.indexOf(':')) });
  await manager.startClient({ userId: alice });
  await manager.admin.deactivateUser(alice);
  await manager.shutdown();
  const store = await openCryptoStore({ path: deployment.cryptoPath, secret });
  expect(await store.keys.devicesOf(alice)).toEqual([]);
  expect(await store.keys.devicesOf(bob)).toHaveLength(1);
  await store.close();
});
