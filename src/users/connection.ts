import type { CallbackOptions, ClientCallback } from '../callbacks/callback.js';
import type { ClientState } from './client-state.js';
import type { CallOptions } from '../core/call-options.js';
import { MatrixClientManagerError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { checkArgument, checkListener, functionOf } from '../core/validation.js';
import type { GetRoomMessagesOptions } from '../messages/get-room-messages-options.js';
import type { MessagePage } from '../messages/page-request.js';

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
  /**
   * Registers a callback for the user's events, as `manager.addCallback()` does, until the connection is closed. Returns a
   * function that removes it. Throws `ABORTED` if the connection is closed, and `INVALID_OPTIONS`.
   */
  addCallback(callback: ClientCallback, options?: CallbackOptions): () => void;
  /** A page of a room's messages, as `manager.getRoomMessages()` reads it for the connection's user. */
  getRoomMessages(options: Omit<GetRoomMessagesOptions, 'userId'>): Promise<MessagePage>;
  /** The ids of the rooms that the user has joined, as the homeserver lists them. */
  getJoinedRooms(options?: CallOptions): Promise<string[]>;
  /** Removes the connection's callbacks, and no longer keeps the client running. Idempotent. */
  close(): Promise<void>;
}

/** What the connections of a user share. */
export interface ConnectionStatus {
  readonly userId: string;
  state: ConnectionState;
  error: MatrixClientManagerError | undefined;
}

/** The calls that a connection makes for its user. */
export interface ConnectionCalls {
  addCallback(userId: string, callback: ClientCallback, options?: CallbackOptions): () => void;
  getRoomMessages(options: GetRoomMessagesOptions & { readonly userId: string }): Promise<MessagePage>;
  getJoinedRooms(userId: string, options?: CallOptions): Promise<string[]>;
}

/** A connection as the manager makes it. */
export class ManagedConnection implements Connection {
  readonly #status: ConnectionStatus;
  readonly #calls: ConnectionCalls;
  readonly #logger: Logger;
  readonly #release: () => void;
  /** Wrapped in objects, so that a function that is added twice is called twice. */
  readonly #listeners = new Set<{ readonly listener: ConnectionEvents['stateChanged'] }>();
  readonly #removeCallbacks = new Set<() => void>();
  #isClosed = false;

  /** @param release - ends the hold on the client; called once, when the connection is closed */
  constructor(status: ConnectionStatus, calls: ConnectionCalls, logger: Logger, release: () => void) {
    this.#status = status;
    this.#calls = calls;
    this.#logger = logger;
    this.#release = release;
  }

  get userId(): string {
    return this.#status.userId;
  }

  get state(): ConnectionState {
    return this.#isClosed ? 'closed' : this.#status.state;
  }

  get error(): MatrixClientManagerError | undefined {
    return this.#isClosed ? undefined : this.#status.error;
  }

  on<Name extends keyof ConnectionEvents>(name: Name, listener: ConnectionEvents[Name]): () => void {
    checkListener(['stateChanged'], name, listener);
    const entry = { listener };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  addCallback(callback: ClientCallback, options?: CallbackOptions): () => void {
    checkArgument('callback', functionOf(), callback);
    if (this.#isClosed) {
      const { userId } = this;
      throw new MatrixClientManagerError('ABORTED', 'addCallback() failed: the connection is closed', { userId });
    }
    // A new function per call: the registry would merge two registrations of the same function into one.
    const remove = this.#calls.addCallback(this.userId, (...args) => callback(...args), options);
    this.#removeCallbacks.add(remove);
    return () => {
      if (this.#removeCallbacks.delete(remove)) remove();
    };
  }

  async getRoomMessages(options: Omit<GetRoomMessagesOptions, 'userId'>): Promise<MessagePage> {
    return this.#calls.getRoomMessages({ ...options, userId: this.userId });
  }

  async getJoinedRooms(options?: CallOptions): Promise<string[]> {
    return this.#calls.getJoinedRooms(this.userId, options);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    const from = this.state;
    this.#isClosed = true;
    for (const remove of this.#removeCallbacks) remove();
    this.#removeCallbacks.clear();
    this.#release();
    this.notify({ from, to: 'closed' });
    this.#listeners.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Calls the listeners. */
  notify(change: ConnectionStateChange): void {
    for (const { listener } of this.#listeners) {
      (async () => listener(change))().catch((err: unknown) => {
        this.#logger.error({ userId: this.userId, err }, 'a listener of a connection failed');
      });
    }
  }
}
