import { EventEmitter } from 'eventemitter3';
import { catchRejection } from '../core/contain.js';
import { checkListener } from '../core/validation.js';
import type { Logger } from '../core/logger.js';
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

const names: readonly (keyof ManagerEvents)[] = [
  'clientStarted',
  'clientStopped',
  'clientStateChanged',
  'callbackError',
  'deadLetter',
  'gap',
  'deviceReplaced',
  'keysWithheld',
  'identityChanged',
  'verificationRequest',
  'credentialsChanged',
  'homeserverStateChanged',
  'sendFailed',
];

/** Registers the listeners of a manager's events, and calls them. */
export class EventHub {
  readonly #emitter = new EventEmitter<ManagerEvents>();
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /**
   * Returns a function that removes this listener, and no other registration of the same function. Throws
   * `INVALID_OPTIONS` for an unknown event name, and for a listener that is not a function.
   */
  on<Name extends keyof ManagerEvents>(name: Name, listener: ManagerEvents[Name]): () => void {
    checkListener(names, name, listener);
    const registration = {};
    this.#emitter.on(name, listener as never, registration);
    return () => void this.#emitter.off(name, listener as never, registration);
  }

  off<Name extends keyof ManagerEvents>(name: Name, listener: ManagerEvents[Name]): void {
    this.#emitter.off(name, listener as never);
  }

  /** Calls all listeners. One that throws or rejects is logged, and does not prevent the calls of the others. */
  emit<Name extends keyof ManagerEvents>(name: Name, event: Parameters<ManagerEvents[Name]>[0]): void {
    for (const listener of this.#emitter.listeners(name)) {
      const logFailure = (err: unknown): void =>
        this.#logger.error({ event: name, err }, 'a listener of a manager event failed');
      try {
        const returned: unknown = (listener as (event: unknown) => unknown)(event);
        if (returned !== undefined) catchRejection(returned, logFailure); // an asynchronous listener
      } catch (error) {
        logFailure(error);
      }
    }
  }

  close(): void {
    this.#emitter.removeAllListeners();
  }
}
