import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { describe, expect, it } from 'vitest';
import type { TrustPolicy } from '../../../src/encryption/identity/identity-options.js';
import { SHIELD_CODES } from '../../../src/sdk/crypto/crypto-backend.js';
import type { CryptoBackend, DecryptedRoomEvent } from '../../../src/sdk/crypto/crypto-backend.js';
import { SenderChecks } from '../../../src/sdk/crypto/sender-checks.js';

interface KnownOwner {
  isVerified?: boolean;
  hasVerificationViolation?: boolean;
  identityNeedsUserApproval?: boolean;
  isDeviceTrusted?: boolean;
}

const free = (): void => {};
const nothing = { authenticated: false, deviceId: undefined, signedByOwner: false, ownerVerified: false };

function setUp(trust: TrustPolicy = 'cross-signed', known: KnownOwner = {}) {
  const listeners = new Map<string, (argument: never) => void>();
  let lookups = 0;
  const crypto = {
    on: (name: string, listener: (argument: never) => void) => void listeners.set(name, listener),
    olmMachine: {
      getIdentity: async () => {
        lookups++;
        return {
          free,
          isVerified: () => known.isVerified ?? false,
          hasVerificationViolation: () => known.hasVerificationViolation ?? false,
          identityNeedsUserApproval: () => known.identityNeedsUserApproval ?? false,
        };
      },
      getDevice: async () => ({ free, isCrossSigningTrusted: () => known.isDeviceTrusted ?? false }),
    },
  };
  const checks = new SenderChecks(crypto as unknown as CryptoBackend, trust, { userId: '@bob:x', deviceId: 'BOBS' });
  type Code = keyof typeof SHIELD_CODES | undefined;
  const check = (code: Code, { userId = '@alice:x', deviceId = 'D' } = {}) => {
    const shieldState = (strict: boolean) => {
      if (code === undefined || (code === 'unverifiedIdentity' && !strict)) return { code: undefined, free };
      const { unverifiedIdentity, [code]: number } = { ...SHIELD_CODES };
      return { code: strict && code === 'unsignedDevice' ? unverifiedIdentity : number, free };
    };
    const event = { sender: userId, senderDevice: { toString: () => deviceId, free }, shieldState };
    return checks.check(userId, event as unknown as DecryptedRoomEvent);
  };
  return { check, known, listeners, lookups: () => lookups };
}

describe('SenderChecks', () => {
  it.each([
    ['unsignedDevice', {}, { signedByOwner: false, ownerVerified: false, identityChanged: false }, false],
    ['unverifiedIdentity', {}, { signedByOwner: true, ownerVerified: false, identityChanged: false }, true],
    [undefined, { isVerified: true }, { signedByOwner: true, ownerVerified: true, identityChanged: false }, true],
    ['verificationViolation', {}, { signedByOwner: true, ownerVerified: false, identityChanged: true }, false],
    // What the session had no part in:
    [
      'unverifiedIdentity',
      { isVerified: true, isDeviceTrusted: true },
      { signedByOwner: true, ownerVerified: true, identityChanged: false },
      true,
    ],
    [
      'unverifiedIdentity',
      { isVerified: true, isDeviceTrusted: false }, // the device was signed with other keys than those verified
      { signedByOwner: true, ownerVerified: false, identityChanged: false },
      true,
    ],
    [
      undefined,
      { isVerified: false, hasVerificationViolation: true },
      { signedByOwner: true, ownerVerified: false, identityChanged: true },
      false,
    ],
    [
      'unverifiedIdentity',
      { identityNeedsUserApproval: true },
      { signedByOwner: true, ownerVerified: false, identityChanged: true },
      true,
    ],
  ] as const)('knows of a sender with %s and %j that they are %j', async (code, known, sender, isTrusted) => {
    const { check } = setUp('cross-signed', known);
    expect(await check(code)).toEqual({
      isMismatch: false,
      sender: { authenticated: true, deviceId: 'D', ...sender },
      isTrusted,
      dependsOnDeviceLists: code === 'unsignedDevice',
    });
  });

  it.each(['authenticityNotGuaranteed', 'unknownDevice'] as const)('invents nothing with %s', async (code) => {
    const verified = { isVerified: true, isDeviceTrusted: true };
    for (const trust of ['cross-signed', 'verified', 'all'] as const) {
      const { check, lookups } = setUp(trust, verified);
      const isTrusted = trust === 'all';
      expect(await check(code)).toEqual({
        isMismatch: false,
        sender: { ...nothing, identityChanged: false },
        isTrusted,
        dependsOnDeviceLists: code === 'unknownDevice',
      });
      expect(await check(code, { userId: '@bob:x', deviceId: 'BOBS' })).toMatchObject({ isTrusted });
      expect(lookups()).toBe(0);
    }
  });

  it('knows a message of another user', async () => {
    const { check } = setUp('all', { isVerified: true });
    expect(await check('mismatchedSender')).toMatchObject({ isMismatch: true, sender: nothing });
  });

  it.each([
    ['all', 'unsignedDevice', true],
    ['cross-signed', 'unsignedDevice', false],
    ['cross-signed', 'unverifiedIdentity', true],
    ['verified', 'unverifiedIdentity', false],
  ] as const)('allows under trust %s a device with %s: %s', async (trust, code, isTrusted) => {
    expect(await setUp(trust).check(code)).toMatchObject({ isTrusted });
  });

  it.each(['cross-signed', 'verified'] as const)(
    'allows the own device under trust %s, signed or not',
    async (trust) => {
      const { check } = setUp(trust);
      expect(await check('unsignedDevice', { userId: '@bob:x', deviceId: 'BOBS' })).toMatchObject({ isTrusted: true });
      expect(await check('unsignedDevice', { userId: '@alice:x', deviceId: 'BOBS' })).toMatchObject({
        isTrusted: false,
      });
    },
  );

  it('looks a device up once, until the keys or devices of its owner change', async () => {
    const { check, known, listeners, lookups } = setUp();
    for (let n = 0; n < 3; n++) await check('unverifiedIdentity');
    expect(lookups()).toBe(1);
    await check('unverifiedIdentity', { userId: '@carol:x' });
    Object.assign(known, { isVerified: true, isDeviceTrusted: true });
    listeners.get(CryptoEvent.UserTrustStatusChanged)?.('@alice:x' as never);
    expect(await check('unverifiedIdentity')).toMatchObject({ sender: { ownerVerified: true } });
    expect(lookups()).toBe(3);
    listeners.get(CryptoEvent.DevicesUpdated)?.(['@alice:x'] as never);
    await check('unverifiedIdentity');
    await check('unverifiedIdentity', { userId: '@carol:x' });
    expect(lookups()).toBe(4);
  });
});
