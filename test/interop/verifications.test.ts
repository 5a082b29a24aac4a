import { describe, expect, it } from 'vitest';
import type { VerificationRequest } from '../../src/index.js';
import { meet, withEachForeignClient } from './support/meeting.js';

interface Verification {
  readonly emoji: readonly string[];
  readonly verified: boolean;
  readonly code: string;
  readonly reason: string;
}

/** mautrix-go compares emoji only with an application that shows them. */
const isNio = (name: string): boolean => name.includes('nio');

withEachForeignClient((name) => {
  describe('a comparison of emoji that it starts', () => {
    it('is cancelled at once, and it gets the reason', async () => {
      const { manager, alice, bob } = await meet(name);
      const { deviceId } = await manager.encryptionStatus(alice);
      const transactionId = await bob.call('startVerification', { userId: alice, deviceId });
      const state = () => bob.call<Verification>('verification', { transactionId });
      await expect.poll(state, { timeout: 15_000 }).toMatchObject({ code: 'm.user' });
      expect((await state()).reason).toContain('No person is there');
    });

    // nio 0.26 cancels with m.mismatched_commitment; nio 0.25 accepts the commitment of the same library.
    if (name.includes('vodozemac')) return;

    it('verifies both, when our application compares the emoji', async () => {
      const asked = Promise.withResolvers<VerificationRequest>();
      const { manager, alice, bob } = await meet(name, ({ cryptoPath: path }) => ({
        encryption: { path, secret: new Uint8Array(32).fill(7), onVerificationRequest: asked.resolve },
      }));
      const { deviceId } = await manager.encryptionStatus(alice);
      const transactionId = await bob.call('startVerification', { userId: alice, deviceId });
      const request = await asked.promise;
      expect(request).toMatchObject({ transactionId, otherUserId: bob.userId, otherDeviceId: bob.deviceId });
      const emoji = (await request.emoji()).map(({ symbol }) => symbol);
      const state = () => bob.call<Verification>('verification', { transactionId });
      await expect.poll(async () => (await state()).emoji, { timeout: 15_000 }).toEqual(emoji);
      await Promise.all([bob.call('confirmVerification', { transactionId }), request.confirm()]);
      await expect.poll(state, { timeout: 15_000 }).toMatchObject({ verified: true });
      const { devices } = await manager.userVerification(alice, bob.userId);
      expect(devices).toMatchObject([{ deviceId: bob.deviceId, verified: true }]);
    });
  });
}, isNio);
