import { expect, it, onTestFinished } from 'vitest';
import { MatrixClientManager, memoryStorage } from '../../src/index.js';
import { World } from '../../src/testing/contracts/homeserver/world.js';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { rejection } from '../support/rejection.js';

it('a message in the clear reads the storage once, just before it is sent, for what another process has seen', async () => {
  const homeserver = new FakeHomeserver();
  const { baseUrl, admin, fetch } = homeserver;
  const storage = memoryStorage();
  const getEncryptedRooms = storage.getEncryptedRooms?.bind(storage);
  let reads = 0;
  const counted = (roomIds: readonly string[]) => {
    reads++;
    return getEncryptedRooms?.(roomIds) ?? Promise.reject(new Error('not supported'));
  };
  const manager = new MatrixClientManager({
    homeserverUrl: baseUrl,
    admin,
    fetch,
    storage: Object.assign(storage, { getEncryptedRooms: counted }),
  });
  onTestFinished(() => manager.shutdown());
  const { userId } = await manager.provisionUser({ username: new World(homeserver).newUsername() });
  await manager.startClient({ userId });
  const roomId = await manager.withClient(userId, async (client) => (await client.createRoom({})).room_id);
  const send = (text: string) => manager.sendMessage({ userId, roomId, text });
  await send('asks the homeserver');
  await expect
    .poll(async () => {
      reads = 0;
      await send('asks only the storage');
      return reads;
    })
    .toBe(1);
  await storage.setEncryptedRooms?.(new Map([[roomId, '{}']])); // by another process
  expect(await rejection(send('in the clear'))).toMatchObject({ code: 'ENCRYPTION_UNAVAILABLE' });
});
