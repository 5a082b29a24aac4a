import { closeSync, openSync } from 'node:fs';
import { MatrixClientManagerError } from '../../core/errors.js';
import { isBusy, storageError } from './sqlite-errors.js';
import { openConnection } from './sqlite-module.js';

/** Holds a file for this process until `release()`, or until the process ends in whatever way. */
export interface FileLock {
  release(): void;
}

/**
 * Locks `path` by an exclusive transaction on an empty database `<path>.lock`, which is never written and stays
 * behind. The kernel drops the lock with the process, so a kill leaves none. It is a file of its own so that checking
 * and setting aside the real one happen under the lock. Throws `STORAGE_LOCKED` at once where somebody has it.
 */
export function lockFile(path: string): FileLock {
  const lockPath = `${path}.lock`;
  try {
    // Only ever created, never opened: closing a second descriptor would drop the POSIX lock of this process.
    closeSync(openSync(lockPath, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw storageError('lock', path, error);
  }
  const connection = openConnection(lockPath);
  try {
    connection.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    connection.close();
    throw isBusy(error) ? lockedError(path, error) : storageError('lock', path, error);
  }
  return { release: () => connection.close() };
}

export function lockedError(path: string, cause: unknown): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'STORAGE_LOCKED',
    `${path} is in use by another process, or by another storage in this one: ` +
      'close that one first, or give each process a file of its own',
    { cause },
  );
}
