import { assertKnownOptions } from '../core/validation.js';
import type { Clock } from '../core/clock.js';
import { systemClock } from '../core/clock.js';
import { containedLogger } from '../core/contain.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { silentLogger } from '../core/logger.js';

/** The options of `sqliteStorage()`. */
export interface SqliteStorageOptions {
  /**
   * Path of the file. It is created with mode 0600 if it does not exist. Its folder must exist, on a local disk, and also
   * contains the `-wal` and `.lock` files. `':memory:'` keeps all data in memory, for tests.
   */
  readonly path: string;
  /**
   * The secret that encrypts the file: 32 random bytes, or a string of at least 16 characters. Deriving a key from a string
   * takes 60 ms when the file is opened, to make guessing expensive. A file can only be opened with the secret, of the
   * same type, with which it was created.
   */
  readonly secret: string | Uint8Array;
  /**
   * How long a checkpoint may wait to share its transaction with others, in milliseconds. With 0, and for all other
   * changes, a transaction contains the changes of one turn of the event loop.
   * @default 0
   */
  readonly flushIntervalMs?: number;
  /** Called when damage in the file was found. Must not throw; an error is logged. */
  readonly onCorruption?: (info: CorruptionInfo) => void;
  /** @default silentLogger */
  readonly logger?: Logger;
  /** @default systemClock */
  readonly clock?: Clock;
}

/**
 * Damage in the file, and how it was handled.
 * `file`: the damage was found while opening. The file was moved to `movedTo`, and a new one was created.
 * `record`: a record could not be decrypted. It was moved to the table `quarantine` and counts as absent.
 * `running`: SQLite read a damaged page. The call was rejected, and the next open will move the file aside.
 */
export type CorruptionInfo =
  | { readonly scope: 'file'; readonly path: string; readonly reason: string; readonly movedTo: string }
  | {
      readonly scope: 'record';
      readonly path: string;
      readonly reason: string;
      readonly userId: string;
      /** The kind of the record, such as `credentials` or `room`. */
      readonly kind: string;
    }
  | { readonly scope: 'running'; readonly path: string; readonly reason: string };

export type NormalizedSqliteOptions = Required<SqliteStorageOptions>;

const SECRET_MIN_CHARACTERS = 16;
const SECRET_BYTES = 32;
const MAX_FLUSH_INTERVAL_MS = 60_000;

/** Checks the options and adds the defaults. Throws `INVALID_OPTIONS`, with a message that never contains the secret. */
export function normalizeSqliteOptions(options: SqliteStorageOptions): NormalizedSqliteOptions {
  checkFileOptions(options, 'sqliteStorage');
  assertKnownOptions('sqliteStorage()', options, [
    'path',
    'secret',
    'flushIntervalMs',
    'onCorruption',
    'logger',
    'clock',
  ]);
  const { path, secret, flushIntervalMs = 0, onCorruption = () => {} } = options;
  if (!Number.isFinite(flushIntervalMs) || flushIntervalMs < 0 || flushIntervalMs > MAX_FLUSH_INTERVAL_MS) {
    throw invalid(
      'sqliteStorage',
      'flushIntervalMs',
      `a number from 0 to ${MAX_FLUSH_INTERVAL_MS}`,
      String(flushIntervalMs),
    );
  }
  const { logger = silentLogger, clock = systemClock } = options;
  return { path, secret, flushIntervalMs, onCorruption, logger: containedLogger(logger), clock };
}

/** Checks the options that all encrypted files need. @param owner - name of the function or option, for the message */
export function checkFileOptions(
  options: Pick<SqliteStorageOptions, 'path' | 'secret' | 'onCorruption'>,
  owner: string,
): void {
  if (options === null || typeof options !== 'object') throw invalid(owner, 'options', 'an object', describe(options));
  const { path, secret, onCorruption = () => {} } = options;
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw invalid(owner, 'path', "the path of a file, or ':memory:'", describe(path));
  }
  checkSecret(secret, owner);
  if (typeof onCorruption !== 'function') throw invalid(owner, 'onCorruption', 'a function', describe(onCorruption));
}

export function checkSecret(secret: string | Uint8Array, owner: string): void {
  const secretLength = typeof secret === 'string' ? `a string of ${secret.length}` : describeBytes(secret);
  const secretOk =
    typeof secret === 'string'
      ? secret.length >= SECRET_MIN_CHARACTERS
      : isBytes(secret) && secret.length === SECRET_BYTES;
  if (secretOk) return;
  const expected = `a string of at least ${SECRET_MIN_CHARACTERS} characters or ${SECRET_BYTES} bytes`;
  throw invalid(owner, 'secret', expected, secretLength);
}

function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array;
}

function describeBytes(value: unknown): string {
  return isBytes(value) ? `${value.length} bytes` : describe(value);
}

function invalid(owner: string, name: string, expected: string, got: string): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'INVALID_OPTIONS',
    `${owner}: expected \`${name}\` to be ${expected}, got ${got}`,
  );
}
