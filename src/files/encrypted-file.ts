import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import * as v from 'valibot';
import { MatrixClientManagerError } from '../core/errors.js';

const ALGORITHM = 'aes-256-ctr';
const KEY_BYTES = 32;
const IV_BYTES = 16;
/** Random first half of the counter block. The other half starts at zero, so that the counter cannot overflow. */
const NONCE_BYTES = 8;
const HASH_BYTES = 32;

/** @see https://spec.matrix.org/v1.16/client-server-api/#extensions-to-mroommessage-msgtypes */
export const encryptedFileSchema = v.object({
  url: v.string(),
  v: v.literal('v2'),
  key: v.object({ kty: v.literal('oct'), alg: v.literal('A256CTR'), k: base64(KEY_BYTES) }),
  iv: base64(IV_BYTES),
  hashes: v.object({ sha256: base64(HASH_BYTES) }),
});

/** The `file` of a message: URI, key, initial counter block and hash of an encrypted file. */
export type EncryptedFile = v.InferOutput<typeof encryptedFileSchema>;

/** Encryption of one file. Call `description()` after `encrypt()` has yielded the last chunk. */
export interface FileEncryption {
  encrypt(plaintext: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array>;
  description(url: string): EncryptedFile & { key: { key_ops: string[]; ext: true } };
}

/** Encrypts one file with a new key. The size does not change. */
export function encryptFile(): FileEncryption {
  const key = randomBytes(KEY_BYTES);
  const iv = Buffer.concat([randomBytes(NONCE_BYTES), Buffer.alloc(IV_BYTES - NONCE_BYTES)]);
  const cipher = createCipheriv(ALGORITHM, key, iv);
  const hash = createHash('sha256');
  return {
    async *encrypt(plaintext) {
      for await (const chunk of plaintext) {
        const encrypted = cipher.update(chunk);
        hash.update(encrypted);
        yield encrypted;
      }
    },
    description: (url) => ({
      url,
      v: 'v2',
      key: { kty: 'oct', key_ops: ['encrypt', 'decrypt'], alg: 'A256CTR', k: key.toString('base64url'), ext: true },
      iv: unpadded(iv),
      hashes: { sha256: unpadded(hash.digest()) },
    }),
  };
}

/**
 * Decrypts a stream. Throws `FILE_DAMAGED` after the last chunk if the hash differs from that of the description. The
 * chunks yielded before were altered, and must not be used.
 */
export async function* decryptFile(
  encrypted: AsyncIterable<Uint8Array>,
  { key, iv, hashes }: EncryptedFile,
): AsyncGenerator<Uint8Array> {
  const decipher = createDecipheriv(ALGORITHM, fromBase64(key.k), fromBase64(iv));
  const hash = createHash('sha256');
  for await (const chunk of encrypted) {
    hash.update(chunk);
    yield decipher.update(chunk);
  }
  if (!hash.digest().equals(fromBase64(hashes.sha256))) {
    throw damagedFile('its SHA-256 hash differs from that in the message');
  }
}

export function damagedFile(why: string): MatrixClientManagerError {
  return new MatrixClientManagerError('FILE_DAMAGED', `the file cannot be used: ${why}`);
}

/** Base64 or base64url of exactly `bytes` bytes. The pattern is needed because `Buffer` ignores invalid characters. */
function base64(bytes: number) {
  const isValid = (text: string): boolean => /^[\w+/-]+={0,2}$/.test(text) && fromBase64(text).length === bytes;
  return v.pipe(v.string(), v.check(isValid, `expected ${bytes} bytes in base64`));
}

function fromBase64(text: string): Buffer {
  return Buffer.from(text, 'base64'); // also decodes base64url
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
