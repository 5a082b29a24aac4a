import { assertKnownOptions } from '../core/call-options.js';
import type { Clock } from '../core/clock.js';
import { systemClock } from '../core/clock.js';
import { containedLogger } from '../core/contain.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { silentLogger } from '../core/logger.js';

/** What `sqliteStorage()` takes. */
export interface SqliteStorageOptions {
  /**
   * The file, made (mode 0600) where it does not exist; its folder has to exist, on a local disk. `-wal` and `.lock`
   * files stand beside it. `':memory:'` keeps everything in memory, for tests.
   */
  readonly path: string;
  /**
   * What the file is sealed with: 32 random bytes, or a string of at least 16 characters (which costs 60 ms once, at
   * open, to make guessing expensive). The same file needs the same secret, and the same kind of it, ever after.
   */
  readonly secret: string | Uint8Array;
  /**
   * How long the commit of a checkpoint may wait for others to share its transaction, in milliseconds. Everything
   * else, and a commit at 0, shares with what was called in the same turn of the event loop.
   * @default 0
   */
  readonly flushIntervalMs?: number;
  /** Told of damage that was found and set aside. Must not throw; if it does, the logger hears of it. */
  readonly onCorruption?: (info: CorruptionInfo) => void;
  /** @default silentLogger */
  readonly logger?: Logger;
  /** @default systemClock */
  readonly clock?: Clock;
}

/**
 * Damage in the file, and what was done about it.
 * `file`: found while opening; the whole file was moved to `movedTo` and a new one begun.
 * `record`: one record could not be unsealed; it was moved to the table `quarantine` and counts as absent.
 * `running`: SQLite met a damaged page; the call was rejected, and the next open will set the file aside.
 */
export type CorruptionInfo =
  | { readonly scope: 'file'; readonly path: string; readonly reason: string; readonly movedTo: string }
  | {
      readonly scope: 'record';
      readonly path: string;
      readonly reason: string;
      readonly userId: string;
      /** What kind of record, such as `credentials` or `room`. */
      readonly kind: string;
    }
  | { readonly scope: 'running'; readonly path: string; readonly reason: string };

export type NormalizedSqliteOptions = Required<SqliteStorageOptions>;

const SECRET_MIN_CHARACTERS = 16;
const SECRET_BYTES = 32;
const MAX_FLUSH_INTERVAL_MS = 60_000;

/** Checks the options and fills in the defaults. Throws `INVALID_OPTIONS`; the secret is in no message. */
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

/** Checks what every sealed file of ours is opened with. @param owner - what opens it, for the message */
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
