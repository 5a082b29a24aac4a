import { expect, it, vi } from 'vitest';
import { MatrixClientManagerError } from '../../src/index.js';
import { UserEncryption } from '../../src/sdk/crypto/user-encryption.js';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { Recorder } from '../support/recorder.js';
import { Deployment, encryptedRoom } from './support/encrypted-chats.js';

it('listRooms() decrypts the last message only, and lists the room if the client stops meanwhile', async () => {
  const deployment = new Deployment(new FakeHomeserver());
  const manager = deployment.start();
  const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
  const inbox = new Recorder();
  await manager.startClient({ userId: alice });
  await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
  const roomId = await encryptedRoom(manager, [alice, bob]);
  for (const text of ['one', 'two', 'three']) await manager.sendMessage({ userId: alice, roomId, text });
  await inbox.message('three');
  await manager.stopClient(bob);
  await manager.startClient({ userId: bob }); // without the last messages
  const decrypt = vi.spyOn(UserEncryption.prototype, 'decrypt');
  expect((await manager.listRooms(bob)).rooms).toMatchObject([{ roomId, lastMessage: { text: 'three' } }]);
  expect(decrypt).toHaveBeenCalledTimes(1);
  decrypt.mockRejectedValue(new MatrixClientManagerError('ABORTED', 'the client stops'));
  const { rooms } = await manager.listRooms(bob);
  decrypt.mockRestore();
  expect(rooms).toMatchObject([{ roomId, lastMessage: { eventType: 'm.room.encrypted' } }]);
});
