import { randomUUID } from 'node:crypto';
import { ownProperty } from '../../core/own-property.js';
import { isObject } from '../../core/raw-event.js';
import { KEYS_CLAIM } from './crypto-backend.js';
import type { CryptoBackend } from './crypto-backend.js';
import { byDevice } from './key-claims.js';

const NO_KEYS = JSON.stringify({ one_time_keys: {}, failures: {} });

/**
 * Passes responses of `/keys/claim` to the crypto library. It rejects a response as a whole for one malformed key in it,
 * and each user's keys come from their own homeserver: one of them could keep the client from sending in all its rooms.
 */
export class KeyClaimResponses {
  readonly #mark: CryptoBackend['olmMachine']['markRequestAsSent'];

  /** Wraps `markRequestAsSent()`. */
  constructor(olmMachine: CryptoBackend['olmMachine']) {
    const mark = olmMachine.markRequestAsSent.bind(olmMachine);
    this.#mark = mark;
    olmMachine.markRequestAsSent = (id, type, response) =>
      type === KEYS_CLAIM ? this.#receive(id, response) : mark(id, type, response);
  }

  /** Makes the library create a session with the device. Rejects if the key is malformed. */
  async makeSession(userId: string, deviceId: string, key: unknown): Promise<void> {
    const response = JSON.stringify({ one_time_keys: byDevice([[userId, deviceId, key]]), failures: {} });
    await this.#mark(randomUUID(), KEYS_CLAIM, response); // throws at once on a malformed key
  }

  async #receive(requestId: string, response: string): Promise<unknown> {
    try {
      return await this.#mark(requestId, KEYS_CLAIM, response);
    } catch {
      const users = ownProperty(JSON.parse(response), 'one_time_keys');
      for (const [userId, devices] of entriesOf(users)) {
        for (const [deviceId, key] of entriesOf(devices)) await this.makeSession(userId, deviceId, key).catch(() => {});
      }
      // The library now waits before it claims a key again of the devices that still have no session.
      return this.#mark(requestId, KEYS_CLAIM, NO_KEYS);
    }
  }
}

function entriesOf(value: unknown): [string, unknown][] {
  return isObject(value) ? Object.entries(value) : [];
}
