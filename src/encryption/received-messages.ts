import { createHmac } from 'node:crypto';
import type { DeviceStore } from './store/device-store.js';

/** The place of an encrypted message: each session of a sender uses each index once. */
export interface MessagePlace {
  readonly roomId: string;
  /**
   * The user whom the homeserver names as the sender. Where the session's owner is unknown, another user can show the
   * message as theirs, which must not take the place of the real one.
   */
  readonly senderId: string;
  readonly sessionId: string;
  readonly index: number;
}

/** Indices in one record. With the default settings of a room, a session has 100 messages. */
const INDICES_PER_RECORD = 128;
const MARK_BYTES = 8;
/** An index within the record, and the mark of the event that has it. */
const ENTRY_BYTES = 1 + MARK_BYTES;
/** Records kept in memory: at most 60 kB. */
const MOST_RECORDS = 50;

interface ReceivedRecord {
  readonly loaded: Promise<void>;
  entries: Buffer;
  /** The last write of the entries. */
  stored: Promise<void> | undefined;
  /** Number of calls that use the record. It stays in memory meanwhile. */
  users: number;
}

/**
 * Remembers for one device which event had which index of a session, so that a ciphertext that comes again with another
 * event id is noticed. Keeps a keyed hash of each event id: the homeserver chooses ids, and must not be able to find two
 * with the same hash.
 */
export class ReceivedMessages {
  readonly #store: Pick<DeviceStore, 'readSideRecord' | 'writeSideRecord'>;
  readonly #key: Uint8Array;
  readonly #records = new Map<string, ReceivedRecord>();

  constructor(store: Pick<DeviceStore, 'readSideRecord' | 'writeSideRecord' | 'receivedKey'>) {
    this.#store = store;
    this.#key = store.receivedKey;
  }

  /**
   * Whether another event had the place before. If not, the place belongs to this event from now on, and that is stored
   * when the promise resolves. Rejects if it cannot be stored.
   */
  async isReplay(place: MessagePlace, eventId: string): Promise<boolean> {
    const { roomId, senderId, sessionId, index } = place;
    const name = JSON.stringify([roomId, senderId, sessionId, Math.floor(index / INDICES_PER_RECORD)]);
    const record = this.#recordOf(name);
    record.users++;
    try {
      await record.loaded;
      const mark = createHmac('sha256', this.#key).update(eventId).digest().subarray(0, MARK_BYTES);
      const known = findMark(record.entries, index % INDICES_PER_RECORD);
      if (known && !known.equals(mark)) return true;
      if (!known) {
        record.entries = Buffer.concat([record.entries, Buffer.from([index % INDICES_PER_RECORD]), mark]);
        record.stored = this.#store.writeSideRecord(name, record.entries);
      }
      await record.stored;
      return false;
    } finally {
      record.users--;
    }
  }

  #recordOf(name: string): ReceivedRecord {
    const record = this.#records.get(name) ?? this.#load(name);
    this.#records.delete(name);
    this.#records.set(name, record); // moves it to the end, as the newest
    for (const [oldName, { users }] of this.#records) {
      if (this.#records.size <= MOST_RECORDS) break;
      if (users === 0 && oldName !== name) this.#records.delete(oldName);
    }
    return record;
  }

  #load(name: string): ReceivedRecord {
    const load = async (): Promise<void> => {
      try {
        record.entries = Buffer.from((await this.#store.readSideRecord(name)) ?? []);
      } catch (error) {
        this.#records.delete(name);
        throw error;
      }
    };
    const record: ReceivedRecord = {
      entries: Buffer.alloc(0),
      loaded: Promise.resolve().then(load),
      stored: undefined,
      users: 0,
    };
    return record;
  }
}

function findMark(entries: Buffer, index: number): Buffer | undefined {
  for (let start = 0; start < entries.length; start += ENTRY_BYTES) {
    if (entries.at(start) === index) return entries.subarray(start + 1, start + ENTRY_BYTES);
  }
  return undefined;
}
