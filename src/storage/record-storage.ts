import type { Credentials } from '../core/credentials.js';
import type { CheckpointChange, StoredCheckpoint } from './checkpoint.js';
import { checkpointWrites, readCheckpoint } from './checkpoint-records.js';
import type {
  StoredDeadLetter,
  StoredError,
  EnqueueResult,
  OutgoingSend,
  QueuedSend,
  SendState,
  Storage,
} from './storage.js';
import type { Records } from './records.js';
import { enqueueSend, sendStates, settleSend } from './send-records.js';
import { defaultDeadLetterLimit, storageLimits } from './storage.js';

/**
 * How durable a change must be when its promise resolves. `process`: survives a crash of the process, which needs only a
 * write. `process-later`: the same, but the call may wait, to share its transaction with later ones. `power`: also
 * survives a power failure, which needs an fsync.
 */
export type Durability = 'process-later' | 'process' | 'power';

/** Where the records of a {@link RecordStorage} are kept. */
export interface RecordStore {
  /**
   * Runs `use` with the records, in a transaction where there are any. Calls take effect in order.
   * @param userId - undefined: all users
   */
  run<T>(userId: string | undefined, durability: Durability, use: (records: Records) => T): Promise<T>;
  close(): Promise<void>;
}

/** The user of records that belong to no user. */
const NO_USER = '';

/** A storage that keeps everything as records of text. Each call copies its arguments before it waits. */
export class RecordStorage implements Storage {
  readonly #store: RecordStore;
  /** Counting the records takes time in proportion to their number, so that it is done for one in many. */
  #onceEventsUntilTrim = 0;

  constructor(store: RecordStore) {
    this.#store = store;
  }

  async getCredentials(userId: string): Promise<Credentials | undefined> {
    const text = await this.#store.run(userId, 'process', (records) => records.get(userId, 'credentials'));
    return text === undefined ? undefined : (JSON.parse(text) as Credentials);
  }

  async setCredentials(credentials: Credentials): Promise<void> {
    const { userId } = credentials;
    const text = JSON.stringify(credentials);
    await this.#store.run(userId, 'power', (records) => records.put(userId, 'credentials', '', text));
  }

  async deleteCredentials(userId: string): Promise<void> {
    await this.#store.run(userId, 'power', (records) => records.delete(userId, 'credentials'));
  }

  loadCheckpoint(userId: string): Promise<StoredCheckpoint> {
    return this.#store.run(userId, 'process', (records) => readCheckpoint(records, userId));
  }

  async commit(userId: string, change: CheckpointChange): Promise<void> {
    await this.#store.run(userId, 'process-later', checkpointWrites(userId, change));
  }

  async addDeadLetter(userId: string, letter: StoredDeadLetter): Promise<void> {
    const { id } = letter;
    const text = JSON.stringify(letter);
    await this.#store.run(userId, 'power', (records) => {
      records.put(userId, 'deadLetter', id, text);
      records.trim(userId, 'deadLetter', storageLimits.deadLetters);
    });
  }

  async listDeadLetters(userId: string, options: { readonly limit?: number } = {}): Promise<StoredDeadLetter[]> {
    const limit = Math.max(0, options.limit ?? defaultDeadLetterLimit);
    const letters = await this.#store.run(userId, 'process', (records) => records.list(userId, 'deadLetter', limit));
    return letters.map(({ value }) => JSON.parse(value) as StoredDeadLetter);
  }

  deleteDeadLetter(userId: string, id: string): Promise<boolean> {
    return this.#store.run(userId, 'power', (records) => records.delete(userId, 'deadLetter', id));
  }

  async enqueueSend(userId: string, send: OutgoingSend): Promise<EnqueueResult> {
    const copy = { ...send };
    return this.#store.run(userId, 'power', (records) => enqueueSend(records, userId, copy));
  }

  async listSends(filter: { readonly userId?: string; readonly state?: SendState } = {}): Promise<QueuedSend[]> {
    const { userId, state = 'queued' } = filter;
    const sends = await this.#store.run(userId, 'process', (records) =>
      userId === undefined ? records.listOfAllUsers(state) : records.list(userId, state),
    );
    return sends.map(({ value }) => JSON.parse(value) as QueuedSend);
  }

  async completeSend(userId: string, txnId: string, eventId: string): Promise<boolean> {
    const settlement = { state: 'sent', eventId } as const;
    return this.#store.run(userId, 'power', (records) => settleSend(records, userId, txnId, settlement));
  }

  async failSend(userId: string, txnId: string, error: StoredError): Promise<boolean> {
    const settlement = { state: 'failed', error: { ...error } } as const;
    return this.#store.run(userId, 'power', (records) => settleSend(records, userId, txnId, settlement));
  }

  deleteSend(userId: string, txnId: string): Promise<boolean> {
    return this.#store.run(userId, 'power', (records) =>
      sendStates.map((state) => records.delete(userId, state, txnId)).includes(true),
    );
  }

  async getEncryptedRooms(roomIds: readonly string[]): Promise<Map<string, string>> {
    const ids = [...roomIds];
    return this.#store.run(undefined, 'process', (records) => readEncryptedRooms(records, ids));
  }

  async setEncryptedRooms(rooms: ReadonlyMap<string, string>): Promise<void> {
    const copy = [...rooms];
    await this.#store.run(undefined, 'power', (records) => {
      for (const [roomId, text] of copy) records.put(NO_USER, 'encryptedRoom', roomId, text);
    });
  }

  async addOnceEvents(keys: readonly string[], limit: number): Promise<void> {
    const copy = [...keys];
    await this.#store.run(undefined, 'process-later', (records) => {
      for (const key of copy) records.add(NO_USER, 'onceEvent', key);
      this.#onceEventsUntilTrim -= copy.length;
      if (this.#onceEventsUntilTrim > 0) return;
      records.trim(NO_USER, 'onceEvent', limit);
      this.#onceEventsUntilTrim = Math.floor(limit / 100);
    });
  }

  async findOnceEvents(keys: readonly string[]): Promise<string[]> {
    const copy = [...keys];
    return this.#store.run(undefined, 'process', (records) =>
      copy.filter((key) => records.has(NO_USER, 'onceEvent', key)),
    );
  }

  async deleteUser(userId: string): Promise<void> {
    await this.#store.run(userId, 'power', (records) => records.deleteUser(userId));
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A room whose record is damaged stays known, without its text: it would otherwise count as a room without encryption. */
function readEncryptedRooms(records: Records, roomIds: readonly string[]): Map<string, string> {
  const rooms = new Map<string, string>();
  for (const roomId of roomIds) {
    if (!records.has(NO_USER, 'encryptedRoom', roomId)) continue;
    const text = records.get(NO_USER, 'encryptedRoom', roomId);
    if (text === undefined) records.put(NO_USER, 'encryptedRoom', roomId, '');
    rooms.set(roomId, text ?? '');
  }
  return rooms;
}
