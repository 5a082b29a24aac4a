import type { Credentials } from '../core/credentials.js';
import type { CheckpointChange, StoredCheckpoint } from './checkpoint.js';
import type { StoredDeadLetter, StoredError } from './dead-letter.js';
import type { EnqueueResult, OutgoingSend, QueuedSend, SendState } from './queued-send.js';
import type { NormalizedSqliteOptions, SqliteStorageOptions } from './sqlite-storage-options.js';
import { normalizeSqliteOptions } from './sqlite-storage-options.js';
import { checkpointWrites, coversPosition, readCheckpoint } from './sqlite/checkpoint-records.js';
import type { Durability } from './sqlite/commit-queue.js';
import { CommitQueue } from './sqlite/commit-queue.js';
import type { OpenDatabase } from './sqlite/open-database.js';
import { openDatabase } from './sqlite/open-database.js';
import type { DamagedRecord } from './sqlite/records.js';
import { Records } from './sqlite/records.js';
import { reportCorruption } from './sqlite/report-corruption.js';
import { deleteSend, enqueueSend, listSends, settleSend } from './sqlite/send-records.js';
import { isDamage, storageError } from './sqlite/sqlite-errors.js';
import { closedError } from './storage-errors.js';
import { defaultDeadLetterLimit, storageLimits } from './storage-limits.js';
import type { Storage } from './storage.js';

/**
 * A storage in one SQLite file, for one process at a time. Opens the file synchronously and throws `STORAGE_LOCKED` if
 * another process uses it, `INVALID_OPTIONS` for a wrong secret or path, and `STORAGE` if it cannot be used.
 *
 * Acknowledged changes survive a crash of the process. They also survive a power failure, except for checkpoints, which
 * are written without waiting for the disk: the last ones may be lost, and their events are then handled again.
 *
 * All records are encrypted with AES-256-GCM. Without the secret, the file shows only user ids, and the number of records
 * of each kind per user. Records cannot be changed without the secret, but the whole file can be replaced by an older copy.
 *
 * @example
 * const storage = sqliteStorage({ path: '/var/lib/chat/matrix.sqlite', secret: await readSecret() });
 */
export function sqliteStorage(options: SqliteStorageOptions): Storage {
  return new SqliteStorage(normalizeSqliteOptions(options));
}

class SqliteStorage implements Storage {
  readonly #file: OpenDatabase;
  readonly #records: Records;
  readonly #queue: CommitQueue;
  readonly #reporting: Pick<NormalizedSqliteOptions, 'logger' | 'onCorruption'>;
  /** Damaged records that the current transaction has found. Reported after its commit. */
  #damaged: DamagedRecord[] = [];
  #hasReportedDamagedPage = false;
  #closing: Promise<void> | undefined;

  constructor(options: NormalizedSqliteOptions) {
    const { clock, flushIntervalMs, logger, onCorruption } = options;
    this.#reporting = { logger, onCorruption };
    this.#file = openDatabase(options);
    const { database, vault } = this.#file;
    this.#records = new Records(
      database,
      vault,
      () => clock.now(),
      (record) => this.#onDamaged(record),
    );
    this.#queue = new CommitQueue({
      database,
      clock,
      flushIntervalMs,
      toError: (error) => this.#toError(error),
      onBegin: () => (this.#damaged = []),
      onCommitted: () => this.#reportDamaged(),
    });
  }

  async getCredentials(userId: string): Promise<Credentials | undefined> {
    const record = await this.#run(userId, 'process', () => this.#records.get(userId, 'credentials'));
    return record && (JSON.parse(record.value) as Credentials);
  }

  async setCredentials(credentials: Credentials): Promise<void> {
    const { userId } = credentials;
    const text = JSON.stringify(credentials);
    await this.#run(userId, 'power', () => this.#records.put(userId, 'credentials', '', text));
  }

  async deleteCredentials(userId: string): Promise<void> {
    await this.#run(userId, 'power', () => this.#records.delete(userId, 'credentials'));
  }

  loadCheckpoint(userId: string): Promise<StoredCheckpoint> {
    return this.#run(userId, 'process', () => readCheckpoint(this.#records, userId));
  }

  async commit(userId: string, change: CheckpointChange): Promise<void> {
    const write = checkpointWrites(userId, change);
    await this.#run(userId, 'process', () => write(this.#records), true);
  }

  async addDeadLetter(userId: string, letter: StoredDeadLetter): Promise<void> {
    const { id } = letter;
    const text = JSON.stringify(letter);
    await this.#run(userId, 'power', () => {
      this.#records.put(userId, 'deadLetter', id, text);
      this.#records.trim(userId, 'deadLetter', storageLimits.deadLetters);
    });
  }

  async listDeadLetters(userId: string, options: { readonly limit?: number } = {}): Promise<StoredDeadLetter[]> {
    const limit = Math.max(0, options.limit ?? defaultDeadLetterLimit);
    const records = await this.#run(userId, 'process', () => this.#records.list(userId, 'deadLetter', limit));
    return records.map((record) => JSON.parse(record.value) as StoredDeadLetter);
  }

  deleteDeadLetter(userId: string, id: string): Promise<boolean> {
    return this.#run(userId, 'power', () => this.#records.delete(userId, 'deadLetter', id));
  }

  async enqueueSend(userId: string, send: OutgoingSend): Promise<EnqueueResult> {
    const copy = { ...send };
    return this.#run(userId, 'power', () => enqueueSend(this.#records, userId, copy));
  }

  listSends(filter: { readonly userId?: string; readonly state?: SendState } = {}): Promise<QueuedSend[]> {
    const { userId, state = 'queued' } = filter;
    return this.#run(userId, 'process', () => listSends(this.#records, userId, state));
  }

  completeSend(userId: string, txnId: string, eventId: string): Promise<boolean> {
    return this.#run(userId, 'power', () => settleSend(this.#records, userId, txnId, { state: 'sent', eventId }));
  }

  async failSend(userId: string, txnId: string, error: StoredError): Promise<boolean> {
    const copy = { ...error };
    return this.#run(userId, 'power', () => settleSend(this.#records, userId, txnId, { state: 'failed', error: copy }));
  }

  deleteSend(userId: string, txnId: string): Promise<boolean> {
    return this.#run(userId, 'power', () => deleteSend(this.#records, userId, txnId));
  }

  async deleteUser(userId: string): Promise<void> {
    await this.#run(userId, 'power', () => this.#records.deleteUser(userId));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#queue.drain();
    try {
      this.#file.close();
    } catch (error) {
      throw storageError('close', this.#file.path, error);
    }
  }

  #run<T>(userId: string | undefined, durability: Durability, run: () => T, mayWait = false): Promise<T> {
    if (this.#closing) return Promise.reject(closedError());
    return this.#queue.add({ userId, durability, mayWait, run });
  }

  #onDamaged(record: DamagedRecord): void {
    this.#damaged.push(record);
    if (!coversPosition(record.kind)) return;
    for (const position of ['since', 'clientSince'] as const) this.#records.delete(record.userId, position);
  }

  #reportDamaged(): void {
    const { path } = this.#file;
    for (const { userId, kind } of this.#damaged) {
      const reason = 'it cannot be decrypted: its bytes were altered, or it was moved to another place';
      reportCorruption(this.#reporting, { scope: 'record', path, reason, userId, kind });
    }
  }

  #toError(error: unknown): Error {
    const { path } = this.#file;
    if (isDamage(error) && !this.#hasReportedDamagedPage) {
      this.#hasReportedDamagedPage = true;
      reportCorruption(this.#reporting, { scope: 'running', path, reason: (error as Error).message });
    }
    return storageError('use', path, error);
  }
}
