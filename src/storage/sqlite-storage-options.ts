import * as v from 'valibot';
import type { Clock } from '../core/clock.js';
import { systemClock } from '../core/clock.js';
import { containedClock, containedLogger } from '../core/contain.js';
import type { Logger } from '../core/logger.js';
import { silentLogger } from '../core/logger.js';
import {
  checkedAs,
  checkOptions,
  clock,
  functionOf,
  durationMs,
  isName,
  logger,
  optionsOf,
  withoutContent,
} from '../core/validation.js';

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

/** The schemas of the options that all encrypted files have. */
export const fileOptions = {
  path: checkedAs<string>("the path of a file, or ':memory:'", (path) => isName(path) && !path.includes('\0')),
  secret: checkedAs<string | Uint8Array>(
    `a string of at least ${SECRET_MIN_CHARACTERS} characters or ${SECRET_BYTES} bytes`,
    (secret) =>
      secret instanceof Uint8Array
        ? secret.length === SECRET_BYTES
        : typeof secret === 'string' && secret.length >= SECRET_MIN_CHARACTERS,
    (secret) => (secret instanceof Uint8Array ? `${secret.length} bytes` : withoutContent(secret)),
  ),
  onCorruption: functionOf<(info: CorruptionInfo) => void>(),
};

const schema = optionsOf<NormalizedSqliteOptions>({
  ...fileOptions,
  flushIntervalMs: v.nullish(durationMs(0, MAX_FLUSH_INTERVAL_MS), 0),
  onCorruption: v.optional(fileOptions.onCorruption, () => () => {}),
  logger: v.nullish(logger, silentLogger),
  clock: v.nullish(clock, systemClock),
});

/** Checks the options and adds the defaults. Throws `INVALID_OPTIONS`, with a message that never contains the secret. */
export function normalizeSqliteOptions(options: SqliteStorageOptions): NormalizedSqliteOptions {
  const checked = checkOptions('sqliteStorage()', schema, options);
  const containedLog = containedLogger(checked.logger);
  return { ...checked, logger: containedLog, clock: containedClock(checked.clock, containedLog) };
}
