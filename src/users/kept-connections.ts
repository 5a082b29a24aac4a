import type { CallbackRegistry } from '../callbacks/callback-registry.js';
import type { ClientRegistry } from './client-registry.js';
import type { ClientState, StopReason } from './client-state.js';
import type { Clock, TimerHandle } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { retryDelayMs } from '../http/retry.js';
import { OpenConnection } from './connection.js';
import type { ConnectionState } from './connection.js';
import type { ConnectOptions } from './connect-options.js';

export interface KeptConnectionsOptions {
  readonly registry: ClientRegistry;
  readonly callbacks: CallbackRegistry;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Between two starts of a client that fails. */
const BACKOFF = { baseDelayMs: 1_000, maxDelayMs: 300_000 };
/** A client that was live for this long has recovered, in milliseconds: its next failure is the first one again. */
const RECOVERED_MS = 60_000;

/** A user with open connections. */
interface ConnectedUser {
  readonly connections: Set<OpenConnection>;
  /** Fires when the last connection is closed. */
  readonly left: AbortController;
  state: ConnectionState;
  /** Whether a first start has been through: before, a failure is the caller's of `open()`. */
  established: boolean;
  failures: number;
  liveSince: number;
  timer: TimerHandle;
}

/**
 * The open connections. While a user has one, their client is held, and started again when it has failed. One that was
 * stopped, or whose user is logged out, is not: the connection then follows whoever starts it.
 */
export class KeptConnections {
  readonly #options: KeptConnectionsOptions;
  readonly #users = new Map<string, ConnectedUser>();

  constructor(options: KeptConnectionsOptions) {
    this.#options = options;
  }

  /** Resolves when the user's client is live. Rejects as a start does, and leaves nothing then. */
  async open({ userId, callback, signal, ...filter }: ConnectOptions): Promise<OpenConnection> {
    const { registry, callbacks, logger } = this.#options;
    // A function of its own, since a callback that is registered twice gets each event once.
    const removeCallback = callback && callbacks.add(userId, (...args) => callback(...args), filter);
    const hold = registry.hold(userId);
    const user = this.#watched(userId);
    const connection: OpenConnection = new OpenConnection({
      userId,
      state: user.state,
      logger,
      onClosed: () => {
        removeCallback?.();
        user.connections.delete(connection);
        if (user.connections.size === 0) this.#leave(userId, user);
        hold[Symbol.dispose]();
      },
    });
    user.connections.add(connection);
    try {
      await registry.start(userId, {}, signal);
      user.established = true;
      return connection;
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  /** How many are open. */
  get size(): number {
    let size = 0;
    for (const { connections } of this.#users.values()) size += connections.size;
    return size;
  }

  /** The user's client is in another state. @param error - why it has failed */
  clientChanged(userId: string, to: ClientState, error: MatrixClientManagerError | undefined): void {
    const user = this.#users.get(userId);
    if (!user || to === 'stopping' || to === 'stopped') return; // of a stop clientStopped() tells
    this.#cancel(user);
    if (to === 'failed') return this.#failed(userId, user, error);
    if (to === 'live' && user.state !== 'reconnecting') user.liveSince = this.#options.clock.now();
    this.#enter(user, to);
  }

  /** The user's client has stopped. */
  clientStopped(userId: string, reason: StopReason, error: MatrixClientManagerError | undefined): void {
    const user = this.#users.get(userId);
    if (!user || reason === 'failed') return; // of which clientChanged() tells
    this.#enter(user, reason === 'loggedOut' ? 'loggedOut' : 'stopped', reason === 'loggedOut' ? error : undefined);
  }

  /** Somebody wants the client stopped: it is not started again by its connections. */
  stopRequested(userId: string): void {
    const user = this.#users.get(userId);
    if (!user || this.#options.registry.has(userId)) return;
    this.#cancel(user);
    this.#enter(user, 'stopped');
  }

  /** Closes every connection; to be called when the clients have stopped, so that no event passes a callback by. */
  async close(): Promise<void> {
    const connections = [...this.#users.values()].flatMap((user) => [...user.connections]);
    await Promise.all(connections.map((connection) => connection.close()));
  }

  #watched(userId: string): ConnectedUser {
    const known = this.#users.get(userId);
    if (known) return known;
    const user: ConnectedUser = {
      connections: new Set(),
      left: new AbortController(),
      state: stateOf(this.#options.registry.info(userId)?.state),
      established: false,
      failures: 0,
      liveSince: this.#options.clock.now(),
      timer: undefined,
    };
    this.#users.set(userId, user);
    return user;
  }

  #leave(userId: string, user: ConnectedUser): void {
    this.#cancel(user);
    this.#users.delete(userId);
    user.left.abort();
  }

  #failed(userId: string, user: ConnectedUser, error: MatrixClientManagerError | undefined): void {
    if (isManagerError(error, 'ABORTED')) return this.#enter(user, 'stopped'); // a start that a stop has ended
    if (isLasting(error)) return this.#enter(user, 'loggedOut', error);
    const { clock, logger } = this.#options;
    const wasUp = user.state === 'live' || user.state === 'reconnecting';
    if (wasUp && clock.now() - user.liveSince >= RECOVERED_MS) user.failures = 0;
    this.#enter(user, 'failed', error);
    // A listener may have closed the last connection just now.
    if (user.left.signal.aborted || !user.established || isManagerError(error, 'MANAGER_CLOSED')) return;
    const delayMs = retryDelayMs(error, ++user.failures, BACKOFF);
    logger.warn({ userId, err: error, delayMs }, 'the client of a connected user failed; starting it again');
    user.timer = clock.setTimeout(() => {
      user.timer = undefined;
      this.#options.registry.start(userId, {}, user.left.signal).catch(() => {}); // told by clientChanged()
    }, delayMs);
  }

  #cancel(user: ConnectedUser): void {
    this.#options.clock.clearTimeout(user.timer);
    user.timer = undefined;
  }

  #enter(user: ConnectedUser, state: ConnectionState, error?: MatrixClientManagerError): void {
    user.state = state;
    for (const connection of user.connections) connection.change(state, error);
  }
}

function stateOf(state: ClientState | undefined): ConnectionState {
  return state === undefined || state === 'stopping' ? 'stopped' : state;
}

/** Whether the start would fail again, until somebody gives the user a session. */
function isLasting(error: MatrixClientManagerError | undefined): boolean {
  return isManagerError(error, 'UNKNOWN_TOKEN', 'USER_DEACTIVATED', 'CLIENT_NOT_STARTED');
}
