import type { MatrixClientManagerError } from '../core/errors.js';
import type { Gap } from '../delivery/delivery.js';
import type { ClientState, StopReason } from './client-state.js';

/** What happens to the users' clients, as the manager's listeners are told. */
export interface UserEvents {
  /** A client is live. */
  clientStarted: (event: { readonly userId: string }) => void;
  /** Nothing of a client is left. */
  clientStopped: (event: {
    readonly userId: string;
    readonly reason: StopReason;
    readonly error?: MatrixClientManagerError;
  }) => void;
  /** A client went from one state to another. */
  clientStateChanged: (event: {
    readonly userId: string;
    readonly from: ClientState;
    readonly to: ClientState;
  }) => void;
  /** A device's keys cannot be used any more; the user goes on with a new device, and `error` says why. */
  deviceReplaced: (event: {
    readonly userId: string;
    readonly deviceId: string;
    readonly oldDeviceId: string;
    readonly error: MatrixClientManagerError;
  }) => void;
  /** Events are missing and could not be fetched. */
  gap: (event: Gap) => void;
}

/** Tells the manager's listeners. */
export interface UserEventSink {
  emit<Name extends keyof UserEvents>(name: Name, event: Parameters<UserEvents[Name]>[0]): void;
}
