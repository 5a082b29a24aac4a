import type { Clock } from '../core/clock.js';
import { systemClock } from '../core/clock.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { silentLogger } from '../core/logger.js';
import type { CorruptionInfo } from '../storage/sqlite-storage-options.js';
import { checkFileOptions } from '../storage/sqlite-storage-options.js';

/** What `CryptoStore.open()` takes. */
export interface CryptoStoreOptions {
  /**
   * The file for the keys of all users, made (mode 0600) where it does not exist; its folder has to exist, on a local
   * disk. Never put an older copy of it back. `':memory:'` keeps everything in memory, for tests.
   */
  readonly path: string;
  /**
   * What each user's key is wrapped with: 32 random bytes, or a string of at least 16 characters. Changed by
   * `rotateEncryptionSecret()` only.
   */
  readonly secret: string | Uint8Array;
  /**
   * The file that says how far each device's keys have come, by which an older copy of the store is found out. Best
   * on a volume that is not restored together with the store.
   * @default `<path>.counters`
   */
  readonly counterPath?: string;
  /** Told when the file was damaged and set aside. Must not throw. */
  readonly onCorruption?: (info: CorruptionInfo) => void;
  /** Told how each change of keys went, and what it took in milliseconds. */
  readonly onCommit?: (stored: boolean, durationMs: number) => void;
  /** @default silentLogger */
  readonly logger?: Logger;
  /** @default systemClock */
  readonly clock?: Clock;
}

export type NormalizedCryptoStoreOptions = Required<Omit<CryptoStoreOptions, 'counterPath'>> &
  Pick<CryptoStoreOptions, 'counterPath'>;

/** Checks the options and fills in the defaults. Throws `INVALID_OPTIONS`; the secret is in no message. */
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
      `CryptoStore: expected \`counterPath\` to be the path of a file of its own, got ${describe(counterPath)}`,
    );
  }
  return { path, secret, onCorruption, onCommit, logger, clock, ...(counterPath !== undefined && { counterPath }) };
}
