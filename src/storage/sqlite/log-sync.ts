import { closeSync, fdatasync, openSync } from 'node:fs';
import { promisify } from 'node:util';

const flush = promisify(fdatasync);

/**
 * Writes SQLite's write-ahead log to the disk in a thread of its own. A transaction that was committed with
 * `synchronous = NORMAL` is in the log, and so survives the process; after `sync()` it also survives a power failure.
 * `synchronous = FULL` does the same, but blocks the event loop.
 * @see https://www.sqlite.org/pragma.html#pragma_synchronous
 */
export class LogSync {
  readonly #path: string;
  #descriptor: number | undefined;

  /** @param path - the path of the database. The log exists from its first transaction on. */
  constructor(path: string) {
    this.#path = `${path}-wal`;
  }

  /** Resolves when all transactions that were committed before the call are on disk. */
  async sync(): Promise<void> {
    await flush((this.#descriptor ??= openSync(this.#path, 'r+')));
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}
