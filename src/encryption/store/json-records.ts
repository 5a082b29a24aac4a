import type { DeviceStore } from './device-store.js';

/**
 * Side records of a device in JSON. A failure of the store
 * stops the client, and is reported by the store. So it needs no other answer here: nothing rejects.
 */
export class JsonRecords {
  readonly #store: Pick<DeviceStore, 'readSideRecord' | 'writeSideRecord'>;

  constructor(store: Pick<DeviceStore, 'readSideRecord' | 'writeSideRecord'>) {
    this.#store = store;
  }

  /** Undefined if there is no record, or if it cannot be read. */
  async read(name: string): Promise<unknown> {
    try {
      const bytes = await this.#store.readSideRecord(name);
      return bytes && (JSON.parse(Buffer.from(bytes).toString()) as unknown);
    } catch {
      return undefined;
    }
  }

  async write(name: string, record: unknown): Promise<void> {
    await this.#store.writeSideRecord(name, Buffer.from(JSON.stringify(record))).catch(() => {});
  }
}
