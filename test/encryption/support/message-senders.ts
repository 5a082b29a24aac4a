import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { Recorder } from '../../support/recorder.js';
import { backUpAtOnce } from './conversations.js';
import { Deployment, encryptedRoom } from './encrypted-chats.js';
import { ciphertextOf, optionsFor, post } from './hostile-homeserver.js';

/** What events and pages say of the device that has sent a message. */
export function messageSenders(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  it('is the device, whether it is signed, and whether its owner is verified or has changed', async () => {
    const deployment = new Deployment(await target());
    const manager = deployment.start(optionsFor(deployment, { trust: 'cross-signed' }));
    const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
    const inbox = new Recorder();
    await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
    const roomId = await encryptedRoom(manager, [alice, bob]);
    const { deviceId } = await manager.encryptionStatus(alice);
    const signed = { authenticated: true, deviceId, signedByOwner: true, ownerVerified: false, identityChanged: false };
    const say = async (userId: string, text: string) => {
      await manager.sendMessage({ userId, roomId, text });
      return inbox.message(text);
    };
    expect(await say(alice, 'one')).toMatchObject({ decryption: { state: 'decrypted', sender: signed } });
    await manager.verifyUser(bob, alice);
    const verified = { state: 'decrypted', sender: { ...signed, ownerVerified: true } };
    expect(await say(alice, 'two, in the same session')).toMatchObject({ decryption: verified });
    const { messages } = await manager.getRoomMessages({ roomId, userId: bob, limit: 1 });
    expect(messages[0]?.decryption).toEqual(verified);
    const own = await manager.encryptionStatus(bob);
    expect(await say(bob, 'my own')).toMatchObject({
      decryption: { sender: { ...signed, deviceId: own.deviceId, ownerVerified: true } },
    });
    await manager.resetIdentity(alice);
    await expect.poll(async () => (await manager.userVerification(bob, alice)).identityChanged).toBe(true);
    expect(await say(alice, 'three, with other keys')).toMatchObject({
      decryption: {
        state: 'decrypted',
        sender: { authenticated: true, deviceId, ownerVerified: false, identityChanged: true },
        warning: 'untrusted-sender',
      },
    });
  });

  it.each([
    ['all', { state: 'decrypted' }, undefined],
    ['warn', { state: 'decrypted' }, 'untrusted-sender'],
    ['refuse', { state: 'failed', reason: 'untrusted-sender' }, undefined],
  ] as const)('that is not signed: receive %s', async (receive, expected, warning) => {
    const homeserver = await target();
    const deployment = new Deployment(homeserver);
    const others = new Deployment(homeserver);
    const manager = deployment.start(optionsFor(deployment, { trust: 'cross-signed', receive }));
    const unsigned = others.start(optionsFor(others, { trust: 'all' }));
    const [bob, carol] = [await deployment.user(manager), await others.user(unsigned)];
    const inbox = new Recorder();
    await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
    const roomId = await encryptedRoom(unsigned, [carol, bob], manager);
    const { eventId } = await unsigned.sendMessage({ userId: carol, roomId, text: 'unsigned' });
    const event = await inbox.first((one) => 'eventId' in one && one.eventId === eventId);
    const result = 'decryption' in event ? event.decryption : undefined;
    expect(result).toMatchObject(expected);
    if (result?.state === 'decrypted') {
      const { deviceId } = await unsigned.encryptionStatus(carol);
      expect(result.sender).toEqual({
        authenticated: true,
        deviceId,
        signedByOwner: false,
        ownerVerified: false,
        identityChanged: false,
      });
      expect(result.warning).toBe(warning);
    } else expect(JSON.stringify(event)).not.toContain('unsigned"');
    const { messages } = await manager.getRoomMessages({ roomId, userId: bob });
    expect(messages.find((one) => one.eventId === eventId)?.decryption).toEqual(result);
    await manager.sendMessage({ userId: bob, roomId, text: 'own messages are read' });
    await inbox.message('own messages are read');
  });

  it.each([
    [
      'warn',
      {
        state: 'decrypted',
        sender: {
          authenticated: false,
          deviceId: undefined,
          signedByOwner: false,
          ownerVerified: false,
          identityChanged: false,
        },
        warning: 'untrusted-sender',
      },
    ],
    ['refuse', { state: 'failed', reason: 'untrusted-sender' }],
  ] as const)(
    'is not known where the key is from a backup, and a copy hides nothing: receive %s',
    async (receive, expected) => {
      const deployment = new Deployment(await target());
      const options = optionsFor(deployment, { trust: 'cross-signed', receive });
      const manager = deployment.start(options);
      const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
      const mallory = await deployment.user(manager);
      const roomId = await encryptedRoom(manager, [alice, bob, mallory]);
      await manager.withClient(bob, (client) => backUpAtOnce(client.getCrypto()));
      const { eventId } = await manager.sendMessage({ userId: alice, roomId, text: 'to be kept' });
      const copyId = await post(manager, mallory, roomId, await ciphertextOf(manager, alice, roomId, eventId));
      const ofBob = async (id = eventId) => {
        const { messages } = await restarted.getRoomMessages({ roomId, userId: bob });
        return messages.find((one) => one.eventId === id)?.decryption;
      };
      let restarted = manager;
      await expect
        .poll(() => ofBob(), { timeout: 15_000 })
        .toMatchObject({ state: 'decrypted', sender: { authenticated: true } });
      // The copy may not have been synced yet.
      const mismatch = { state: 'failed', reason: 'sender-mismatch' };
      await expect.poll(() => ofBob(copyId), { timeout: 15_000 }).toEqual(mismatch);
      const remaining = async () => (await manager.encryptionStatus(bob)).backup.remaining;
      await expect.poll(remaining, { timeout: 15_000 }).toBe(0);
      await manager.shutdown();
      for (const file of readdirSync(deployment.folder)) {
        if (file.startsWith('keys.sqlite')) rmSync(join(deployment.folder, file));
      }
      restarted = deployment.start(options);
      await expect.poll(() => ofBob(), { timeout: 15_000 }).toEqual(expected);
      // Nothing tells who has sent it.
      await expect.poll(() => ofBob(copyId), { timeout: 15_000 }).toEqual(expected);
    },
  );
}
