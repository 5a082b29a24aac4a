import type { MatrixClientManagerError } from '../core/errors.js';
import type { RestoreProgress, TrustPolicy } from './identity/identity-options.js';

/** How a user's encryption stands on the device of their client. */
export interface EncryptionStatus {
  readonly userId: string;
  readonly deviceId: string;
  /** The device's fingerprint, as other clients show it. */
  readonly ed25519: string;
  /** The key that others encrypt to the device with. */
  readonly curve25519: string;
  /** Whether the device is signed by the user's cross-signing keys, as others see it. */
  readonly crossSigned: boolean;
  /** Whether everything is in secret storage that a new device needs, as last seen. */
  readonly secretStorage: boolean;
  readonly backup: BackupStatus;
  readonly trust: TrustPolicy;
  /** Whether something waits for a recovery key that the application did not give: it works, but without history. */
  readonly recoveryKeyNeeded: boolean;
  /** Why cross-signing, secret storage or backup is not as configured. Tried again at the client's next start. */
  readonly failure?: MatrixClientManagerError;
}

export interface BackupStatus {
  /** The version that keys are stored in; undefined where there is none that this device can trust. */
  readonly version: string | undefined;
  readonly enabled: boolean;
  /** Keys that are still to be stored; undefined without a backup. */
  readonly remaining: number | undefined;
  /** What this device has got from it, where it was restored since the client's start. */
  readonly restored?: RestoreProgress;
}

/** What a user's client knows of another user, or of their own other devices. */
export interface UserVerification {
  readonly userId: string;
  /** Whether the user has cross-signing keys. */
  readonly hasIdentity: boolean;
  /** Whether the client's user has verified them. */
  readonly verified: boolean;
  /** Whether their cross-signing keys have changed since they were first seen, and nobody has approved of that. */
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
