import * as v from 'valibot';
import { functionOf, optionsOf, signal } from '../../core/validation.js';

/**
 * Which devices of a room's members get its room keys: all devices; devices cross-signed by their owner; or devices
 * and users that the sender has verified. A device without the key cannot decrypt the messages.
 */
export type TrustPolicy = 'all' | 'cross-signed' | 'verified';

/**
 * What becomes of messages from devices that would not receive keys under the trust policy: they are delivered as all
 * others; delivered with a warning; or refused as `untrusted-sender`.
 */
export type ReceivePolicy = 'all' | 'warn' | 'refuse';

/**
 * Passes user-interactive authentication for new cross-signing keys: it calls `makeRequest(auth)`, as in
 * matrix-js-sdk. Has 30 seconds before, between and after its requests.
 */
export type AuthUploadDeviceSigningKeys = (
  makeRequest: (authData: Record<string, unknown> | null) => Promise<void>,
) => Promise<void>;

/** The application's settings for its users' cross-signing keys and key backups. */
export interface IdentitySettings {
  /** Whether the user gets cross-signing keys that sign their device. */
  readonly crossSigning: boolean;
  /** Whether the user's room keys are stored encrypted at the homeserver, for new devices. */
  readonly keyBackup: boolean;
  readonly trust: TrustPolicy;
  /** What becomes of messages from devices that `trust` does not allow. */
  readonly receive: ReceivePolicy;
  /**
   * Stores the user's new recovery key, which decrypts all their secrets. Called before the key is used. If it rejects
   * or takes longer than 30 seconds, nothing is set up. Called again after such a failure or a crash: keep the last.
   */
  readonly onRecoveryKey: (userId: string, recoveryKey: string) => void | Promise<void>;
  /**
   * Returns the stored recovery key, undefined or null if there is none. Called for a new device, and when a secret has
   * to be added to secret storage. Has 30 seconds.
   */
  readonly recoveryKey: (userId: string) => string | undefined | null | Promise<string | undefined | null>;
}

/** Progress of a restore from the key backup, in keys. */
export interface RestoreProgress {
  readonly imported: number;
  readonly total: number;
}

export interface ResetIdentityOptions {
  /** Passes the homeserver's user-interactive authentication. @default with a temporary password set by the admin */
  readonly authenticate?: AuthUploadDeviceSigningKeys | undefined;
  /** Ends the wait at once. Requests that have reached the homeserver still take effect. */
  readonly signal?: AbortSignal | undefined;
}

export const resetIdentitySchema = optionsOf<ResetIdentityOptions>({
  authenticate: v.optional(functionOf<AuthUploadDeviceSigningKeys>()),
  signal: v.optional(signal),
});
