import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type { IdentityChange, MatrixClientManager } from '../../../src/index.js';
import type { TrustPolicy } from '../../../src/encryption/identity/identity-options.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { Recorder } from '../../support/recorder.js';
import { backUpAtOnce } from './conversations.js';
import { Deployment, encryptedRoom } from './encrypted-chats.js';

/** Alice and Bob in an encrypted room, by one manager; and a client of Bob's elsewhere, by a manager of its own. */
async function withClientElsewhere(expect: typeof vitestExpect, target: HomeserverTarget, trust: TrustPolicy) {
  const [here, there] = [new Deployment(target), new Deployment(target)];
  const vault = new Map<string, string>();
  /** Recovery keys that the application has, but does not give to the manager `here`. */
  const withheld = new Set<string>();
  const optionsOf = (deployment: Deployment) => ({
    encryption: {
      path: deployment.cryptoPath,
      secret: new Uint8Array(32).fill(7),
      trust,
      onRecoveryKey: (userId: string, key: string) => void vault.set(userId, key),
      recoveryKey: (userId: string) =>
        deployment === here && withheld.has(vault.get(userId) ?? '') ? null : vault.get(userId),
    },
  });
  const manager = here.start(optionsOf(here));
  const elsewhere = there.start(optionsOf(there));
  const [alice, bob] = [await here.user(manager), await here.user(manager)];
  const inbox = new Recorder();
  await manager.startClient({ userId: alice, callbacks: [inbox.callback] });
  const roomId = await encryptedRoom(manager, [alice, bob]);
  await manager.withClient(bob, (client) => backUpAtOnce(client.getCrypto()));
  const complete = { crossSigned: true, identityChanged: false, secretStorage: true, backup: { enabled: true } };
  const isComplete = async (where: MatrixClientManager, userId: string): Promise<void> =>
    expect.poll(() => where.encryptionStatus(userId), { timeout: 20_000 }).toMatchObject(complete);
  for (const userId of [alice, bob]) await isComplete(manager, userId);
  await elsewhere.provisionUser({ username: bob.slice(1, bob.indexOf(':')) });
  await isComplete(elsewhere, bob);
  const changes: IdentityChange[] = [];
  manager.on('identityChanged', (change) => void changes.push(change));
  const say = async (userId: string, text: string) => {
    await manager.sendMessage({ userId, roomId, text });
    await expect.poll(() => inbox.bodies(), { timeout: 20_000 }).toContain(text);
    return inbox.message(text);
  };
  const changesOf = (userId: string): IdentityChange[] => changes.filter((change) => change.userId === userId);
  return { manager, elsewhere, here, optionsOf, alice, bob, roomId, vault, withheld, changesOf, isComplete, say };
}

/** What happens to a running client when another client of the user resets the identity. */
export function identityResets(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  it.each(['all', 'cross-signed', 'verified'] as const)(
    'from elsewhere is noticed, reported once, and healed without a restart (trust: %s)',
    async (trust) => {
      const world = await withClientElsewhere(expect, await target(), trust);
      const { manager, elsewhere, alice, bob, changesOf, isComplete, say } = world;
      await manager.verifyUser(alice, bob);
      await manager.verifyUser(bob, alice);
      await say(bob, 'before');
      await elsewhere.resetIdentity(bob);
      await expect.poll(() => changesOf(bob), { timeout: 15_000 }).toHaveLength(1);
      await expect.poll(() => changesOf(alice), { timeout: 15_000 }).toHaveLength(1);
      expect(changesOf(bob)).toEqual([{ userId: bob, changedUserId: bob, wasVerified: true }]);
      expect(changesOf(alice)).toEqual([{ userId: alice, changedUserId: bob, wasVerified: true }]);
      await isComplete(manager, bob);
      const [status, other] = [await manager.encryptionStatus(bob), await elsewhere.encryptionStatus(bob)];
      expect(status.backup.version).toBe(other.backup.version);
      const known = async () => (await manager.userVerification(alice, bob)).devices.map((one) => one.crossSigned);
      await expect.poll(known, { timeout: 15_000 }).toEqual([true, true]);
      await manager.verifyUser(bob, alice);
      expect(await say(bob, 'after')).toMatchObject({
        decryption: { state: 'decrypted', sender: { signedByOwner: true, identityChanged: true } },
      });
      if (trust === 'cross-signed') {
        const unverified = manager.sendMessage({ userId: alice, roomId: world.roomId, text: 'to whom?' });
        await expect(unverified).rejects.toMatchObject({ code: 'ENCRYPTION_FAILED' });
      }
      await manager.verifyUser(alice, bob);
      expect(await say(alice, 'to the new identity')).toMatchObject({ decryption: { state: 'decrypted' } });
      const seen = await manager.getRoomMessages({ userId: bob, roomId: world.roomId, limit: 1 });
      expect(seen.messages[0]).toMatchObject({ decryption: { state: 'decrypted' } });
      expect([changesOf(bob), changesOf(alice)].map(({ length }) => length)).toEqual([1, 1]);
    },
  );

  it('from elsewhere shows in the status while the recovery key is missing, and is not reported again by a restart', async () => {
    const world = await withClientElsewhere(expect, await target(), 'cross-signed');
    const { manager, elsewhere, here, optionsOf, alice, bob, roomId, vault, withheld, changesOf } = world;
    const status = () => manager.encryptionStatus(bob);
    await elsewhere.resetIdentity(bob);
    withheld.add(vault.get(bob) ?? '');
    await expect.poll(status, { timeout: 20_000 }).toMatchObject({
      crossSigned: false,
      identityChanged: true,
      recoveryKeyNeeded: true,
    });
    expect(changesOf(bob)).toHaveLength(1);
    await expect(manager.sendMessage({ userId: bob, roomId, text: 'not yet' })).rejects.toMatchObject({
      code: 'ENCRYPTION_UNVERIFIED',
    });
    await manager.shutdown();
    withheld.clear();
    const next = here.start(optionsOf(here));
    const again: IdentityChange[] = [];
    next.on('identityChanged', (change) => void again.push(change));
    await next.startClient({ userId: alice });
    await world.isComplete(next, bob);
    expect(again).toEqual([]);
  });

  it('from elsewhere while the client is stopped is reported by its next start, once', async () => {
    const { manager, elsewhere, bob, changesOf, isComplete } = await withClientElsewhere(expect, await target(), 'all');
    await manager.stopClient(bob);
    await elsewhere.resetIdentity(bob);
    await isComplete(manager, bob);
    await expect.poll(() => changesOf(bob), { timeout: 15_000 }).toHaveLength(1);
    await manager.stopClient(bob);
    await isComplete(manager, bob);
    expect(changesOf(bob)).toEqual([{ userId: bob, changedUserId: bob, wasVerified: true }]);
  });

  it('by the client itself is not reported for the user, and for others it is', async () => {
    const { manager, alice, bob, changesOf } = await withClientElsewhere(expect, await target(), 'all');
    await manager.resetIdentity(bob);
    await expect.poll(() => changesOf(alice), { timeout: 15_000 }).toHaveLength(1);
    expect(changesOf(alice)).toEqual([{ userId: alice, changedUserId: bob, wasVerified: false }]);
    expect(changesOf(bob)).toEqual([]);
    expect(await manager.encryptionStatus(bob)).toMatchObject({ crossSigned: true, identityChanged: false });
  });
}
