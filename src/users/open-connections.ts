import type { ClientRegistry } from './client-registry.js';
import type { ClientState, StopReason } from './client-state.js';
import type { TimerHandle } from '../core/clock.js';
import type { Context } from '../core/context.js';
import { invalidOptions, isManagerError } from '../core/errors.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import { retryDelayMs } from '../http/retry.js';
import { ManagedConnection } from './connection.js';
import type { ConnectionCalls, ConnectionState, ConnectionStatus } from './connection.js';
import type { ConnectOptions } from './connect-options.js';

export interface OpenConnectionsOptions {
  readonly registry: ClientRegistry;
  readonly calls: ConnectionCalls;
}

/** Pauses between attempts to restart a failed client. */
const RESTART_BACKOFF = { baseDelayMs: 1_000, maxDelayMs: 300_000 };
/** After this many milliseconds live, the client's failures are counted from zero again. */
const RECOVERED_AFTER_MS = 60_000;

/** A user with open connections. */
interface ConnectedUser extends ConnectionStatus {
  readonly connections: Set<ManagedConnection>;
  /** Aborted when the user's last connection is closed. */
  readonly lastClosed: AbortController;
  /** Whether a start has succeeded. Until then `open()` reports the failure to its caller, and nothing is restarted. */
  hasStarted: boolean;
  failures: number;
  liveSince: number;
  restartTimer: TimerHandle;
}

/**
 * The open connections. While a user has one, their client keeps running and is restarted after a failure. A client
 * that was stopped or logged out is not restarted; when the application starts it again, the connection follows its
 * state.
 */
export class OpenConnections {
  readonly #context: Pick<Context, 'clock' | 'logger'>;
  readonly #options: OpenConnectionsOptions;
  readonly #users = new Map<string, ConnectedUser>();

  constructor(context: Pick<Context, 'clock' | 'logger'>, options: OpenConnectionsOptions) {
    this.#context = context;
    this.#options = options;
  }

  /**
   * Resolves when the user's client is live. Rejects as {@link ClientRegistry.start} does; the connection is closed
   * then.
   */
  async open({ userId, callback, signal, ...filter }: ConnectOptions): Promise<ManagedConnection> {
    if (!callback && (filter.types ?? filter.rooms ?? filter.backlog) !== undefined) {
      const message =
        '`types`, `rooms` and `backlog` of connect() select events for its `callback`: pass a `callback` too';
      throw invalidOptions(message);
    }
    const { registry, calls } = this.#options;
    const { logger } = this.#context;
    const user = this.#connectedUser(userId);
    const connection: ManagedConnection = new ManagedConnection(user, calls, logger, () => {
      user.connections.delete(connection);
      if (user.connections.size === 0) this.#removeUser(user);
      registry.connectionClosed(userId);
    });
    if (callback) connection.addCallback(callback, filter); // removed if the start fails
    registry.connectionOpened(userId);
    user.connections.add(connection);
    try {
      await registry.start(userId, {}, signal);
      user.hasStarted = true;
      return connection;
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  /** How many connections are open. */
  get size(): number {
    let size = 0;
    for (const { connections } of this.#users.values()) size += connections.size;
    return size;
  }

  /** Call this when the user's client changes its state. @param error - the error, if `to` is `failed` */
  clientChanged(userId: string, to: ClientState, error: MatrixClientManagerError | undefined): void {
    const user = this.#users.get(userId);
    if (!user || to === 'stopping' || to === 'stopped') return; // clientStopped() handles stops
    this.#cancelRestart(user);
    if (to === 'failed') return this.#onClientFailed(user, error);
    if (to === 'live' && user.state !== 'reconnecting') user.liveSince = this.#context.clock.now();
    this.#setState(user, to);
  }

  /** Call this when the user's client has stopped. */
  clientStopped(userId: string, reason: StopReason, error: MatrixClientManagerError | undefined): void {
    const user = this.#users.get(userId);
    if (!user || reason === 'failed') return; // clientChanged() handles failures
    this.#setState(user, reason === 'loggedOut' ? 'loggedOut' : 'stopped', reason === 'loggedOut' ? error : undefined);
  }

  /** Call this after a stop that the application requested: a pending restart is cancelled. */
  stopRequested(userId: string): void {
    const user = this.#users.get(userId);
    if (!user || this.#options.registry.has(userId)) return;
    this.#cancelRestart(user);
    this.#setState(user, 'stopped');
  }

  /**
   * Closes every connection. Call it after the clients have stopped; earlier, events would miss the removed callbacks.
   */
  async close(): Promise<void> {
    const connections = [...this.#users.values()].flatMap((user) => [...user.connections]);
    await Promise.all(connections.map((connection) => connection.close()));
  }

  #connectedUser(userId: string): ConnectedUser {
    const known = this.#users.get(userId);
    if (known) return known;
    const user: ConnectedUser = {
      userId,
      connections: new Set(),
      lastClosed: new AbortController(),
      state: toConnectionState(this.#options.registry.info(userId)?.state),
      error: undefined,
      hasStarted: false,
      failures: 0,
      liveSince: this.#context.clock.now(),
      restartTimer: undefined,
    };
    this.#users.set(userId, user);
    return user;
  }

  #removeUser(user: ConnectedUser): void {
    this.#cancelRestart(user);
    this.#users.delete(user.userId);
    user.lastClosed.abort();
  }

  #onClientFailed(user: ConnectedUser, error: MatrixClientManagerError | undefined): void {
    if (isManagerError(error, 'ABORTED')) return this.#setState(user, 'stopped'); // a stop aborted the start
    if (needsNewSession(error)) return this.#setState(user, 'loggedOut', error);
    const { userId } = user;
    const { clock, logger } = this.#context;
    const wasUp = user.state === 'live' || user.state === 'reconnecting';
    if (wasUp && clock.now() - user.liveSince >= RECOVERED_AFTER_MS) user.failures = 0;
    this.#setState(user, 'failed', error);
    // A listener may have closed the last connection during #setState().
    const isFinal = isManagerError(error, 'MANAGER_CLOSED', 'OWNED_ELSEWHERE');
    if (user.lastClosed.signal.aborted || !user.hasStarted || isFinal) return;
    const delayMs = retryDelayMs(error, ++user.failures, RESTART_BACKOFF);
    logger.warn({ userId, err: error, delayMs }, 'the client of a connected user failed; starting it again');
    user.restartTimer = clock.setTimeout(() => {
      user.restartTimer = undefined;
      this.#options.registry.start(userId, {}, user.lastClosed.signal).catch(() => {}); // see clientChanged()
    }, delayMs);
  }

  #cancelRestart(user: ConnectedUser): void {
    this.#context.clock.clearTimeout(user.restartTimer);
    user.restartTimer = undefined;
  }

  #setState(user: ConnectedUser, state: ConnectionState, error?: MatrixClientManagerError): void {
    const from = user.state;
    if (from === state) return;
    user.state = state;
    user.error = error;
    for (const connection of user.connections) connection.notify({ from, to: state, ...(error && { error }) });
  }
}

function toConnectionState(state: ClientState | undefined): ConnectionState {
  return state === undefined || state === 'stopping' ? 'stopped' : state;
}

/** Whether a restart would fail again until the user gets a new session. */
function needsNewSession(error: MatrixClientManagerError | undefined): boolean {
  return isManagerError(error, 'UNKNOWN_TOKEN', 'USER_DEACTIVATED', 'CLIENT_NOT_STARTED');
}
