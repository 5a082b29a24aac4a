import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { isObject } from '../core/raw-event.js';
import type { CryptoStoreOptions } from './crypto-store-options.js';
import { normalizeCryptoStoreOptions } from './crypto-store-options.js';

/** End-to-end encryption for a manager's users: where their keys are kept, and who gets it. */
export interface EncryptionOptions extends Pick<
  CryptoStoreOptions,
  'path' | 'secret' | 'counterPath' | 'onCorruption'
> {
  /** Whether a user's client has encryption. Must always say the same of a user. @default everybody's has */
  readonly users?: (userId: string) => boolean;
  /** How long callbacks wait for an event whose key has not come, in milliseconds. @default 30_000 */
  readonly decryptionTimeoutMs?: number;
}

export type EncryptionSettings = Required<Omit<EncryptionOptions, 'counterPath' | 'onCorruption'>> &
  Pick<EncryptionOptions, 'counterPath' | 'onCorruption'>;

const DECRYPTION_TIMEOUT_MS = 30_000;
const names = ['path', 'secret', 'counterPath', 'onCorruption', 'users', 'decryptionTimeoutMs'];

/** Checks the options and fills in the defaults. Throws `INVALID_OPTIONS`; the secret is in no message. */
export function readEncryptionOptions(options: EncryptionOptions): EncryptionSettings {
  if (!isObject(options)) throw invalid('encryption', 'an object', options);
  const unknown = Object.keys(options).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    const message = `there is no option \`encryption.${unknown}\`; the options are ${names.join(', ')}`;
    throw new MatrixClientManagerError('INVALID_OPTIONS', message);
  }
  const { path, secret, counterPath, onCorruption } = options;
  normalizeCryptoStoreOptions({
    path,
    secret,
    ...(counterPath !== undefined && { counterPath }),
    ...(onCorruption !== undefined && { onCorruption }),
  });
  const { users = () => true, decryptionTimeoutMs = DECRYPTION_TIMEOUT_MS } = options;
  if (typeof users !== 'function') throw invalid('encryption.users', 'a function', users);
  if (!Number.isSafeInteger(decryptionTimeoutMs) || decryptionTimeoutMs < 0) {
    throw invalid('encryption.decryptionTimeoutMs', 'a whole number of at least 0', decryptionTimeoutMs);
  }
  return { ...options, users, decryptionTimeoutMs };
}

function invalid(name: string, expected: string, got: unknown): MatrixClientManagerError {
  const value = typeof got === 'number' ? got : describe(got);
  return new MatrixClientManagerError('INVALID_OPTIONS', `expected \`${name}\` to be ${expected}, got ${value}`);
}
