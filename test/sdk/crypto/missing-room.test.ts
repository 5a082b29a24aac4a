import { expect, it } from 'vitest';
import { RoomNotReceived } from '../../../src/core/room-not-received.js';
import { EncryptedRooms } from '../../../src/encryption/encrypted-rooms.js';
import { UserEncryption } from '../../../src/sdk/crypto/user-encryption.js';
import { memoryStorage } from '../../../src/storage/memory-storage.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';
import { openCryptoStore } from '../../encryption/support/crypto-store.js';
import { clientWith } from '../../encryption/support/encrypted-client.js';
import { testContext } from '../../support/context.js';
import { rejection } from '../../support/rejection.js';

it('a message for a room that the client does not receive is given up after 30 seconds, with the reason', async () => {
  const clock = new ManualClock();
  const context = testContext({ clock, startTimeoutMs: 600_000 });
  const store = await openCryptoStore({ path: ':memory:', secret: new Uint8Array(32).fill(7) });
  const none = (): undefined => undefined;
  const identity = {
    crossSigning: false,
    keyBackup: false,
    trust: 'all',
    receive: 'warn',
    onRecoveryKey: none,
    recoveryKey: none,
  } as const;
  const encryption = await UserEncryption.load(context, store, {
    userId: '@a:x',
    deviceId: 'D',
    identity,
    encryptedRooms: new EncryptedRooms(context, memoryStorage()),
    authenticate: () => Promise.reject(new Error('not needed')),
    onKeysWithheld: none,
    onIdentityChanged: () => {},
    onRequest: undefined,
    onRequested: () => {},
  });
  const client = clientWith();
  await encryption.open(client, false, () => {});
  expect(encryption.hasRoom('!gone:x')).toBe(false);
  expect(await encryption.knowsEncryption('!gone:x')).toBe(false);
  const message = { roomId: '!gone:x', type: 'm.room.message', content: {}, userId: '@a:x', txnId: 't' };
  let error: { code: string; message: string } | undefined;
  const ended = rejection(encryption.encrypt(message)).then((reason) => (error = reason));
  await clock.advance(29_999);
  expect(error).toBe(undefined);
  await clock.advance(1);
  await ended;
  expect(error).toBeInstanceOf(RoomNotReceived);
  expect(error).toMatchObject({ code: 'ENCRYPTION_FAILED', userId: '@a:x', roomId: '!gone:x' });
  expect(error?.message).toContain('did not receive the room within 30000 ms');
  await encryption.shutDown();
  client.stopClient();
  await encryption.close();
  await store.close();
});
