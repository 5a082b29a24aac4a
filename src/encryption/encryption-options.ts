import { assertKnownOptions } from '../core/validation.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { isObject } from '../core/raw-event.js';
import type { CryptoStoreOptions } from './crypto-store-options.js';
import { normalizeCryptoStoreOptions } from './crypto-store-options.js';
import type { IdentitySettings, TrustPolicy } from './identity/identity-options.js';

/** End-to-end encryption: where keys are stored, which users have it, and how their devices are trusted. */
export interface EncryptionOptions extends Pick<
  CryptoStoreOptions,
  'path' | 'secret' | 'counterPath' | 'onCorruption'
> {
  /** Whether a user's client has encryption. Must always return the same for a user. @default all users have it */
  readonly users?: (userId: string) => boolean;
  /**
   * Stores a user's new recovery key, which decrypts all their secrets; has 30 seconds. Called before the key is used,
   * and again after a failure: keep the last one. With `recoveryKey`, it gives users cross-signing keys, secret storage
   * and a key backup. @default none
   */
  readonly onRecoveryKey?: IdentitySettings['onRecoveryKey'];
  /** Returns the user's recovery key for a new device, or undefined without one; has 30 seconds. @default none */
  readonly recoveryKey?: IdentitySettings['recoveryKey'];
  /** Whether users get cross-signing keys. @default true with `onRecoveryKey` and `recoveryKey`, else false */
  readonly crossSigning?: boolean;
  /** Whether users' room keys are backed up at the homeserver. @default the value of crossSigning */
  readonly keyBackup?: boolean;
  /**
   * Which devices get room keys: all devices, devices cross-signed by their owner, or devices verified by the sender.
   * @default 'cross-signed' with cross-signing, else 'all'
   */
  readonly trust?: TrustPolicy;
  /** How long an event waits for its missing room key before callbacks get it, in milliseconds. @default 30_000 */
  readonly decryptionTimeoutMs?: number;
}

export type EncryptionSettings = Required<
  Pick<EncryptionOptions, 'path' | 'secret' | 'users' | 'decryptionTimeoutMs'>
> &
  Pick<EncryptionOptions, 'counterPath' | 'onCorruption'> & { readonly identity: IdentitySettings };

const DECRYPTION_TIMEOUT_MS = 30_000;
const names: readonly (keyof EncryptionOptions)[] = [
  'path',
  'secret',
  'counterPath',
  'onCorruption',
  'users',
  'decryptionTimeoutMs',
  'onRecoveryKey',
  'recoveryKey',
  'crossSigning',
  'keyBackup',
  'trust',
];

/** Checks the options and fills in the defaults. Throws `INVALID_OPTIONS`. No message contains the secret. */
export function readEncryptionOptions(options: EncryptionOptions): EncryptionSettings {
  if (!isObject(options)) throw invalid('encryption', 'an object', options);
  assertKnownOptions('`encryption`', options, names);
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
  return { ...options, users, decryptionTimeoutMs, identity: readIdentity(options) };
}

const noKey = (): undefined => undefined;

function readIdentity(options: EncryptionOptions): IdentitySettings {
  const { onRecoveryKey, recoveryKey } = options;
  for (const [name, callback] of Object.entries({ onRecoveryKey, recoveryKey })) {
    if (callback !== undefined && typeof callback !== 'function')
      throw invalid(`encryption.${name}`, 'a function', callback);
  }
  const hasVault = onRecoveryKey !== undefined && recoveryKey !== undefined;
  const { crossSigning = hasVault } = options;
  const { keyBackup = crossSigning, trust = crossSigning ? 'cross-signed' : 'all' } = options;
  for (const [name, value] of Object.entries({ crossSigning, keyBackup })) {
    if (typeof value !== 'boolean') throw invalid(`encryption.${name}`, 'a boolean', value);
  }
  const allowed: readonly string[] = crossSigning ? ['all', 'cross-signed', 'verified'] : ['all'];
  if (!allowed.includes(trust))
    throw invalid('encryption.trust', `${allowed.join(', ')} (other values need crossSigning)`, trust);
  if ((crossSigning || keyBackup) && !hasVault) {
    throw invalid('encryption.onRecoveryKey', 'given with recoveryKey, for crossSigning and keyBackup', undefined);
  }
  return { crossSigning, keyBackup, trust, onRecoveryKey: onRecoveryKey ?? noKey, recoveryKey: recoveryKey ?? noKey };
}

function invalid(name: string, expected: string, got: unknown): MatrixClientManagerError {
  const value = typeof got === 'number' ? got : describe(got);
  return new MatrixClientManagerError('INVALID_OPTIONS', `expected \`${name}\` to be ${expected}, got ${value}`);
}
