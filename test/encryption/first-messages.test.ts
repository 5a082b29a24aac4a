import { expect, it } from 'vitest';
import { path, RawHttp } from '../../src/testing/contracts/homeserver/raw-http.js';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { Recorder } from '../support/recorder.js';
import { Deployment, encryptedRoom } from './support/encrypted-chats.js';

it('A new user reads what signed devices send from the moment they are live', async () => {
  const deployment = new Deployment(new FakeHomeserver());
  const keys = new Map<string, string>();
  const manager = deployment.start({
    encryption: {
      path: deployment.cryptoPath,
      secret: new Uint8Array(32).fill(7),
      decryptionTimeoutMs: 300,
      onRecoveryKey: (userId, recoveryKey) => void keys.set(userId, recoveryKey),
      recoveryKey: (userId) => keys.get(userId),
    },
  });
  const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
  const roomId = await encryptedRoom(manager, [alice]);
  await manager.withClient(alice, (client) => client.invite(roomId, bob));
  const { accessToken } = await manager.provisionUser({ username: bob.slice(1, bob.indexOf(':')) });
  await new RawHttp(deployment.world.target, accessToken).post(path`/_matrix/client/v3/rooms/${roomId}/join`);
  await manager.withClient(alice, async (client) => {
    while (client.getRoom(roomId)?.getJoinedMemberCount() !== 2) {
      await new Promise((resolve) => client.once('sync' as never, resolve as never));
    }
  });
  const inbox = new Recorder();
  await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
  const { eventId } = await manager.sendMessage({ userId: alice, roomId, text: 'hello' });
  const event = await inbox.first((event) => 'eventId' in event && event.eventId === eventId);
  expect(event).toMatchObject({ decryption: { state: 'decrypted' }, content: { body: 'hello' } });
});
