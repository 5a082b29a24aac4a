import { createHash, hkdfSync, randomBytes, scryptSync } from 'node:crypto';
import { seal, SEAL_BYTES, unseal } from './aes-gcm.js';

const SALT_BYTES = 32;
const KEY_BYTES = 32;
const CHECKSUM_BYTES = 32;
const BODY_BYTES = SALT_BYTES + KEY_BYTES + SEAL_BYTES;
/** Key derivation for string secrets: 32 MiB and about 60 ms. Byte secrets are random and do not need it. */
const SCRYPT = { N: 2 ** 15, r: 8, p: 1, maxmem: 2 ** 26 };
const CONTEXT = 'matrix-client-manager sqlite keyring';

export type OpenedKeyring =
  | { readonly outcome: 'opened'; readonly dataKey: Buffer }
  | { readonly outcome: 'wrong-secret' | 'damaged' };

/**
 * Creates the file's random data key, and a keyring that contains it encrypted with the caller's secret:
 * `salt | sealed key | checksum`. The checksum distinguishes a wrong secret from a damaged keyring.
 */
export function createKeyring(secret: string | Uint8Array): { keyring: Buffer; dataKey: Buffer } {
  const dataKey = randomBytes(KEY_BYTES);
  const salt = randomBytes(SALT_BYTES);
  const body = Buffer.concat([salt, seal(wrappingKey(secret, salt), CONTEXT, dataKey)]);
  return { keyring: Buffer.concat([body, checksum(body)]), dataKey };
}

/** @param keyring - the stored value, which may be damaged */
export function openKeyring(keyring: unknown, secret: string | Uint8Array): OpenedKeyring {
  if (!(keyring instanceof Uint8Array)) return { outcome: 'damaged' };
  const body = Buffer.from(keyring.subarray(0, BODY_BYTES));
  const intact = keyring.length === BODY_BYTES + CHECKSUM_BYTES && checksum(body).equals(keyring.subarray(BODY_BYTES));
  if (!intact) return { outcome: 'damaged' };
  const salt = body.subarray(0, SALT_BYTES);
  const dataKey = unseal(wrappingKey(secret, salt), CONTEXT, body.subarray(SALT_BYTES));
  // The checksum is correct, so the keyring is not damaged.
  return dataKey ? { outcome: 'opened', dataKey } : { outcome: 'wrong-secret' };
}

function wrappingKey(secret: string | Uint8Array, salt: Buffer): Buffer {
  if (typeof secret === 'string') return scryptSync(secret.normalize('NFC'), salt, KEY_BYTES, SCRYPT);
  return Buffer.from(hkdfSync('sha256', secret, salt, CONTEXT, KEY_BYTES));
}

function checksum(body: Buffer): Buffer {
  return createHash('sha256').update(body).digest();
}
