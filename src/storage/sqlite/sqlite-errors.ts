import { isManagerError, MatrixClientManagerError } from '../../core/errors.js';
import { isError } from '../../core/is-error.js';

/** Primary result codes. @see https://www.sqlite.org/rescode.html */
const SQLITE = { BUSY: 5, LOCKED: 6, READONLY: 8, IOERR: 10, CORRUPT: 11, FULL: 13, CANTOPEN: 14, NOTADB: 26 } as const;

const reasons = new Map<number | undefined, string>([
  [SQLITE.READONLY, 'the file cannot be written: check its permissions and mount'],
  [SQLITE.IOERR, 'the disk reported an error'],
  [SQLITE.CORRUPT, 'the file is damaged and will be moved aside when it is opened next'],
  [SQLITE.FULL, 'the disk is full'],
  [SQLITE.CANTOPEN, 'the file cannot be opened: check the permissions of it and its folder'],
]);

/** The error of a failed `operation` on the file at `path`. SQLite's own messages contain no stored values. */
export function storageError(operation: string, path: string, cause: unknown): MatrixClientManagerError {
  if (isManagerError(cause)) return cause;
  const reason = reasons.get(primaryCode(cause)) ?? (isError(cause) ? cause.message : String(cause));
  return new MatrixClientManagerError('STORAGE', `could not ${operation} ${path}: ${reason}`, { cause });
}

/** Whether SQLite reports that the file is damaged, or is not a database. */
export function isDamage(error: unknown): boolean {
  const code = primaryCode(error);
  return code === SQLITE.CORRUPT || code === SQLITE.NOTADB;
}

/** Whether another connection has locked the file. */
export function isBusy(error: unknown): boolean {
  const code = primaryCode(error);
  return code === SQLITE.BUSY || code === SQLITE.LOCKED;
}

function primaryCode(error: unknown): number | undefined {
  const code = isError(error) ? (error as Error & { errcode?: unknown }).errcode : undefined;
  return typeof code === 'number' ? code % 256 : undefined;
}
