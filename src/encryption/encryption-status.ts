import type { MatrixClientManagerError } from '../core/errors.js';
import type { RestoreProgress, TrustPolicy } from './identity/identity-options.js';

/** The state of a user's encryption on the device of their client. */
export interface EncryptionStatus {
  readonly userId: string;
  readonly deviceId: string;
  /** The device's fingerprint key, as other clients show it. */
  readonly ed25519: string;
  /** The device's identity key, which other devices encrypt to. */
  readonly curve25519: string;
  /** Whether the device is signed by the user's cross-signing keys, as other users see it. */
  readonly crossSigned: boolean;
  /**
   * Whether the user's cross-signing keys were replaced by another client, and this device has not read the new ones from
   * secret storage yet.
   */
  readonly identityChanged: boolean;
  /** Whether secret storage held all secrets that a new device needs, at the last check. */
  readonly secretStorage: boolean;
  readonly backup: BackupStatus;
  readonly trust: TrustPolicy;
  /** Whether the set-up needs a recovery key that the application did not give. Earlier messages stay unreadable. */
  readonly recoveryKeyNeeded: boolean;
  /** Why cross-signing, secret storage or backup is not set up as configured. The set-up is retried. */
  readonly failure?: MatrixClientManagerError;
}

export interface BackupStatus {
  /** The version of the homeserver's backup at the last check. The device may not trust it: see `enabled`. */
  readonly version: string | undefined;
  /** Whether this device uploads its keys to the backup. */
  readonly enabled: boolean;
  /** Number of keys that are not uploaded yet; undefined without an enabled backup. */
  readonly remaining: number | undefined;
  /** Keys that this device has read from the backup, if it was restored since the client's start. */
  readonly restored?: RestoreProgress;
}

/** Whether a user's client has verified another user, or the user's own devices. */
export interface UserVerification {
  readonly userId: string;
  /** Whether the user has cross-signing keys. */
  readonly hasIdentity: boolean;
  /** Whether the client's user has verified this user. */
  readonly verified: boolean;
  /** Whether the cross-signing keys have changed since they were first seen, and the change is not approved. */
  readonly identityChanged: boolean;
  readonly devices: readonly DeviceVerification[];
}

export interface DeviceVerification {
  readonly deviceId: string;
  /** The device's fingerprint. */
  readonly ed25519: string | undefined;
  /** Whether its owner has signed it. */
  readonly crossSigned: boolean;
  /** Whether the client's user trusts it. */
  readonly verified: boolean;
}
