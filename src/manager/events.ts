import type { UserEvents } from '../users/user-events.js';
import type { Credentials } from '../core/credentials.js';
import type { ClientEvent } from '../core/client-event.js';
import type { FailedSend } from '../sending/outbox.js';
import type { HomeserverState } from '../resilience/circuit-breaker.js';

/** What {@link MatrixClientManager.on} tells, by name. */
export interface ManagerEvents extends UserEvents {
  /** A callback threw, or did not return in time; it gets the event again, up to `callbackAttempts` times. */
  callbackError: (event: {
    readonly userId: string;
    readonly event: ClientEvent;
    readonly error: unknown;
    readonly attempt: number;
  }) => void;
  /** A callback failed on an event as often as it may; the position moves on without it. */
  deadLetter: (event: { readonly userId: string; readonly event: ClientEvent; readonly error: unknown }) => void;
  /**
   * A user's session was renewed, or is on a new device: keep these credentials in place of those before. They hold
   * secrets. Not told of what `provisionUser` resolves with, nor of what the application's `credentials` gave.
   */
  credentialsChanged: (event: { readonly userId: string; readonly credentials: Credentials }) => void;
  /** The homeserver went down or came back; told again each time a look for it fails. */
  homeserverStateChanged: (event: HomeserverState) => void;
  /** A message sent with `durable: true` was refused, or given up after `sendTimeoutMs`; `listSends` has it as `failed`. */
  sendFailed: (event: FailedSend) => void;
}
