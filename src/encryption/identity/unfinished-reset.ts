import { isObject } from '../../core/raw-event.js';
import type { DeviceStore } from '../store/device-store.js';
import { JsonRecords } from '../store/json-records.js';

/** A reset of an identity that has begun. */
export interface Reset {
  /** The public master key that is to be replaced. */
  readonly from: string;
  /** The id of the secret storage key that is to be replaced; null if there was none. Undefined if not noted. */
  readonly fromKeyId?: string | null;
  /** The new public master key, once it is created. */
  readonly to?: string;
}

const RECORD = JSON.stringify(['reset']);

/**
 * The reset that this device has begun and not ended, because a crash or an outage interrupted it. Kept in a record beside
 * the keys. A record that is damaged counts as missing.
 */
export class UnfinishedReset {
  readonly #records: JsonRecords;

  constructor(store: Pick<DeviceStore, 'readSideRecord' | 'writeSideRecord'>) {
    this.#records = new JsonRecords(store);
  }

  /** Never rejects. */
  async get(): Promise<Reset | undefined> {
    const record = await this.#records.read(RECORD);
    if (!isObject(record) || typeof record['from'] !== 'string') return undefined;
    const { from, fromKeyId, to } = record;
    return {
      from,
      ...((typeof fromKeyId === 'string' || fromKeyId === null) && { fromKeyId }),
      ...(typeof to === 'string' && { to }),
    };
  }

  /** Never rejects. @param reset - undefined when it has ended */
  async set(reset: Reset | undefined): Promise<void> {
    await this.#records.write(RECORD, reset ?? null);
  }
}
