import { expect, it } from 'vitest';
import type { MatrixClientManagerOptions } from '../../src/index.js';
import { backUpAtOnce } from '../encryption/support/conversations.js';
import type { Deployment } from '../encryption/support/encrypted-chats.js';
import { ForeignUser } from './support/foreign-user.js';
import { meet, rawEvent, received, withEachForeignClient } from './support/meeting.js';
import type { Meeting } from './support/meeting.js';

type Trust = 'all' | 'cross-signed' | 'verified';

/** Our users have cross-signing keys and a backup; `vault` has their recovery keys. */
const withIdentity =
  (vault: Map<string, string>, trust?: Trust) =>
  (deployment: Deployment): Partial<MatrixClientManagerOptions> => ({
    encryption: {
      path: deployment.cryptoPath,
      secret: new Uint8Array(32).fill(7),
      onRecoveryKey: (userId, key) => void vault.set(userId, key),
      recoveryKey: (userId) => vault.get(userId),
      ...(trust && { trust }),
    },
  });

async function untilCrossSigned({ manager }: Meeting, userId: string): Promise<void> {
  const status = async (): Promise<boolean> => (await manager.encryptionStatus(userId)).crossSigned;
  await expect.poll(status, { timeout: 30_000 }).toBe(true);
}

/** What our user knows of the sender of a decrypted event: the device, and how far it is trusted. */
const from = (deviceId: string, known: { signedByOwner?: boolean; ownerVerified?: boolean } = {}) => ({
  authenticated: true,
  deviceId,
  signedByOwner: false,
  ownerVerified: false,
  identityChanged: false,
  ...known,
});

const canRead = async ({ manager, alice, roomId, bob }: Meeting, eventId: string): Promise<boolean> => {
  // A room key arrives before the events that need it.
  await bob.first((event) => event.eventId === eventId && event.sender === alice);
  const event = await rawEvent(manager, alice, roomId, eventId);
  return bob.call('decrypt', { event }).then(
    () => true,
    () => false,
  );
};

withEachForeignClient((name) => {
  it.each([
    { trust: 'all', reads: true },
    { trust: 'cross-signed', reads: false },
    { trust: 'verified', reads: false },
  ] as const)(
    'is heard from a device that nobody signed, and reads ours under trust $trust: $reads',
    async ({ trust, reads }) => {
      const meeting = await meet(name, withIdentity(new Map(), trust));
      const { manager, alice, bob, inbox, roomId } = meeting;
      await untilCrossSigned(meeting, alice);
      const sent = await bob.say(roomId, 'from an unsigned device');
      const warning = trust === 'all' ? {} : { warning: 'untrusted-sender' };
      const event = await received(inbox, sent);
      expect(event).toMatchObject({ encrypted: true, content: { body: 'from an unsigned device' } });
      expect(event).toHaveProperty('decryption', { state: 'decrypted', sender: from(bob.deviceId), ...warning });
      const { eventId: answer, ...withheld } = await manager.sendMessage({
        userId: alice,
        roomId,
        text: 'for whom it may concern',
      });
      const device = { userId: bob.userId, deviceId: bob.deviceId, reason: 'm.unverified' };
      expect(withheld).toEqual(reads ? {} : { keysWithheld: [device], keysWithheldCount: 1 });
      if (reads) expect(await bob.readEvent(answer)).toMatchObject({ content: { body: 'for whom it may concern' } });
      else expect(await canRead(meeting, answer)).toBe(false);
    },
  );

  if (!name.startsWith('mautrix')) return; // matrix-nio has neither cross-signing nor key backups

  it('is trusted by ours once it has signed its device, and trusts ours', async () => {
    const meeting = await meet(name, withIdentity(new Map()));
    const { manager, alice, bob, inbox, roomId, say } = meeting;
    await untilCrossSigned(meeting, alice);
    await received(inbox, await bob.say(roomId, 'from an unsigned device'));
    await bob.call('crossSign', { password: bob.password });
    const known = () => manager.userVerification(alice, bob.userId);
    await expect.poll(known, { timeout: 30_000 }).toMatchObject({
      hasIdentity: true,
      verified: false,
      devices: [{ deviceId: bob.deviceId, crossSigned: true, verified: false }],
    });
    const first = await bob.readEvent(await say('to a signed device'));
    expect(first).toMatchObject({ content: { body: 'to a signed device' }, trust: 'cross-signed-tofu' });
    await bob.call('rotate', { roomId });
    expect(await received(inbox, await bob.say(roomId, 'from a signed device'))).toMatchObject({
      decryption: { state: 'decrypted', sender: from(bob.deviceId, { signedByOwner: true }) },
    });

    expect(await manager.verifyUser(alice, bob.userId)).toMatchObject({
      verified: true,
      devices: [{ verified: true }],
    });
    await bob.call('verify', { userId: alice });
    const { deviceId } = await manager.encryptionStatus(alice);
    expect(await bob.call('devices', { userId: alice })).toContainEqual({ deviceId, trust: 'cross-signed-verified' });
    const second = await bob.readEvent(await say('to a friend'));
    expect(second).toMatchObject({ content: { body: 'to a friend' }, trust: 'cross-signed-verified' });
    expect(await received(inbox, await bob.say(roomId, 'from a friend'))).toMatchObject({
      decryption: { sender: from(bob.deviceId, { signedByOwner: true, ownerVerified: true }) },
    });
  });

  it('becomes a device of our user with the recovery key, and restores our backup', async () => {
    const vault = new Map<string, string>();
    const meeting = await meet(name, withIdentity(vault, 'all'));
    const { deployment, manager, alice, bob, inbox, roomId, say } = meeting;
    await manager.withClient(alice, (client) => backUpAtOnce(client.getCrypto()));
    await untilCrossSigned(meeting, alice);
    const ours = await say('of Alice, to be kept');
    const theirs = await bob.say(roomId, 'of Bob, to be kept');
    await received(inbox, theirs);
    const remaining = async () => (await manager.encryptionStatus(alice)).backup.remaining;
    await expect.poll(remaining, { timeout: 30_000 }).toBe(0);

    const password = 'for another device';
    const { world, folder } = deployment;
    await world.admin.put(world.adminUserUrl(alice), { password, logout_devices: false });
    const phone = await ForeignUser.logIn(name, world, folder, { userId: alice, password });
    await phone.call('recover', { recoveryKey: vault.get(alice) });
    for (const [eventId, body] of [
      [ours, 'of Alice, to be kept'],
      [theirs, 'of Bob, to be kept'],
    ] as const) {
      const event = await rawEvent(manager, alice, roomId, eventId);
      expect(await phone.call('decrypt', { event })).toMatchObject({ content: { body } });
    }
    const signed = async () => (await manager.userVerification(alice, alice)).devices;
    const expected = expect.objectContaining({ deviceId: phone.deviceId, crossSigned: true });
    await expect.poll(signed, { timeout: 30_000 }).toContainEqual(expected);
  });

  it('gives its user to ours with the recovery key, and ours restores its backup', async () => {
    const vault = new Map<string, string>();
    const { manager, bob, inbox, roomId, say } = await meet(name, withIdentity(vault, 'all'));
    const { recoveryKey } = await bob.call<{ recoveryKey: string }>('crossSign', { password: bob.password });
    const ours = await say('of Alice, to be kept');
    await bob.readEvent(ours);
    const theirs = await bob.say(roomId, 'of Bob, to be kept');
    await received(inbox, theirs);
    expect(await bob.call('backUp', { recoveryKey })).toMatchObject({ count: 2 });
    await bob.kill();

    vault.set(bob.userId, recoveryKey);
    await manager.provisionUser({ username: bob.userId.slice(1, bob.userId.indexOf(':')) });
    await manager.startClient({ userId: bob.userId });
    const status = () => manager.encryptionStatus(bob.userId);
    await expect
      .poll(status, { timeout: 30_000 })
      .toMatchObject({ crossSigned: true, backup: { enabled: true, restored: { imported: 2, total: 2 } } });
    expect((await status()).deviceId).not.toBe(bob.deviceId);
    const { messages } = await manager.getRoomMessages({ userId: bob.userId, roomId });
    const bodyOf = (id: string): unknown => messages.find(({ eventId }) => eventId === id)?.content['body'];
    expect([bodyOf(ours), bodyOf(theirs)]).toEqual(['of Alice, to be kept', 'of Bob, to be kept']);
    expect(vault.get(bob.userId)).toBe(recoveryKey);
  });
});
