import { signedPart } from '../../canonical-json.js';
import type { JsonObject } from '../json.js';
import { isJsonObject, objectOrEmpty } from '../json.js';
import { MatrixError, notFound } from '../matrix-error.js';
import type { DeviceKeys } from './device-keys.js';
import { isSignedBy, publicKeyOf } from './signatures.js';

/**
 * Adds a user's signature to the key of `userId` that `keyId` names: one of their own devices or their master key, or
 * another user's master key. Throws Synapse's error if the signature is not accepted.
 */
export function signKey(keys: DeviceKeys, signerId: string, userId: string, keyId: string, signed: JsonObject): void {
  const names =
    signerId === userId
      ? ownSigners(keys, userId, keyId, signed)
      : [otherSigner(keys, signerId, userId, keyId, signed)];
  const signatures = objectOrEmpty(objectOrEmpty(signed['signatures'])[signerId]);
  keys.addSignatures(signerId, userId, keyId, Object.fromEntries(names.map((name) => [name, signatures[name]])));
}

/** Adds a signature to an own key: the self-signing key signs devices, and devices sign the master key. */
function ownSigners(keys: DeviceKeys, userId: string, keyId: string, signed: JsonObject): string[] {
  const [master, selfSigning] = [wanted(keys, userId, 'master', userId), wanted(keys, userId, 'self_signing', userId)];
  if (!keys.hasDevices(userId)) throw notFound('No device keys found');
  const by = objectOrEmpty(signed['signatures'])[userId];
  if (!isJsonObject(by)) throw invalidSignature();
  if (keyId !== publicKeyOf(master)) {
    const key = publicKeyOf(selfSigning);
    if (!(`ed25519:${key}` in by)) throw invalidSignature();
    const device = keys.identity(userId, keyId);
    if (!device) throw notFound('Unknown device');
    assertSigned(signed, device, userId, key);
    return [`ed25519:${key}`];
  }
  for (const name of Object.keys(by)) {
    const deviceId = name.slice(name.indexOf(':') + 1);
    const key = objectOrEmpty(keys.identity(userId, deviceId)?.['keys'])[name];
    if (typeof key !== 'string') throw invalidSignature();
    assertSigned(signed, master, userId, key, deviceId);
  }
  return Object.keys(by);
}

/** Adds a signature of the user-signing key to another user's master key. */
function otherSigner(keys: DeviceKeys, signerId: string, userId: string, keyId: string, signed: JsonObject): string {
  const key = publicKeyOf(wanted(keys, signerId, 'user_signing', signerId));
  const master = wanted(keys, userId, 'master', signerId);
  if (keyId !== publicKeyOf(master)) throw notFound('Unknown device');
  assertSigned(signed, master, signerId, key);
  return `ed25519:${key}`;
}

function wanted(
  keys: DeviceKeys,
  userId: string,
  purpose: 'master' | 'self_signing' | 'user_signing',
  viewerId: string,
): JsonObject {
  const key = keys.crossSigningKey(userId, purpose, viewerId);
  if (!key) throw notFound(`No ${purpose} key found for ${userId}`);
  return key;
}

function assertSigned(
  signed: JsonObject,
  stored: JsonObject,
  signerId: string,
  publicKey: string,
  name?: string,
): void {
  if (signedPart(signed) !== signedPart(stored)) throw new MatrixError(400, 'M_UNKNOWN', 'Key does not match');
  if (!isSignedBy(signed, signerId, publicKey, name)) throw invalidSignature();
}

function invalidSignature(): MatrixError {
  return new MatrixError(400, 'M_INVALID_SIGNATURE', 'Invalid signature');
}
