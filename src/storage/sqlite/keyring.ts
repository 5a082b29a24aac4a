import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes, scryptSync } from 'node:crypto';

const SALT_BYTES = 32;
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CHECKSUM_BYTES = 32;
const BODY_BYTES = SALT_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES;
/** Key derivation for string secrets: 32 MiB and about 60 ms. Byte secrets are random and do not need it. */
const SCRYPT = { N: 2 ** 15, r: 8, p: 1, maxmem: 2 ** 26 };
const CONTEXT = 'matrix-client-manager sqlite keyring';

export type OpenedKeyring =
  | { readonly outcome: 'opened'; readonly dataKey: Buffer }
  | { readonly outcome: 'wrong-secret' | 'damaged' };

/**
 * Creates the file's random data key, and a keyring that contains it encrypted with the caller's secret:
 * `salt | nonce | encrypted key | tag | checksum`. The checksum distinguishes a wrong secret from a damaged keyring.
 */
export function createKeyring(secret: string | Uint8Array): { keyring: Buffer; dataKey: Buffer } {
  const dataKey = randomBytes(KEY_BYTES);
  const salt = randomBytes(SALT_BYTES);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', wrappingKey(secret, salt), nonce);
  cipher.setAAD(Buffer.from(CONTEXT));
  const body = Buffer.concat([salt, nonce, cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]);
  return { keyring: Buffer.concat([body, checksum(body)]), dataKey };
}

/** @param keyring - the stored value, which may be damaged */
export function openKeyring(keyring: unknown, secret: string | Uint8Array): OpenedKeyring {
  if (!(keyring instanceof Uint8Array)) return { outcome: 'damaged' };
  const body = Buffer.from(keyring.subarray(0, BODY_BYTES));
  const intact = keyring.length === BODY_BYTES + CHECKSUM_BYTES && checksum(body).equals(keyring.subarray(BODY_BYTES));
  if (!intact) return { outcome: 'damaged' };
  const salt = body.subarray(0, SALT_BYTES);
  const nonce = body.subarray(SALT_BYTES, SALT_BYTES + NONCE_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', wrappingKey(secret, salt), nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(CONTEXT));
  decipher.setAuthTag(body.subarray(-TAG_BYTES));
  const sealed = body.subarray(SALT_BYTES + NONCE_BYTES, -TAG_BYTES);
  try {
    return { outcome: 'opened', dataKey: Buffer.concat([decipher.update(sealed), decipher.final()]) };
  } catch {
    return { outcome: 'wrong-secret' }; // the checksum is correct, so the keyring is not damaged
  }
}

function wrappingKey(secret: string | Uint8Array, salt: Buffer): Buffer {
  if (typeof secret === 'string') return scryptSync(secret.normalize('NFC'), salt, KEY_BYTES, SCRYPT);
  return Buffer.from(hkdfSync('sha256', secret, salt, CONTEXT, KEY_BYTES));
}

function checksum(body: Buffer): Buffer {
  return createHash('sha256').update(body).digest();
}
