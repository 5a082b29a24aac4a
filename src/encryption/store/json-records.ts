import type { DeviceStore } from './device-store.js';

/**
 * Records in JSON beside the keys of a device, under the names of records of received messages. A failure of the store
 * stops the client, and is reported by the store. So it needs no other answer here: nothing rejects.
 */
export class JsonRecords {
  readonly #store: Pick<DeviceStore, 'readReceived' | 'writeReceived'>;

  constructor(store: Pick<DeviceStore, 'readReceived' | 'writeReceived'>) {
    this.#store = store;
  }

  /** Undefined if there is no record, or if it cannot be read. */
  async read(name: string): Promise<unknown> {
    try {
      const bytes = await this.#store.readReceived(name);
      return bytes && (JSON.parse(Buffer.from(bytes).toString()) as unknown);
    } catch {
      return undefined;
    }
  }

  async write(name: string, record: unknown): Promise<void> {
    await this.#store.writeReceived(name, Buffer.from(JSON.stringify(record))).catch(() => {});
  }
}
