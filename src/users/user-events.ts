import type { MatrixClientManagerError } from '../core/errors.js';
import type { KeysWithheld } from '../core/withheld-keys.js';
import type { IdentityChange } from '../encryption/identity/identity-change.js';
import type { Gap } from '../delivery/gap-filler.js';
import type { VerificationRequested } from '../encryption/verification-options.js';
import type { ClientState, StopReason } from './client-state.js';

/** The manager's events about the users' clients. */
export interface UserEvents {
  /** A client has started and is live. */
  clientStarted: (event: { readonly userId: string }) => void;
  /** A client has stopped. */
  clientStopped: (event: {
    readonly userId: string;
    readonly reason: StopReason;
    readonly error?: MatrixClientManagerError;
  }) => void;
  /** A client's state changed. */
  clientStateChanged: (event: {
    readonly userId: string;
    readonly from: ClientState;
    readonly to: ClientState;
  }) => void;
  /** A device's keys are unusable, and the user was given a new device. `error` is the reason. */
  deviceReplaced: (event: {
    readonly userId: string;
    readonly deviceId: string;
    readonly oldDeviceId: string;
    readonly error: MatrixClientManagerError;
  }) => void;
  /**
   * Devices of a room do not get the keys of the user's messages, and cannot decrypt them. Emitted once for each room,
   * device and reason; again only after the device had got a key, or was not in question meanwhile.
   */
  keysWithheld: (event: KeysWithheld) => void;
  /**
   * The cross-signing keys of a user were replaced: of `userId` by another client of theirs, or of another user whose keys
   * the client knows, as `decryption.sender.identityChanged` says. Emitted once for each change, and at most once an hour
   * for each changed user.
   */
  identityChanged: (event: IdentityChange) => void;
  /** Another user, or another device of the user, asked to verify the user by comparing emoji. */
  verificationRequest: (event: VerificationRequested) => void;
  /** Events of a room are missing and could not be fetched. */
  gap: (event: Gap) => void;
}

/** Calls the manager's listeners. */
export interface UserEventSink {
  emit<Name extends keyof UserEvents>(name: Name, event: Parameters<UserEvents[Name]>[0]): void;
}
