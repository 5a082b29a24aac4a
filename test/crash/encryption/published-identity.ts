import { createPublicKey, verify } from 'node:crypto';
import { signedPart } from '../../../src/testing/canonical-json.js';
import type { TestUser } from '../../../src/testing/contracts/homeserver/test-user.js';

interface Signed {
  readonly keys: Readonly<Record<string, string>>;
  readonly signatures?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

interface KeysAnswer {
  readonly device_keys: Readonly<Record<string, Readonly<Record<string, Signed>>>>;
  readonly master_keys?: Readonly<Record<string, Signed>>;
  readonly self_signing_keys?: Readonly<Record<string, Signed>>;
  readonly user_signing_keys?: Readonly<Record<string, Signed>>;
}

/** A user's cross-signing keys as the homeserver shows them, and the devices that they sign. */
export interface PublishedIdentity {
  readonly master: string | undefined;
  /** By device. */
  readonly signedDevices: readonly string[];
  /** Devices with a valid signature of their own on the master key. */
  readonly signers: readonly string[];
  readonly violations: readonly string[];
}

/** Asks the homeserver, and checks all signatures: another user's client believes no others. */
export async function publishedIdentity({ http, userId }: TestUser): Promise<PublishedIdentity> {
  const { body } = await http.post<KeysAnswer>('/_matrix/client/v3/keys/query', { device_keys: { [userId]: [] } });
  const devices = Object.entries(body.device_keys[userId] ?? {});
  const [master, selfSigning, userSigning] = [body.master_keys, body.self_signing_keys, body.user_signing_keys].map(
    (keys) => keys?.[userId],
  );
  if (!master || !selfSigning || !userSigning) {
    return { master: undefined, signedDevices: [], signers: [], violations: [`${userId} has no cross-signing keys`] };
  }
  const [masterKey, selfSigningKey] = [keyOf(master), keyOf(selfSigning)];
  const signedDevices = devices.filter(([, device]) => isSignedBy(device, userId, selfSigningKey, selfSigningKey));
  const signers = devices.filter(([id, { keys }]) => isSignedBy(master, userId, id, keys[`ed25519:${id}`] ?? ''));
  const unsigned = [selfSigning, userSigning].filter((key) => !isSignedBy(key, userId, masterKey, masterKey));
  return {
    master: masterKey,
    signedDevices: signedDevices.map(([id]) => id),
    signers: signers.map(([id]) => id),
    violations: unsigned.map(() => `${userId} has a cross-signing key that the master key has not signed`),
  };
}

function keyOf({ keys }: Signed): string {
  return Object.values(keys)[0] ?? '';
}

/** @see https://spec.matrix.org/v1.16/appendices/#checking-for-a-signature */
function isSignedBy(signed: Signed, userId: string, keyId: string, publicKey: string): boolean {
  const signature = signed.signatures?.[userId]?.[`ed25519:${keyId}`];
  if (signature === undefined) return false;
  const x = Buffer.from(publicKey, 'base64').toString('base64url');
  const key = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x } });
  return verify(null, Buffer.from(signedPart({ ...signed })), key, Buffer.from(signature, 'base64'));
}
