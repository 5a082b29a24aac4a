import type { UserEvents } from '../users/user-events.js';
import type { Credentials } from '../core/credentials.js';
import type { ClientEvent } from '../core/client-event.js';
import type { FailedSend } from '../sending/outbox.js';
import type { HomeserverState } from '../resilience/outage-detector.js';

/** The events of {@link MatrixClientManager.on}, by name. */
export interface ManagerEvents extends UserEvents {
  /**
   * A callback threw, rejected or timed out. It is called again with the event, up to `callbackAttempts` times in all.
   */
  callbackError: (event: {
    readonly userId: string;
    readonly event: ClientEvent;
    readonly error: unknown;
    readonly attempt: number;
  }) => void;
  /**
   * A callback failed `callbackAttempts` times for an event. The event is stored as a dead letter, and delivery
   * continues.
   */
  deadLetter: (event: { readonly userId: string; readonly event: ClientEvent; readonly error: unknown }) => void;
  /**
   * A user's session was renewed, or is on a new device. Replace stored credentials with these; they contain secrets.
   * Not emitted for credentials that `provisionUser` resolves with, or that the application's `credentials` returned.
   */
  credentialsChanged: (event: { readonly userId: string; readonly credentials: Credentials }) => void;
  /** The homeserver went down or is up again. While it is down, emitted again each time a probe request fails. */
  homeserverStateChanged: (event: HomeserverState) => void;
  /**
   * A message sent with `durable: true` was refused, or given up after `sendTimeoutMs`. `listSends` lists it as
   * `failed`.
   */
  sendFailed: (event: FailedSend) => void;
}
