import type { ClientState } from './client-state.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { checkListener } from '../core/validation.js';

/**
 * The state of a connection's client. `failed`: the manager starts it again, except after `OWNED_ELSEWHERE` and
 * `MANAGER_CLOSED`. `stopped`: by `stopClient` or a shutdown. `loggedOut`: the manager has no usable credentials of the
 * user (`UNKNOWN_TOKEN`, `CLIENT_NOT_STARTED`), or the account is deactivated (`USER_DEACTIVATED`). `closed`: the
 * connection itself was closed.
 */
export type ConnectionState = Exclude<ClientState, 'stopping'> | 'loggedOut' | 'closed';

/** A change of a connection's state. */
export interface ConnectionStateChange {
  readonly from: ConnectionState;
  readonly to: ConnectionState;
  /** Why it is `failed` or `loggedOut`. */
  readonly error?: MatrixClientManagerError;
}

/** The events of a connection. */
export interface ConnectionEvents {
  /** The connection's state changed. */
  stateChanged: (change: ConnectionStateChange) => void;
}

/** Keeps the user's client running while it is open, for example for a browser tab. Made by `manager.connect()`. */
export interface Connection extends AsyncDisposable {
  readonly userId: string;
  readonly state: ConnectionState;
  /** Why it is `failed` or `loggedOut`; undefined in other states. */
  readonly error: MatrixClientManagerError | undefined;
  /** Calls `listener` at each change. An error of the listener is logged. Returns a function that removes it. */
  on<Name extends keyof ConnectionEvents>(name: Name, listener: ConnectionEvents[Name]): () => void;
  /** Removes the connection's callback, and no longer keeps the client running. Idempotent. */
  close(): Promise<void>;
}

export interface ManagedConnectionOptions {
  readonly userId: string;
  readonly state: ConnectionState;
  readonly logger: Logger;
  /** Removes the callback and the hold on the client. Called once, before the state becomes `closed`. */
  readonly release: () => void;
}

/** A connection as the manager makes and updates it. */
export class ManagedConnection implements Connection {
  readonly userId: string;
  readonly #options: ManagedConnectionOptions;
  /** Wrapped in objects, so that a function that is added twice is called twice. */
  readonly #listeners = new Set<{ readonly listener: ConnectionEvents['stateChanged'] }>();
  #state: ConnectionState;
  #error: MatrixClientManagerError | undefined;

  constructor(options: ManagedConnectionOptions) {
    this.#options = options;
    this.userId = options.userId;
    this.#state = options.state;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get error(): MatrixClientManagerError | undefined {
    return this.#error;
  }

  on<Name extends keyof ConnectionEvents>(name: Name, listener: ConnectionEvents[Name]): () => void {
    checkListener(['stateChanged'], name, listener);
    const entry = { listener };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  /** Changes the state and calls the listeners, unless the state is the same or the connection is closed. */
  setState(to: ConnectionState, error?: MatrixClientManagerError): void {
    const from = this.#state;
    if (from === to || from === 'closed') return;
    this.#state = to;
    this.#error = error;
    for (const { listener } of this.#listeners) void this.#notify(listener, { from, to, ...(error && { error }) });
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#options.release();
    this.setState('closed');
    this.#listeners.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #notify(listener: ConnectionEvents['stateChanged'], change: ConnectionStateChange): Promise<void> {
    try {
      await (listener(change) as unknown);
    } catch (err) {
      this.#options.logger.error({ userId: this.userId, err }, 'a listener of a connection failed');
    }
  }
}
