import type { ClientState } from './client-state.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import type { Logger } from '../core/logger.js';

/**
 * How the client of a connection is: `live` or `reconnecting`, `starting` or `failed` (and about to be started again),
 * `stopped` by `stopClient`, `loggedOut` because its token is dead and cannot be renewed or its account is deactivated;
 * `closed` is the connection.
 */
export type ConnectionState = Exclude<ClientState, 'stopping'> | 'loggedOut' | 'closed';

/** A change of a connection's state. */
export interface ConnectionStateChange {
  readonly from: ConnectionState;
  readonly to: ConnectionState;
  /** Why it is `failed` or `loggedOut`. */
  readonly error?: MatrixClientManagerError;
}

/** What a connection tells, by name. */
export interface ConnectionEvents {
  /** The connection went from one state to another. */
  stateChanged: (change: ConnectionStateChange) => void;
}

/** Somebody watches: while one is open, the user's client is kept up. Made by `manager.connect()`. */
export interface Connection extends AsyncDisposable {
  readonly userId: string;
  readonly state: ConnectionState;
  /** Why it is `failed` or `loggedOut`; undefined in other states. */
  readonly error: MatrixClientManagerError | undefined;
  /** Calls `listener` at each change; one that throws is logged and harms nobody. Returns what undoes it. */
  on<Name extends keyof ConnectionEvents>(name: Name, listener: ConnectionEvents[Name]): () => void;
  /** Lets go of the client, and of the callback, which gets no further event. Idempotent. */
  close(): Promise<void>;
}

export interface OpenConnectionOptions {
  readonly userId: string;
  readonly state: ConnectionState;
  readonly logger: Logger;
  readonly onClosed: () => void;
}

export class OpenConnection implements Connection {
  readonly userId: string;
  readonly #options: OpenConnectionOptions;
  readonly #listeners = new Set<{ readonly tell: ConnectionEvents['stateChanged'] }>();
  #state: ConnectionState;
  #error: MatrixClientManagerError | undefined;

  constructor(options: OpenConnectionOptions) {
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
    if (name !== 'stateChanged') throw invalid(`a connection has no event ${describe(name)}, but stateChanged`);
    if (typeof listener !== 'function') throw invalid('expected a listener to be a function');
    const entry = { tell: listener };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  /** Tells that the client is in another state now. */
  change(to: ConnectionState, error?: MatrixClientManagerError): void {
    const from = this.#state;
    if (from === to || from === 'closed') return;
    this.#state = to;
    this.#error = error;
    for (const { tell } of this.#listeners) void this.#tell(tell, { from, to, ...(error && { error }) });
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#options.onClosed();
    this.change('closed');
    this.#listeners.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #tell(tell: ConnectionEvents['stateChanged'], change: ConnectionStateChange): Promise<void> {
    try {
      await (tell(change) as unknown);
    } catch (err) {
      this.#options.logger.error({ userId: this.userId, err }, 'a listener of a connection failed');
    }
  }
}

function invalid(message: string): MatrixClientManagerError {
  return new MatrixClientManagerError('INVALID_OPTIONS', message);
}
