import { closeSync, openSync } from 'node:fs';
import { MatrixClientManagerError } from '../../core/errors.js';
import { isBusy, storageError } from './sqlite-errors.js';
import { openConnection } from './sqlite-module.js';

/**
 * Locks `path` with an exclusive transaction on the empty database `<path>.lock`, which is not deleted later. The kernel
 * releases the lock when the process is killed. The lock uses a separate file, so that the real one can be checked and
 * moved while it is locked. Returns a function that releases it. Throws `STORAGE_LOCKED` immediately if it is taken.
 */
export function lockFile(path: string): () => void {
  const lockPath = `${path}.lock`;
  try {
    // 'wx' never opens an existing file: closing a second descriptor would release this process's POSIX lock.
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
  return () => connection.close();
}

export function lockedError(path: string, cause: unknown): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'STORAGE_LOCKED',
    `${path} is in use by another process, or by another storage in this one: ` +
      'close the other one first, or use a separate file for each process',
    { cause },
  );
}
