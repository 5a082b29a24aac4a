import type { NormalizedSqliteOptions, SqliteStorageOptions } from './sqlite-storage-options.js';
import { normalizeSqliteOptions } from './sqlite-storage-options.js';
import { coversPosition } from './checkpoint-records.js';
import { RecordStorage } from './record-storage.js';
import type { Durability, RecordStore } from './record-storage.js';
import type { Records } from './records.js';
import { CommitQueue } from './sqlite/commit-queue.js';
import type { OpenDatabase } from './sqlite/open-database.js';
import { openDatabase } from './sqlite/open-database.js';
import { reportCorruption } from './sqlite/report-corruption.js';
import type { DamagedRecord } from './sqlite/sealed-records.js';
import { SealedRecords } from './sqlite/sealed-records.js';
import { isDamage, storageError } from './sqlite/sqlite-errors.js';
import { closedError } from './storage-errors.js';
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
  return new RecordStorage(new SqliteRecordStore(normalizeSqliteOptions(options)));
}

class SqliteRecordStore implements RecordStore {
  readonly #file: OpenDatabase;
  readonly #records: SealedRecords;
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
    const { database, vault, sync } = this.#file;
    this.#records = new SealedRecords(
      database,
      vault,
      () => clock.now(),
      (record) => this.#onDamaged(record),
    );
    this.#queue = new CommitQueue({
      database,
      clock,
      flushIntervalMs,
      sync,
      toError: (error) => this.#toError(error),
      onBegin: () => (this.#damaged = []),
      onCommitted: () => this.#reportDamaged(),
    });
  }

  run<T>(userId: string | undefined, durability: Durability, use: (records: Records) => T): Promise<T> {
    if (this.#closing) return Promise.reject(closedError());
    return this.#queue.add({ userId, durability, run: () => use(this.#records) });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#queue.drain();
    try {
      this.#file.close();
    } catch (error) {
      throw storageError('close', this.#file.path, error);
    }
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
