import { resolve } from 'node:path';
import * as v from 'valibot';
import { invalidOptions } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { checkedAs, flag, functionOf, isName, oneOf, optionsOf, wholeNumber } from '../core/validation.js';
import { fileOptions } from '../storage/sqlite-storage-options.js';
import type { CorruptionInfo } from '../storage/sqlite-storage-options.js';
import type { OnVerificationRequest } from './verification-options.js';
import type { IdentitySettings, ReceivePolicy, TrustPolicy } from './identity/identity-options.js';

/** End-to-end encryption: where keys are stored, which users have it, and how their devices are trusted. */
export interface EncryptionOptions {
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
  /**
   * What becomes of messages from devices that `trust` does not allow: `'all'` delivers them as all others; `'warn'`
   * delivers them with `decryption.warning`; `'refuse'` delivers them as failed, with the reason `untrusted-sender` and
   * without content. `'refuse'` also concerns messages whose key is from a key backup, which proves no sender. A message
   * that another user has sent than the homeserver says, or that is repeated, is failed under each policy.
   * @default 'warn'
   */
  readonly receive?: ReceivePolicy;
  /**
   * Handles a request of another user, or of another device of the user, to compare emoji. For applications with a screen.
   * May return at once, and take the steps later; a request that is not finished by its `expiresAt` is cancelled.
   * @default requests are cancelled at once, and the other side is told that no person is there
   */
  readonly onVerificationRequest?: OnVerificationRequest;
  /**
   * How long an event waits for its missing room key before callbacks get it, in milliseconds. Up to five minutes longer
   * while the homeserver still holds many messages to the device, as after a long absence: the key may be among them.
   * @default 30_000
   */
  readonly decryptionTimeoutMs?: number;
}

/** The file for the keys. */
export type KeyFileOptions = Pick<EncryptionOptions, 'path' | 'secret' | 'counterPath' | 'onCorruption'>;

export type EncryptionSettings = KeyFileOptions &
  Pick<EncryptionOptions, 'onVerificationRequest'> &
  Required<Pick<EncryptionOptions, 'users' | 'decryptionTimeoutMs'>> & { readonly identity: IdentitySettings };

type IdentityOptions = Pick<
  EncryptionOptions,
  'onRecoveryKey' | 'recoveryKey' | 'crossSigning' | 'keyBackup' | 'trust' | 'receive'
>;

type CheckedOptions = Omit<EncryptionSettings, 'identity'> & IdentityOptions;

/** The schema of the option `encryption`, with the defaults. No message contains the secret. */
export const encryptionSchema = v.pipe(
  optionsOf<CheckedOptions>({
    ...fileOptions,
    counterPath: v.optional(checkedAs<string>('the path of a separate file', isName)),
    onCorruption: v.optional(fileOptions.onCorruption),
    users: v.optional(functionOf<EncryptionSettings['users']>(), () => () => true),
    onVerificationRequest: v.optional(functionOf<OnVerificationRequest>()),
    decryptionTimeoutMs: v.nullish(wholeNumber(0), 30_000),
    onRecoveryKey: v.optional(functionOf<IdentitySettings['onRecoveryKey']>()),
    recoveryKey: v.optional(functionOf<IdentitySettings['recoveryKey']>()),
    crossSigning: v.optional(flag),
    keyBackup: v.optional(flag),
    trust: v.optional(oneOf('all', 'cross-signed', 'verified')),
    receive: v.optional(oneOf('all', 'warn', 'refuse')),
  }),
  v.transform(toSettings),
);

function toSettings(options: CheckedOptions): EncryptionSettings {
  const { path, counterPath } = options;
  if (counterPath !== undefined && resolve(counterPath) === resolve(path)) {
    throw invalidOptions(
      `expected \`encryption.counterPath\` to be the path of a separate file, got ${describe(path)}`,
    );
  }
  return { ...options, identity: toIdentity(options) };
}

const noKey = (): undefined => undefined;

function toIdentity({ onRecoveryKey, recoveryKey, ...options }: IdentityOptions): IdentitySettings {
  const storesRecoveryKeys = onRecoveryKey !== undefined && recoveryKey !== undefined;
  const { crossSigning = storesRecoveryKeys, receive = 'warn' } = options;
  const { keyBackup = crossSigning, trust = crossSigning ? 'cross-signed' : 'all' } = options;
  if (trust !== 'all' && !crossSigning)
    throw invalidOptions(`\`encryption.trust\` ${trust} needs \`encryption.crossSigning\``);
  if ((crossSigning || keyBackup) && !storesRecoveryKeys) {
    throw invalidOptions(
      '`encryption.crossSigning` and `encryption.keyBackup` need `encryption.onRecoveryKey` and `encryption.recoveryKey`',
    );
  }
  return {
    crossSigning,
    keyBackup,
    trust,
    receive,
    onRecoveryKey: onRecoveryKey ?? noKey,
    recoveryKey: recoveryKey ?? noKey,
  };
}
