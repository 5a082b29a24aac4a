import * as v from 'valibot';
import { invalidOptions } from '../core/errors.js';
import { flag, functionOf, oneOf, optionsOf, wholeNumber } from '../core/validation.js';
import { assertSeparateCounters, cryptoFileOptions } from './crypto-store-options.js';
import type { CryptoStoreOptions } from './crypto-store-options.js';
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

type IdentityOptions = Pick<
  EncryptionOptions,
  'onRecoveryKey' | 'recoveryKey' | 'crossSigning' | 'keyBackup' | 'trust'
>;

type CheckedOptions = Omit<EncryptionSettings, 'identity'> & IdentityOptions;

/** The schema of the option `encryption`, with the defaults. No message contains the secret. */
export const encryptionSchema = v.pipe(
  optionsOf<CheckedOptions>({
    ...cryptoFileOptions,
    counterPath: v.optional(cryptoFileOptions.counterPath),
    onCorruption: v.optional(cryptoFileOptions.onCorruption),
    users: v.optional(functionOf<EncryptionSettings['users']>(), () => () => true),
    decryptionTimeoutMs: v.nullish(wholeNumber(0), 30_000),
    onRecoveryKey: v.optional(functionOf<IdentitySettings['onRecoveryKey']>()),
    recoveryKey: v.optional(functionOf<IdentitySettings['recoveryKey']>()),
    crossSigning: v.optional(flag),
    keyBackup: v.optional(flag),
    trust: v.optional(oneOf('all', 'cross-signed', 'verified')),
  }),
  v.transform(toSettings),
);

function toSettings(options: CheckedOptions): EncryptionSettings {
  assertSeparateCounters(options);
  return { ...options, identity: toIdentity(options) };
}

const noKey = (): undefined => undefined;

function toIdentity({ onRecoveryKey, recoveryKey, ...options }: IdentityOptions): IdentitySettings {
  const hasVault = onRecoveryKey !== undefined && recoveryKey !== undefined;
  const { crossSigning = hasVault } = options;
  const { keyBackup = crossSigning, trust = crossSigning ? 'cross-signed' : 'all' } = options;
  if (trust !== 'all' && !crossSigning)
    throw invalidOptions(`\`encryption.trust\` ${trust} needs \`encryption.crossSigning\``);
  if ((crossSigning || keyBackup) && !hasVault) {
    throw invalidOptions(
      '`encryption.crossSigning` and `encryption.keyBackup` need `encryption.onRecoveryKey` and `encryption.recoveryKey`',
    );
  }
  return { crossSigning, keyBackup, trust, onRecoveryKey: onRecoveryKey ?? noKey, recoveryKey: recoveryKey ?? noKey };
}
