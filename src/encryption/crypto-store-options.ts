import type { Clock } from '../core/clock.js';
import { systemClock } from '../core/clock.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { silentLogger } from '../core/logger.js';
import type { CorruptionInfo } from '../storage/sqlite-storage-options.js';
import { checkFileOptions } from '../storage/sqlite-storage-options.js';

/** Options of `CryptoStore.open()`. */
export interface CryptoStoreOptions {
  /**
   * The file for the keys of all users. It is created (mode 0600) if missing, in an existing folder on a local disk.
   * Never restore an older copy of it. `':memory:'` keeps all keys in memory, for tests.
   */
  readonly path: string;
  /**
   * Encrypts the key of each device: 32 random bytes, or a string of at least 16 characters. Only
   * `rotateEncryptionSecret()` changes it.
   */
  readonly secret: string | Uint8Array;
  /**
   * The file that counts the changes of each device's keys, so that a restored older copy of the store is detected.
   * Keep it on a volume that is not restored together with the store.
   * @default `<path>.counters`
   */
  readonly counterPath?: string;
  /** Called when the file was damaged and moved aside. Must not throw. */
  readonly onCorruption?: (info: CorruptionInfo) => void;
  /** Called after each commit of keys with whether it was stored, and its duration in milliseconds. */
  readonly onCommit?: (stored: boolean, durationMs: number) => void;
  /** @default silentLogger */
  readonly logger?: Logger;
  /** @default systemClock */
  readonly clock?: Clock;
}

export type NormalizedCryptoStoreOptions = Required<Omit<CryptoStoreOptions, 'counterPath'>> &
  Pick<CryptoStoreOptions, 'counterPath'>;

/** Checks the options and fills in the defaults. Throws `INVALID_OPTIONS`. No message contains the secret. */
export function normalizeCryptoStoreOptions(options: CryptoStoreOptions): NormalizedCryptoStoreOptions {
  checkFileOptions(options, 'CryptoStore');
  const {
    path,
    secret,
    counterPath,
    onCorruption = () => {},
    onCommit = () => {},
    logger = silentLogger,
    clock = systemClock,
  } = options;
  if (counterPath !== undefined && (typeof counterPath !== 'string' || counterPath === '' || counterPath === path)) {
    throw new MatrixClientManagerError(
      'INVALID_OPTIONS',
      `CryptoStore: expected \`counterPath\` to be the path of a separate file, got ${describe(counterPath)}`,
    );
  }
  return { path, secret, onCorruption, onCommit, logger, clock, ...(counterPath !== undefined && { counterPath }) };
}
