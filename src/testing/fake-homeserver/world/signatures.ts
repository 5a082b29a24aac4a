import { createPublicKey, verify } from 'node:crypto';
import { signedPart } from '../../canonical-json.js';
import type { JsonObject } from '../json.js';
import { objectOrEmpty } from '../json.js';

/** What stands before the 32 bytes of an Ed25519 key in DER. */
const DER_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** The public key that a cross-signing key consists of, by which it goes as well. */
export function publicKeyOf(key: JsonObject): string {
  const [publicKey] = Object.values(objectOrEmpty(key['keys']));
  return typeof publicKey === 'string' ? publicKey : '';
}

/** Whether the user has signed the object with that key, which goes by `name`. */
export function isSignedBy(object: JsonObject, userId: string, publicKey: string, name = publicKey): boolean {
  const signature = objectOrEmpty(objectOrEmpty(object['signatures'])[userId])[`ed25519:${name}`];
  if (typeof signature !== 'string') return false;
  try {
    const key = Buffer.concat([DER_PREFIX, Buffer.from(publicKey, 'base64')]);
    const signed = Buffer.from(signedPart(object));
    return verify(
      null,
      signed,
      createPublicKey({ key, format: 'der', type: 'spki' }),
      Buffer.from(signature, 'base64'),
    );
  } catch {
    return false; // no key
  }
}
