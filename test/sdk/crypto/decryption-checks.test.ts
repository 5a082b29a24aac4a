import { MatrixEvent } from 'matrix-js-sdk';
import { describe, expect, it } from 'vitest';
import type { DecryptionSender } from '../../../src/core/decryption.js';
import type { CryptoBackend } from '../../../src/sdk/crypto/crypto-backend.js';
import { DecryptionChecks } from '../../../src/sdk/crypto/decryption-checks.js';
import type { SenderCheck } from '../../../src/sdk/crypto/sender-checks.js';
import type { ReceivePolicy } from '../../../src/encryption/identity/identity-options.js';

const sender: DecryptionSender = {
  authenticated: true,
  deviceId: 'D',
  signedByOwner: false,
  ownerVerified: false,
  identityChanged: false,
};
const ciphertext = Buffer.from([3, 0x08, 4, 0x12, 1, 1, ...Array.from({ length: 72 }, () => 0)]).toString('base64');

function encrypted(
  eventId = '$1',
  content: object = { session_id: 's', ciphertext },
  senderId = '@alice:x',
): MatrixEvent {
  return new MatrixEvent({
    event_id: eventId,
    room_id: '!r:x',
    sender: senderId,
    type: 'm.room.encrypted',
    content: { ...content },
  });
}

function setUp({ isMismatch = false, isTrusted = true }: Partial<SenderCheck> = {}, receive: ReceivePolicy = 'warn') {
  const taken = new Map<string, string>();
  const claims: unknown[] = [];
  const crypto = {
    olmMachine: { decryptRoomEvent: async () => ({ event: 'clear' }) },
    eventDecryptor: {
      attemptEventDecryption: async (): Promise<object> => {
        const { event } = await crypto.olmMachine.decryptRoomEvent();
        return { clearEvent: event };
      },
    },
  };
  const checks = new DecryptionChecks(crypto as unknown as CryptoBackend, {
    senders: { check: async () => ({ isMismatch, isTrusted, sender, dependsOnDeviceLists: false }) },
    received: {
      isReplay: async (place, eventId) => {
        claims.push([place, eventId]);
        const owner = taken.get(JSON.stringify(place)) ?? eventId;
        taken.set(JSON.stringify(place), owner);
        return owner !== eventId;
      },
    },
    receive,
  });
  const { eventDecryptor } = crypto as unknown as CryptoBackend;
  const decrypt = (event: MatrixEvent): Promise<object> => eventDecryptor.attemptEventDecryption(event);
  return { checks, claims, decrypt };
}

describe('DecryptionChecks', () => {
  it('gives the SDK what was decrypted, and keeps what is known of the sender', async () => {
    const { checks, claims, decrypt } = setUp();
    const event = encrypted();
    expect(await decrypt(event)).toEqual({ clearEvent: 'clear' });
    expect([checks.refusalOf(event), checks.resultOf(event)]).toEqual([undefined, { state: 'decrypted', sender }]);
    expect(claims).toEqual([[{ roomId: '!r:x', senderId: '@alice:x', sessionId: 's', index: 4 }, '$1']]);
    expect(checks.resultOf(encrypted())).toBe(undefined);
  });

  it.each([
    [{ isMismatch: true }, 'warn', 'sender-mismatch'],
    [{ isMismatch: true }, 'all', 'sender-mismatch'],
    [{ isTrusted: false }, 'refuse', 'untrusted-sender'],
  ] as const)('refuses %j with receive %s as %s', async (check, receive, reason) => {
    const { checks, decrypt } = setUp(check, receive);
    const event = encrypted();
    await expect(decrypt(event)).rejects.toThrow(reason);
    expect([checks.refusalOf(event), checks.resultOf(event)]).toEqual([reason, undefined]);
  });

  it.each([
    ['warn', 'untrusted-sender'],
    ['all', undefined],
  ] as const)('delivers what is not trusted with receive %s, with the warning %s', async (receive, warning) => {
    const { checks, decrypt } = setUp({ isTrusted: false }, receive);
    const event = encrypted();
    await decrypt(event);
    expect(checks.resultOf(event)).toEqual({ state: 'decrypted', sender, ...(warning && { warning }) });
  });

  it('refuses a copy under another id, and not the event itself a second time', async () => {
    const { checks, decrypt } = setUp();
    await decrypt(encrypted('$1'));
    await decrypt(encrypted('$1'));
    const copy = encrypted('$2');
    await expect(decrypt(copy)).rejects.toThrow('replayed');
    expect(checks.refusalOf(copy)).toBe('replayed');
  });

  it('lets no message of another sender take the place of the real one', async () => {
    const { claims, decrypt } = setUp({ isMismatch: true });
    await expect(decrypt(encrypted('$forged'))).rejects.toThrow('sender-mismatch');
    expect(claims).toEqual([]);
  });

  it('gives the real message although another member posted it as theirs, with a key of an unknown owner', async () => {
    const { checks, decrypt } = setUp();
    const [copy, real, again] = [
      encrypted('$copy', undefined, '@mallory:x'),
      encrypted('$real'),
      encrypted('$again', undefined, '@mallory:x'),
    ];
    await decrypt(copy);
    await decrypt(real);
    await expect(decrypt(again)).rejects.toThrow('replayed');
    expect([copy, real, again].map((event) => checks.refusalOf(event))).toEqual([undefined, undefined, 'replayed']);
  });

  it.each([
    ['without a session', { ciphertext }],
    ['whose index cannot be read', { session_id: 's', ciphertext: 'AAAA' }],
  ])('refuses an event %s', async (_name, content) => {
    const { checks, decrypt } = setUp();
    const event = encrypted('$1', content);
    await expect(decrypt(event)).rejects.toThrow('unreadable');
    expect(checks.refusalOf(event)).toBe('unreadable');
  });

  it('keeps apart what is decrypted at the same time', async () => {
    const { checks, decrypt } = setUp();
    const events = ['$1', '$2', '$3'].map((id) => encrypted(id));
    await Promise.allSettled(events.map(decrypt));
    expect(events.map((event) => checks.refusalOf(event))).toEqual([undefined, 'replayed', 'replayed']);
  });
});
