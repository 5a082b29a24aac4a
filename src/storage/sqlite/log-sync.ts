import { closeSync, fdatasync, fdatasyncSync, openSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';

const flush = promisify(fdatasync);

/**
 * Writes SQLite's write-ahead log to the disk in a thread of libuv. A transaction that was committed with
 * `synchronous = NORMAL` is in the log, and so survives the process; after `sync()` it also survives a power failure.
 * `synchronous = FULL` does the same, but blocks the event loop.
 * @see https://www.sqlite.org/pragma.html#pragma_synchronous
 */
export class LogSync {
  readonly #database: DatabaseSync;
  readonly #descriptor: number;
  #running: Promise<unknown> = Promise.resolve();
  /** The write that begins when the running one has ended. */
  #next: Promise<void> | undefined;
  #hasFailed = false;

  /**
   * Writes what an earlier process has left in the log.
   * @param path - the path of `database`, whose log exists
   */
  constructor(database: DatabaseSync, path: string) {
    this.#database = database;
    this.#descriptor = openSync(`${path}-wal`, 'r+');
    try {
      fdatasyncSync(this.#descriptor);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Resolves when all transactions that were committed before the call are on disk. Calls during a write share the next
   * one.
   */
  sync(): Promise<void> {
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      const writing = this.#write();
      this.#running = writing.catch(() => {}); // its callers handle it
      return writing;
    });
    return this.#next;
  }

  /** Call it when no `sync()` runs. */
  close(): void {
    closeSync(this.#descriptor);
  }

  /**
   * After a failed write, the operating system counts the log as written, and a second attempt would succeed whatever the
   * disk has. So SQLite has to copy the log into the database, and write that.
   */
  async #write(): Promise<void> {
    if (!this.#hasFailed) {
      try {
        return await flush(this.#descriptor);
      } catch {
        this.#hasFailed = true;
      }
    }
    const { busy } = this.#database.prepare('PRAGMA wal_checkpoint(RESTART)').get() ?? {};
    if (busy !== 0) throw new Error('the write-ahead log could not be written to the disk');
    this.#hasFailed = false;
  }
}
