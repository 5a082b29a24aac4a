import { randomUUID } from 'node:crypto';
import { ownProperty } from '../../core/own-property.js';
import { isObject } from '../../core/raw-event.js';
import { KEYS_CLAIM, KEYS_QUERY } from './crypto-backend.js';
import type { CryptoBackend } from './crypto-backend.js';
import { byDevice } from './key-claims.js';

const NO_KEYS = JSON.stringify({ one_time_keys: {}, failures: {} });

/**
 * Passes responses of `/keys/claim` and `/keys/query` to the crypto library. It rejects a response as a whole for one
 * malformed part of it, and each user's part comes from their own homeserver: one of them could keep the client from
 * sending in all its rooms.
 */
export class KeyResponses {
  readonly #mark: CryptoBackend['olmMachine']['markRequestAsSent'];

  /** Wraps `markRequestAsSent()`. */
  constructor(olmMachine: CryptoBackend['olmMachine']) {
    const mark = olmMachine.markRequestAsSent.bind(olmMachine);
    this.#mark = mark;
    olmMachine.markRequestAsSent = (id, type, response) => {
      if (type === KEYS_CLAIM) return this.#receiveKeys(id, response);
      return type === KEYS_QUERY ? this.#receiveDevices(id, response) : mark(id, type, response);
    };
  }

  /** Makes the library create a session with the device. Rejects if the key is malformed. */
  async makeSession(userId: string, deviceId: string, key: unknown): Promise<void> {
    const response = JSON.stringify({ one_time_keys: byDevice([[userId, deviceId, key]]), failures: {} });
    await this.#mark(randomUUID(), KEYS_CLAIM, response); // throws at once on a malformed key
  }

  async #receiveKeys(requestId: string, response: string): Promise<unknown> {
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

  async #receiveDevices(requestId: string, response: string): Promise<unknown> {
    try {
      return await this.#mark(requestId, KEYS_QUERY, response);
    } catch {
      const body: unknown = JSON.parse(response);
      const users = entriesOf(ownProperty(body, 'device_keys')).filter(([, devices]) => isObject(devices));
      const valid = { ...(isObject(body) && body), device_keys: Object.fromEntries(users) };
      return this.#mark(requestId, KEYS_QUERY, JSON.stringify(valid));
    }
  }
}

function entriesOf(value: unknown): [string, unknown][] {
  return isObject(value) ? Object.entries(value) : [];
}
