import { systemClock } from '../../../src/core/clock.js';
import type { Context } from '../../../src/core/context.js';
import { Diagnostics } from '../../../src/core/diagnostics.js';
import { silentLogger } from '../../../src/core/logger.js';
import type { KeyStore } from '../../../src/core/ports/key-store.js';
import type { KeyFileOptions } from '../../../src/encryption/encryption-options.js';
import { CryptoStore } from '../../../src/encryption/store/crypto-store.js';
import { SqliteKeyStore } from '../../../src/encryption/store/sqlite/sqlite-key-store.js';

export interface CryptoStoreOptions extends KeyFileOptions, Partial<Pick<Context, 'clock' | 'logger'>> {
  /** Called after each commit of keys with whether it was stored, and its duration in milliseconds. */
  readonly onCommit?: (stored: boolean, durationMs: number) => void;
}

const silent = { clock: systemClock, logger: silentLogger };

/** Opens a crypto store on an SQLite file. */
export function openCryptoStore(options: CryptoStoreOptions): Promise<CryptoStore> {
  const { clock = systemClock, logger = silentLogger, onCommit = () => {}, ...file } = options;
  const diagnostics = new Diagnostics(clock);
  diagnostics.subscribe('keyCommit', ({ stored, durationMs }) => onCommit(stored, durationMs));
  return CryptoStore.open({ clock, logger, diagnostics }, () => SqliteKeyStore.open({ clock, logger }, file));
}

/** Opens a crypto store on another key store. */
export function cryptoStoreOn(keys: KeyStore): Promise<CryptoStore> {
  return CryptoStore.open({ ...silent, diagnostics: new Diagnostics(systemClock) }, () => keys);
}
