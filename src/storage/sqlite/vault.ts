import type { KeyObject } from 'node:crypto';
import { createHmac, createSecretKey } from 'node:crypto';
import { seal, unseal } from './aes-gcm.js';

const INDEX_BYTES = 16;
const USER_KEYS_KEPT = 10_000;

/** The place of a record in the file. Encryption is bound to it, so that a moved record cannot be decrypted. */
export interface RecordPlace {
  readonly userId: string;
  readonly kind: string;
  readonly index: Uint8Array;
}

/**
 * Encrypts ("seals") records. Each user has a separate key, derived from the data key of the file, so that no key gets
 * near GCM's limit of 2^32 random nonces.
 */
export class Vault {
  readonly #dataKey: KeyObject;
  readonly #userKeys = new Map<string, KeyObject>();

  constructor(dataKey: Uint8Array) {
    this.#dataKey = createSecretKey(dataKey);
  }

  /** A keyed hash of `key` (a room id, an event id), by which a record is found without storing the key in plain text. */
  index(userId: string, key: string): Buffer {
    return this.#derive('index', userId, key).subarray(0, INDEX_BYTES);
  }

  seal(place: RecordPlace, content: string | Uint8Array): Buffer {
    return seal(this.#userKey(place.userId), textOf(place), content);
  }

  /** The decrypted text, or undefined if the record or its place was changed. */
  unseal(place: RecordPlace, sealed: unknown): string | undefined {
    return this.unsealBytes(place, sealed)?.toString('utf8');
  }

  unsealBytes(place: RecordPlace, sealed: unknown): Buffer | undefined {
    return sealed instanceof Uint8Array ? unseal(this.#userKey(place.userId), textOf(place), sealed) : undefined;
  }

  #userKey(userId: string): KeyObject {
    let key = this.#userKeys.get(userId);
    if (!key) {
      if (this.#userKeys.size >= USER_KEYS_KEPT) this.#userKeys.clear();
      key = createSecretKey(this.#derive('user', userId));
      this.#userKeys.set(userId, key);
    }
    return key;
  }

  #derive(...purpose: string[]): Buffer {
    return createHmac('sha256', this.#dataKey).update(JSON.stringify(purpose)).digest();
  }
}

function textOf({ userId, kind, index }: RecordPlace): string {
  return JSON.stringify([userId, kind, Buffer.from(index).toString('base64')]);
}
