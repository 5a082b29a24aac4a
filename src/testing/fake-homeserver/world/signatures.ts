import { createPublicKey, verify } from 'node:crypto';
import { signedPart } from '../../canonical-json.js';
import type { JsonObject } from '../json.js';
import { objectOrEmpty } from '../json.js';

/** The DER prefix of a 32-byte Ed25519 public key. */
const DER_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** The public key of a cross-signing key, which is also its id. */
export function publicKeyOf(key: JsonObject): string {
  const [publicKey] = Object.values(objectOrEmpty(key['keys']));
  return typeof publicKey === 'string' ? publicKey : '';
}

/** Whether the object has a valid signature of the user under the key name `name`. */
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
    return false; // not a valid public key
  }
}
