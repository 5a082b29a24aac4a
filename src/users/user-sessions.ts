import type { CallbackRegistry } from '../callbacks/callback-registry.js';
import { ClientRegistry } from './client-registry.js';
import type { StartCredentials } from './client-registry.js';
import type { ClientCounts, StopReason } from './client-state.js';
import { activityPolicy } from './connection-policy.js';
import { orAborted, throwIfAborted } from '../core/abort.js';
import type { Credentials } from '../core/credentials.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import { isManagerError } from '../core/errors.js';
import { assertUserId } from '../core/ids.js';
import type { UserEncryption } from '../sdk/crypto/user-encryption.js';
import type { AnswersOtherRequests } from '../http/failing-time.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { ServerVersions } from '../http/server-versions.js';
import type { Session } from '../http/session.js';
import type { Accounts } from '../provisioning/accounts.js';
import type { HomeserverGate } from '../resilience/homeserver-gate.js';
import type { Gauges } from '../telemetry/gauges.js';
import type { ManagerTelemetry } from '../telemetry/manager-telemetry.js';
import { KeptConnections } from './kept-connections.js';
import type { Encryption } from './encryption.js';
import { isLostDevice } from './encryption.js';
import type { UserEventSink } from './user-events.js';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import type { UserSession, UserSessionOptions } from './user-session.js';
import { loadUserSession } from './load-user-session.js';
import type { UserSettings } from './user-settings.js';

export interface UserSessionsOptions {
  readonly settings: UserSettings;
  readonly http: HomeserverHttp;
  readonly versions: ServerVersions;
  readonly gate: HomeserverGate;
  readonly answersOtherwise: AnswersOtherRequests;
  readonly telemetry: ManagerTelemetry;
  readonly accounts: Accounts;
  readonly callbacks: CallbackRegistry;
  readonly encryption: Encryption | undefined;
  readonly events: UserEventSink;
  readonly lifetime: ManagerLifecycle;
}

/** Who a call is made as; `live` while the user's client is up. */
export interface CallerSession {
  readonly session: Session;
  readonly live?: UserSession;
}

/**
 * The users whose clients run: how they come to be and end, and acting as one of them.
 *
 * This file is a little long because what a start has opened so far decides what its failure has to close.
 */
export class UserSessions {
  readonly registry: ClientRegistry;
  readonly connections: KeptConnections;
  readonly #options: UserSessionsOptions;
  readonly #live = new Map<string, UserSession>();
  /** What follows a stop from inside a callback. */
  readonly #afterStops = new Map<string, Promise<void>>();

  constructor(options: UserSessionsOptions) {
    this.#options = options;
    const { settings, telemetry, events } = options;
    const { logger } = settings;
    const fallbackPolicy = activityPolicy({ idleTimeoutMs: settings.idleTimeoutMs });
    this.registry = new ClientRegistry({
      ...settings,
      connectionPolicy: settings.connectionPolicy ?? fallbackPolicy,
      fallbackPolicy,
      create: (userId, given, hooks, signal) => this.#create(userId, given, hooks, signal),
      onStateChanged: (userId, from, to) => {
        logger.debug({ userId, from, to }, 'client state changed');
        const resumed = this.#live.get(userId)?.resumed ?? false;
        telemetry.clientChanged(userId, from, to, resumed, this.registry.info(userId)?.error?.code);
        events.emit('clientStateChanged', { userId, from, to });
        this.connections.clientChanged(userId, to, this.registry.info(userId)?.error);
      },
      onStarted: (userId) => events.emit('clientStarted', { userId }),
      onStopped: (userId, reason, error) => this.#stopped(userId, reason, error),
    });
    this.connections = new KeptConnections({ ...settings, registry: this.registry, callbacks: options.callbacks });
  }

  /**
   * Runs `use` with the user's client, started if needed, which is neither idle nor evicted meanwhile: also where
   * `signal` has ended the caller's wait, until `use` is done.
   */
  async leased<T>(userId: string, use: (live: UserSession) => T | Promise<T>, signal?: AbortSignal): Promise<T> {
    const { lifetime } = this.#options;
    const lease = await lifetime.rejectWhenClosed(this.registry.lease(userId, signal));
    const free = (): void => lease[Symbol.dispose]();
    const running = (async () => {
      throwIfAborted(signal, 'the call');
      return use(lease.client as UserSession);
    })();
    running.then(free, free);
    return lifetime.rejectWhenClosed(running, signal);
  }

  /**
   * Runs `use` as the user: with their client, woken if it sleeps and somebody listens to it; else with their session
   * alone. A client without callbacks would deliver to nobody.
   */
  async acting<T>(userId: string, use: (actor: CallerSession) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { accounts, callbacks, lifetime } = this.#options;
    if (this.registry.has(userId) || callbacks.count(userId) > 0) {
      return this.leased(userId, (live) => reportingFailure(live, use({ session: live.session, live })), signal);
    }
    const session = await lifetime.rejectWhenClosed(accounts.sessionOf(userId, signal), signal);
    return lifetime.rejectWhenClosed(use({ session }), signal);
  }

  /** A callback was registered for the user, or their last one removed. */
  callbacksChanged(userId: string): void {
    const live = this.#live.get(userId);
    if (this.#options.callbacks.count(userId) > 0) live?.callbackAdded();
    else live?.callbacksEmptied();
  }

  /** Who reads: the user's client, or their session without one. */
  async reader(userId: string, signal: AbortSignal): Promise<CallerSession> {
    assertUserId(userId);
    const live = this.registry.get(userId) as UserSession | undefined;
    if (live) {
      this.registry.touch(userId);
      return { session: live.session, live };
    }
    return { session: await this.#options.accounts.sessionOf(userId, signal) };
  }

  /** Stops the user's client; their connections do not start it again. Resolves to whether there was one. */
  async stop(userId: string): Promise<boolean> {
    try {
      return await this.registry.stop(userId);
    } finally {
      this.connections.stopRequested(userId);
    }
  }

  gauges(): Pick<
    Gauges,
    'resting' | 'leases' | 'openConnections' | 'syncLagMs' | 'stalledRooms' | 'incompleteClients'
  > & { readonly clients: ClientCounts } {
    const clients = { starting: 0, live: 0, reconnecting: 0, stopping: 0, failed: 0 };
    let [leases, resting, syncLagMs, stalledRooms, incompleteClients] = [0, 0, 0, 0, 0];
    for (const client of this.registry.list()) {
      if (client.state !== 'stopped') clients[client.state]++;
      leases += client.leases;
      stalledRooms += client.stalledRooms ?? 0;
      if (client.incomplete) incompleteClients++;
      if (client.state !== 'live' && client.state !== 'reconnecting') continue;
      if (client.resting) resting++;
      else syncLagMs = Math.max(syncLagMs, client.syncLagMs ?? 0);
    }
    return {
      clients,
      resting,
      leases,
      openConnections: this.connections.size,
      syncLagMs,
      stalledRooms,
      incompleteClients,
    };
  }

  /** Waits for clients that were stopped from inside a callback, but for those whose callback waits for this. */
  async settled(): Promise<void> {
    for (const [userId, live] of this.#live) {
      if (!this.#options.callbacks.isInside(userId)) await live.deferredStop;
    }
    this.#live.clear();
    for (const [userId, work] of this.#afterStops) {
      if (!this.#options.callbacks.isInside(userId)) await work;
    }
  }

  /** Runs `work` when a stop of the user's client from inside a callback is through; not at all where there is none. */
  afterStop(userId: string, work: () => Promise<void>): void {
    const late = this.#live.get(userId)?.deferredStop;
    if (!late) return;
    const done = late.then(work).catch((error: unknown) => {
      this.#options.settings.logger.error({ userId, err: error }, 'what follows the stop of a client failed');
    });
    this.#afterStops.set(userId, done);
    void done.then(() => {
      if (this.#afterStops.get(userId) === done) this.#afterStops.delete(userId);
    });
  }

  async #create(
    userId: string,
    given: StartCredentials,
    hooks: UserSessionOptions['hooks'],
    signal: AbortSignal,
  ): Promise<UserSession> {
    const { accounts, callbacks } = this.#options;
    const operation = `starting ${userId}`;
    const late = callbacks.isInside(userId) ? undefined : this.#live.get(userId)?.deferredStop;
    if (late) await orAborted(late, signal, operation);
    const prepared = Promise.all([accounts.credentialsFor(userId, given, signal), loadUserSession()]);
    const [credentials, module] = await orAborted(prepared, signal, operation);
    const make = (on: Credentials): Promise<UserSession> => this.#open(module.UserSession, on, hooks, signal);
    let live: UserSession;
    try {
      live = await make(credentials);
    } catch (error) {
      if (!isLostDevice(error)) throw error;
      live = await make(await orAborted(this.#replaceDevice(credentials, error), signal, operation));
    }
    this.#live.set(userId, live);
    return live;
  }

  async #open(
    Live: typeof UserSession,
    credentials: Credentials,
    hooks: UserSessionOptions['hooks'],
    signal: AbortSignal,
  ): Promise<UserSession> {
    const { settings, http, versions, gate, telemetry, accounts, callbacks, events } = this.#options;
    const { answersOtherwise } = this.#options;
    const { userId } = credentials;
    const stored = await orAborted(settings.storage.loadCheckpoint(userId), signal, `starting ${userId}`);
    const encryption = await this.#loadKeys(credentials, signal);
    const live = new Live({
      settings,
      http,
      versions,
      gate,
      answersOtherwise,
      telemetry,
      callbacks,
      credentials,
      session: accounts.session(credentials),
      stored,
      hooks,
      encryption,
      onGap: (gap) => events.emit('gap', gap),
    });
    if (encryption) await live.openEncryption(signal);
    return live;
  }

  /** The keys of the user's device, where they have encryption. Those that come after `signal` has fired are closed. */
  async #loadKeys(credentials: Credentials, signal: AbortSignal): Promise<UserEncryption | undefined> {
    const { encryption } = this.#options;
    const { userId } = credentials;
    if (!encryption?.isFor(userId)) return undefined;
    const loading = encryption.load(credentials);
    try {
      return await orAborted(loading, signal, `starting ${userId}`);
    } catch (error) {
      if (signal.aborted) void loading.then((late) => late.close()).catch(() => {});
      throw error;
    }
  }

  /** Keys that are lost or went back in time are never used again: the user goes on with a new device. */
  async #replaceDevice(old: Credentials, error: MatrixClientManagerError): Promise<Credentials> {
    const { accounts, settings, events } = this.#options;
    const { userId, deviceId: oldDeviceId } = old;
    settings.logger.error({ userId, deviceId: oldDeviceId, err: error }, 'the keys of a device are lost');
    // Where the keys are those of another device, this one may be in use elsewhere.
    const logOut = error.code !== 'ENCRYPTION_DEVICE_MISMATCH';
    const credentials = await accounts.replaceDevice(old, logOut).catch((failure: unknown) => {
      if (isManagerError(failure, 'UNSUPPORTED')) throw error; // which says what the caller can do
      throw failure;
    });
    const { deviceId } = credentials;
    settings.logger.warn({ userId, deviceId, oldDeviceId }, 'the user goes on with a new device');
    events.emit('deviceReplaced', { userId, deviceId, oldDeviceId, error });
    return credentials;
  }

  #stopped(userId: string, reason: StopReason, error: MatrixClientManagerError | undefined): void {
    const { settings, telemetry, events } = this.#options;
    telemetry.clientStopped(userId, reason);
    this.#forget(userId);
    const level = error && reason !== 'failed' && reason !== 'loggedOut' ? 'error' : 'info'; // it could not be ended
    settings.logger[level]({ userId, reason, ...(error && { err: error }) }, 'client stopped');
    events.emit('clientStopped', { userId, reason, ...(error && { error }) });
    this.connections.clientStopped(userId, reason, error);
  }

  /** Lets go of a stopped client, when a stop from inside a callback is through as well. */
  #forget(userId: string): void {
    const live = this.#live.get(userId);
    const forget = (): void => {
      if (this.#live.get(userId) === live) this.#live.delete(userId);
    };
    if (live?.deferredStop) void live.deferredStop.finally(forget);
    else forget();
  }
}

/** What the work comes to; the client is told of a failure. */
export async function reportingFailure<T>(live: UserSession | undefined, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    live?.requestFailed(error);
    throw error;
  }
}
