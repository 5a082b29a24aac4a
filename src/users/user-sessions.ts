import type { CallbackRegistry } from '../callbacks/callback-registry.js';
import { ClientRegistry } from './client-registry.js';
import type { ClientHooks, StartCredentials } from './client-registry.js';
import type { ClientInfo, ClientState, StopReason } from './client-state.js';
import { orAborted, orTimeout } from '../core/abort.js';
import type { Credentials } from '../core/credentials.js';
import type { Trace } from '../core/diagnostics.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { runAllSteps } from '../core/run-all-steps.js';
import { singleProcessClaims } from '../core/ports/claim.js';
import type { Claim, TakeClaim } from '../core/ports/claim.js';
import type { SessionEngine } from '../core/ports/user-engine.js';
import type { UserEncryption } from '../sdk/crypto/user-encryption.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import type { MatrixClient } from '../sdk/matrix-client.js';
import type { Accounts } from '../provisioning/accounts.js';
import type { ConnectionCalls } from './connection.js';
import { OpenConnections } from './open-connections.js';
import type { Encryption } from './encryption.js';
import { isLostDevice } from './encryption.js';
import type { UserEventSink } from './user-events.js';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import type { CreateEngine } from './session-engine.js';
import { UserSession } from './user-session.js';
import type { UserSessionOptions } from './user-session.js';
import type { StartClientOptions } from './start-client-options.js';
import type { UserSettings } from './user-settings.js';

export interface UserSessionsOptions {
  readonly settings: UserSettings;
  /** Called at each start. */
  readonly loadEngines: () => Promise<CreateEngine>;
  readonly accounts: Accounts;
  readonly callbacks: CallbackRegistry;
  readonly connectionCalls: ConnectionCalls;
  readonly encryption: Encryption | undefined;
  readonly events: UserEventSink;
  readonly lifecycle: ManagerLifecycle;
  /** @default {@link singleProcessClaims} */
  readonly takeClaim?: TakeClaim;
}

/** How long a failed start waits until what it has opened is closed, in milliseconds. */
const CLOSE_TIMEOUT_MS = 10_000;

/**
 * Creates and removes the users' sessions.
 *
 * This file is a little long because a failed start has to close exactly what it has opened so far.
 */
export class UserSessions {
  readonly registry: ClientRegistry<UserSession>;
  readonly connections: OpenConnections;
  readonly #context: HomeserverContext;
  readonly #options: UserSessionsOptions;
  readonly #sessions = new Map<string, UserSession>();
  /** What still ends of stopped clients, also of those that a new client has replaced; with their users. */
  readonly #removals = new Map<Promise<void>, string>();
  readonly #takeClaim: TakeClaim;
  /** The traces of starts that have not ended. */
  readonly #starts = new Map<string, Trace<'clientStart'>>();

  constructor(context: HomeserverContext, options: UserSessionsOptions) {
    this.#context = context;
    this.#options = options;
    this.#takeClaim = options.takeClaim ?? singleProcessClaims();
    const { settings, events, connectionCalls } = options;
    this.registry = new ClientRegistry(context, {
      ...settings,
      create: (userId, startCredentials, hooks, signal) => this.#create(userId, startCredentials, hooks, signal),
      onStateChanged: (userId, from, to) => {
        context.logger.debug({ userId, from, to }, 'client state changed');
        this.#traceStart(userId, from, to);
        events.emit('clientStateChanged', { userId, from, to });
        this.connections.clientChanged(userId, to, this.registry.info(userId)?.error);
      },
      onStarted: (userId) => events.emit('clientStarted', { userId }),
      onStopped: (userId, reason, error) => this.#onStopped(userId, reason, error),
    });
    this.connections = new OpenConnections(context, { registry: this.registry, calls: connectionCalls });
  }

  /** Registers the callbacks, and starts the user's client. */
  async start({ userId, accessToken, deviceId, callbacks = [], signal }: StartClientOptions): Promise<ClientInfo> {
    const { callbacks: registered, lifecycle } = this.#options;
    for (const callback of callbacks) {
      if (!registered.has(userId, callback)) registered.add(userId, callback);
    }
    await lifecycle.untilCallsAborted(this.registry.start(userId, { accessToken, deviceId }, signal));
    return this.registry.info(userId) as ClientInfo;
  }

  /** Call this when a callback was registered for the user, or their last one was removed. */
  callbacksChanged(userId: string): void {
    this.#sessions.get(userId)?.callbacksChanged();
  }

  /** Call this when a callback for the events of several users was registered or removed. */
  managerCallbacksChanged(): void {
    for (const userSession of this.#sessions.values()) userSession.callbacksChanged();
  }

  /** Stops the user's client; open connections do not restart it. Resolves to whether there was a client. */
  async stop(userId: string): Promise<boolean> {
    try {
      return await this.registry.stop(userId);
    } finally {
      this.connections.stopRequested(userId);
    }
  }

  /**
   * Waits for stops that were called from inside a callback. Skips those of the calling callback: it would wait for
   * itself.
   */
  async waitForDeferredStops(): Promise<void> {
    for (const [removal, userId] of this.#removals) {
      if (!this.#options.callbacks.isInsideCallback(userId)) await removal;
    }
    this.#sessions.clear();
  }

  /**
   * If a stop was called from inside a callback of the user, runs `work` when that stop has ended. Otherwise does
   * nothing, because the caller has already done the work.
   */
  repeatAfterDeferredStop(userId: string, work: () => Promise<void>): void {
    const userSession = this.#sessions.get(userId);
    if (!userSession?.deferredStop) return;
    userSession.deferredStop = userSession.deferredStop.then(work).catch((error: unknown) => {
      this.#context.logger.error({ userId, err: error }, 'the work after the stop of a client failed');
    });
  }

  async #create(
    userId: string,
    startCredentials: StartCredentials,
    hooks: ClientHooks,
    signal: AbortSignal,
  ): Promise<UserSession> {
    const { accounts, callbacks, loadEngines } = this.#options;
    const operation = `starting ${userId}`;
    const createEngine = loadEngines(); // takes time at the first start: goes on while the credentials are checked
    createEngine.catch(() => {}); // awaited in #openSession()
    const deferredStop = callbacks.isInsideCallback(userId) ? undefined : this.#sessions.get(userId)?.deferredStop;
    if (deferredStop) await orAborted(deferredStop, signal, operation);
    const credentials = await orAborted(accounts.credentialsFor(userId, startCredentials, signal), signal, operation);
    let userSession: UserSession;
    try {
      userSession = await this.#openSession(credentials, createEngine, hooks, signal);
    } catch (error) {
      if (!isLostDevice(error)) throw error;
      const replaced = await orAborted(this.#replaceDevice(credentials, error), signal, operation);
      userSession = await this.#openSession(replaced, createEngine, hooks, signal);
    }
    this.#sessions.set(userId, userSession);
    return userSession;
  }

  /** Opens what the session needs, and the session. After a failure nothing of it is left open. */
  async #openSession(
    credentials: Credentials,
    createEngine: Promise<CreateEngine>,
    hooks: ClientHooks,
    signal: AbortSignal,
  ): Promise<UserSession> {
    const { settings, accounts, callbacks, events } = this.#options;
    const { userId } = credentials;
    const operation = `starting ${userId}`;
    const create = await orAborted(createEngine, signal, operation);
    const claim = await orAborted(this.#takeClaim(userId), signal, operation);
    const stored = await orAborted(settings.storage.loadCheckpoint(userId), signal, operation);
    const session = accounts.session(credentials);
    const encryption = await this.#loadEncryption(credentials, claim, signal);
    const wantsPresence = (): boolean => callbacks.wantsPresence(userId);
    const user = { ...hooks, credentials, session, stored, encryption, wantsPresence };
    const onGap: UserSessionOptions['onGap'] = (gap) => events.emit('gap', gap);
    let engine: SessionEngine<MatrixClient> | undefined;
    let userSession: UserSession;
    try {
      engine = create(user);
      userSession = new UserSession(this.#context, { ...user, engine, claim, settings, callbacks, onGap });
    } catch (error) {
      await this.#close(userId, [() => engine?.stop(), () => encryption?.close()]);
      throw error;
    }
    if (encryption) await userSession.openEncryption(signal);
    return userSession;
  }

  /** Loads the keys of the user's device, if they have encryption. */
  async #loadEncryption(
    credentials: Credentials,
    claim: Claim,
    signal: AbortSignal,
  ): Promise<UserEncryption | undefined> {
    const { encryption } = this.#options;
    const { userId } = credentials;
    if (!encryption?.isFor(userId)) return undefined;
    const loading = encryption.load(credentials, claim);
    try {
      return await orAborted(loading, signal, `starting ${userId}`);
    } catch (error) {
      // The keys are still being loaded. The next client of the device cannot open them before they are closed.
      if (signal.aborted) await this.#close(userId, [async () => (await loading.catch(() => undefined))?.close()]);
      throw error;
    }
  }

  /** Closes what a failed start has opened, within `CLOSE_TIMEOUT_MS`. Never rejects: the start's own error matters. */
  async #close(userId: string, steps: readonly (() => unknown)[]): Promise<void> {
    const { clock, logger } = this.#context;
    const operation = `closing the failed client of ${userId}`;
    const message = `${operation} took longer than ${CLOSE_TIMEOUT_MS} ms`;
    const timeoutError = (): MatrixClientManagerError => new MatrixClientManagerError('TIMEOUT', message, { userId });
    await orTimeout(runAllSteps(steps, operation), clock, CLOSE_TIMEOUT_MS, timeoutError).catch((err: unknown) => {
      logger.error({ userId, err }, 'closing a client whose start failed has failed');
    });
  }

  /** Gives the user a new device. Keys that were damaged or rolled back must never be used again. */
  async #replaceDevice(oldCredentials: Credentials, error: MatrixClientManagerError): Promise<Credentials> {
    const { accounts, events } = this.#options;
    const { logger } = this.#context;
    const { userId, deviceId: oldDeviceId } = oldCredentials;
    logger.error(
      { userId, deviceId: oldDeviceId, err: error },
      'the keys of a device are unusable; replacing the device',
    );
    // With a mismatch the store holds keys of another device, so the old device may be in use elsewhere: keep it.
    const logOut = error.code !== 'ENCRYPTION_DEVICE_MISMATCH';
    const credentials = await accounts.replaceDevice(oldCredentials, logOut).catch((failure: unknown) => {
      if (isManagerError(failure, 'UNSUPPORTED')) throw error; // its message names the remedy
      throw failure;
    });
    const { deviceId } = credentials;
    logger.warn({ userId, deviceId, oldDeviceId }, 'the user has a new device');
    events.emit('deviceReplaced', { userId, deviceId, oldDeviceId, error });
    return credentials;
  }

  #traceStart(userId: string, from: ClientState, to: ClientState): void {
    if (to === 'starting') this.#starts.set(userId, this.#context.diagnostics.begin('clientStart', { userId }));
    if (from !== 'starting') return;
    const result = { resumed: this.#sessions.get(userId)?.engine.resumesFrom !== undefined };
    const { error } = this.registry.info(userId) ?? {};
    this.#starts.get(userId)?.end(to === 'failed' ? { outcome: 'failed', error, result } : { outcome: 'ok', result });
    this.#starts.delete(userId);
  }

  #onStopped(userId: string, reason: StopReason, error: MatrixClientManagerError | undefined): void {
    const { events } = this.#options;
    const { diagnostics, logger } = this.#context;
    diagnostics.publish('clientStopped', { userId, reason });
    const removal = this.#removeSession(userId).finally(() => this.#removals.delete(removal));
    this.#removals.set(removal, userId);
    const hasStopFailed = error && reason !== 'failed' && reason !== 'loggedOut';
    const fields = { userId, reason, ...(error && { err: error }) };
    if (hasStopFailed) logger.error(fields, 'client stopped');
    else logger.info(fields, 'client stopped');
    events.emit('clientStopped', { userId, reason, ...(error && { error }) });
    this.connections.clientStopped(userId, reason, error);
  }

  /** Removes the session of a stopped client; at once, or after its deferred stop and the work that follows it. */
  async #removeSession(userId: string): Promise<void> {
    const userSession = this.#sessions.get(userId);
    for (let ended: Promise<void> | undefined; ended !== userSession?.deferredStop;) {
      ended = userSession?.deferredStop;
      await ended;
    }
    if (this.#sessions.get(userId) === userSession) this.#sessions.delete(userId);
  }
}
