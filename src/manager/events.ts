import type { ClientState, StopReason } from '../clients/client-state.js';
import type { Credentials } from '../core/credentials.js';
import type { ClientEvent } from '../core/client-event.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import type { Gap } from '../delivery/delivery.js';
import type { FailedSend } from '../messages/outbox.js';
import type { HomeserverState } from '../resilience/circuit-breaker.js';

/** What {@link MatrixClientManager.on} tells, by name. */
export interface ManagerEvents {
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
  /** A callback threw, or did not return in time; it gets the event again, up to `callbackAttempts` times. */
  callbackError: (event: {
    readonly userId: string;
    readonly event: ClientEvent;
    readonly error: unknown;
    readonly attempt: number;
  }) => void;
  /** A callback failed on an event as often as it may; the position moves on without it. */
  deadLetter: (event: { readonly userId: string; readonly event: ClientEvent; readonly error: unknown }) => void;
  /** A device's keys cannot be used any more; the user goes on with a new device, and `error` says why. */
  deviceReplaced: (event: {
    readonly userId: string;
    readonly deviceId: string;
    readonly oldDeviceId: string;
    readonly error: MatrixClientManagerError;
  }) => void;
  /**
   * A user's session was renewed, or is on a new device: keep these credentials in place of those before. They hold
   * secrets. Not told of what `provisionUser` resolves with, nor of what the application's `credentials` gave.
   */
  credentialsChanged: (event: { readonly userId: string; readonly credentials: Credentials }) => void;
  /** The homeserver went down or came back; told again each time a look for it fails. */
  homeserverStateChanged: (event: HomeserverState) => void;
  /** A message sent with `durable: true` was refused, or given up after `sendTimeoutMs`; `listSends` has it as `failed`. */
  sendFailed: (event: FailedSend) => void;
  /** Events are missing and could not be fetched. */
  gap: (event: Gap) => void;
}
