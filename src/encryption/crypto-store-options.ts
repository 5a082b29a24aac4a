import * as v from 'valibot';
import type { Clock } from '../core/clock.js';
import { systemClock } from '../core/clock.js';
import { invalidOptions } from '../core/errors.js';
import { describe } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { silentLogger } from '../core/logger.js';
import { checkedAs, checkOptions, clock, functionOf, isName, logger, optionsOf } from '../core/validation.js';
import { fileOptions } from '../storage/sqlite-storage-options.js';
import type { CorruptionInfo } from '../storage/sqlite-storage-options.js';

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
  /** Called after each commit of keys with whether it was stored, and its duration in milliseconds. Must not throw. */
  readonly onCommit?: (stored: boolean, durationMs: number) => void;
  /** @default silentLogger */
  readonly logger?: Logger;
  /** @default systemClock */
  readonly clock?: Clock;
}

export type NormalizedCryptoStoreOptions = Required<Omit<CryptoStoreOptions, 'counterPath'>> &
  Pick<CryptoStoreOptions, 'counterPath'>;

/** The schemas of the options that the option `encryption` has as well. */
export const cryptoFileOptions = {
  ...fileOptions,
  counterPath: checkedAs<string>('the path of a separate file', isName),
};

const schema = optionsOf<NormalizedCryptoStoreOptions>({
  ...cryptoFileOptions,
  counterPath: v.optional(cryptoFileOptions.counterPath),
  onCorruption: v.optional(fileOptions.onCorruption, () => () => {}),
  onCommit: v.optional(functionOf<(stored: boolean, durationMs: number) => void>(), () => () => {}),
  logger: v.nullish(logger, silentLogger),
  clock: v.nullish(clock, systemClock),
});

/** Checks the options and fills in the defaults. Throws `INVALID_OPTIONS`. No message contains the secret. */
export function normalizeCryptoStoreOptions(options: CryptoStoreOptions): NormalizedCryptoStoreOptions {
  const checked = checkOptions('CryptoStore', schema, options);
  assertSeparateCounters(checked);
  return checked;
}

export function assertSeparateCounters({ path, counterPath }: Pick<CryptoStoreOptions, 'path' | 'counterPath'>): void {
  if (counterPath !== path) return;
  throw invalidOptions(
    `expected \`counterPath\` of the crypto store to be the path of a separate file, got ${describe(path)}`,
  );
}
