import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import * as v from 'valibot';
import { MatrixClientManagerError } from '../core/errors.js';

const ALGORITHM = 'aes-256-ctr';
const KEY_BYTES = 32;
const IV_BYTES = 16;
/** Random; the other half of the initial counter is zero, so that no file makes it overflow. */
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

/** Where an encrypted file is, and what it takes to read it. */
export type EncryptedFile = v.InferOutput<typeof encryptedFileSchema>;

/** A file on its way through encryption; `description()` is there when all of it has passed. */
export interface FileEncryption {
  encrypt(clear: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array>;
  description(url: string): EncryptedFile & { key: { key_ops: string[]; ext: true } };
}

/** Encrypts one file with a key of its own. Its size stays the same. */
export function encryptFile(): FileEncryption {
  const key = randomBytes(KEY_BYTES);
  const iv = Buffer.concat([randomBytes(NONCE_BYTES), Buffer.alloc(IV_BYTES - NONCE_BYTES)]);
  const cipher = createCipheriv(ALGORITHM, key, iv);
  const hash = createHash('sha256');
  return {
    async *encrypt(clear) {
      for await (const chunk of clear) {
        const sealed = cipher.update(chunk);
        hash.update(sealed);
        yield sealed;
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
 * Decrypts as it flows. Throws `FILE_DAMAGED` at the end where the hash is not that of the description: what has
 * been yielded by then was altered, and is not to be used.
 */
export async function* decryptFile(
  sealed: AsyncIterable<Uint8Array>,
  { key, iv, hashes }: EncryptedFile,
): AsyncGenerator<Uint8Array> {
  const decipher = createDecipheriv(ALGORITHM, fromBase64(key.k), fromBase64(iv));
  const hash = createHash('sha256');
  for await (const chunk of sealed) {
    hash.update(chunk);
    yield decipher.update(chunk);
  }
  if (!hash.digest().equals(fromBase64(hashes.sha256))) {
    throw damagedFile('what came is not what was sent (SHA-256)');
  }
}

export function damagedFile(why: string): MatrixClientManagerError {
  return new MatrixClientManagerError('FILE_DAMAGED', `the file cannot be used: ${why}`);
}

/** So many bytes as text, in either alphabet; a decoder would pass over what is none. */
function base64(bytes: number) {
  const isThat = (text: string): boolean => /^[\w+/-]+={0,2}$/.test(text) && fromBase64(text).length === bytes;
  return v.pipe(v.string(), v.check(isThat, `expected ${bytes} bytes in base64`));
}

function fromBase64(text: string): Buffer {
  return Buffer.from(text, 'base64'); // takes base64url as well
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
