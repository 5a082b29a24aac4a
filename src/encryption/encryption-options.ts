import { assertKnownOptions } from '../core/call-options.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { isObject } from '../core/raw-event.js';
import type { CryptoStoreOptions } from './crypto-store-options.js';
import { normalizeCryptoStoreOptions } from './crypto-store-options.js';
import type { IdentitySettings, TrustPolicy } from './identity/identity-options.js';

/** End-to-end encryption for a manager's users: where their keys are kept, and who gets it. */
export interface EncryptionOptions extends Pick<
  CryptoStoreOptions,
  'path' | 'secret' | 'counterPath' | 'onCorruption'
> {
  /** Whether a user's client has encryption. Must always say the same of a user. @default everybody's has */
  readonly users?: (userId: string) => boolean;
  /**
   * Takes a user's new recovery key, which opens everything of theirs, into safe keeping; has 30 seconds. Called before
   * anything relies on the key, and again when that failed: keep the last one. Together with `recoveryKey` it gives
   * users an identity: cross-signing keys, secret storage and a key backup. @default none
   */
  readonly onRecoveryKey?: IdentitySettings['onRecoveryKey'];
  /** Gives the user's recovery key, or undefined where there is none, on a new device; has 30 seconds. @default none */
  readonly recoveryKey?: IdentitySettings['recoveryKey'];
  /** Whether users get cross-signing keys. @default true with `onRecoveryKey` and `recoveryKey`, else false */
  readonly crossSigning?: boolean;
  /** Whether users' keys are backed up at the homeserver. @default as crossSigning */
  readonly keyBackup?: boolean;
  /**
   * Which devices get room keys: all of them, those that their owner has cross-signed, or those that the sender has
   * verified. @default 'cross-signed' with cross-signing, else 'all'
   */
  readonly trust?: TrustPolicy;
  /** How long callbacks wait for an event whose key has not come, in milliseconds. @default 30_000 */
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

/** Checks the options and fills in the defaults. Throws `INVALID_OPTIONS`; the secret is in no message. */
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

const none = (): undefined => undefined;

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
    throw invalid('encryption.trust', `${allowed.join(', ')} (others need crossSigning)`, trust);
  if ((crossSigning || keyBackup) && !hasVault) {
    throw invalid('encryption.onRecoveryKey', 'given, and recoveryKey, for crossSigning and keyBackup', undefined);
  }
  return { crossSigning, keyBackup, trust, onRecoveryKey: onRecoveryKey ?? none, recoveryKey: recoveryKey ?? none };
}

function invalid(name: string, expected: string, got: unknown): MatrixClientManagerError {
  const value = typeof got === 'number' ? got : describe(got);
  return new MatrixClientManagerError('INVALID_OPTIONS', `expected \`${name}\` to be ${expected}, got ${value}`);
}
