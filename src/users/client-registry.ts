import { managerClosedError } from '../core/lifecycle.js';
import { orAborted, throwIfAborted, withDeadline } from '../core/abort.js';
import type { Context } from '../core/context.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import { isManagerError } from '../core/errors.js';
import { throwErrors } from '../core/run-all-steps.js';
import { EvictionOrder } from './eviction-order.js';
import {
  startFailedError,
  toClientInfo,
  isStartingOrRunning,
  startTimeoutError,
  stopFailedError,
} from './client-slot.js';
import type { ManagedClient, Phase, Slot, StartingPhase, StartingOrRunningSlot } from './client-slot.js';
import type { ClientInfo, ClientState, StopReason } from './client-state.js';
import { IdleScheduler } from './idle-scheduler.js';
import type { IdleSchedulerOptions } from './idle-scheduler.js';
import { Semaphore } from './semaphore.js';

/** Credentials that the caller passes to a start. Missing fields are looked up. */
export interface StartCredentials {
  readonly accessToken?: string | undefined;
  readonly deviceId?: string | undefined;
}

/** Callbacks through which a client reports changes to the registry. */
export interface ClientHooks {
  readonly onReachableChanged: (connected: boolean) => void;
  readonly onFatal: (error: MatrixClientManagerError) => void;
}

export type RegistryContext = Pick<Context, 'clock' | 'logger' | 'limits'>;

export interface ClientRegistryOptions<Client = ManagedClient> extends IdleSchedulerOptions {
  /** Creates a client without starting it. When `signal` fires, releases everything it opened and rejects. */
  readonly create: (
    userId: string,
    startCredentials: StartCredentials,
    hooks: ClientHooks,
    signal: AbortSignal,
  ) => Promise<Client>;
  readonly maxClients: number;
  readonly startConcurrency: number;
  readonly onStateChanged: (userId: string, from: ClientState, to: ClientState) => void;
  readonly onStarted: (userId: string) => void;
  readonly onStopped: (userId: string, reason: StopReason, error?: MatrixClientManagerError) => void;
}

/** While a lease is open, its client is not stopped as idle and not evicted. */
export interface Lease<Client> extends Disposable {
  readonly client: Client;
}

/** How many failed clients are kept for `clientInfo`. Beyond this number the oldest are deleted. */
const MAX_FAILED_CLIENTS = 1_000;

/**
 * Runs at most one client per user: starts, evicts and stops clients. Every change of a user's state goes through
 * `#setPhase`.
 *
 * This file is long because it is one state machine: to check that no start or stop can overtake another, a reader
 * has to see all of them together.
 */
export class ClientRegistry<Client extends ManagedClient = ManagedClient> {
  readonly #context: RegistryContext;
  readonly #options: ClientRegistryOptions<Client>;
  readonly #slots = new Map<string, Slot<Client>>();
  /** Open connections per user. */
  readonly #connectionCounts = new Map<string, number>();
  /** Clients that may be stopped as idle or evicted: live, without a lease and without a connection. */
  readonly #evictable = new EvictionOrder();
  /** Limits the starts to `startConcurrency`. */
  readonly #starts: Semaphore;
  /** Limits the clients to `maxClients`. To admit a start, the least recently active client is evicted. */
  readonly #capacity: Semaphore;
  /** Users whose client has failed, oldest first. Some of them may have been started again since. */
  readonly #failedUsers = new Set<string>();
  readonly #scheduler: IdleScheduler;
  #closed = false;

  /** @param context - `limits.startTimeoutMs` limits a start; time spent waiting in the queue does not count */
  constructor(context: RegistryContext, options: ClientRegistryOptions<Client>) {
    this.#context = context;
    this.#options = options;
    this.#starts = new Semaphore(options.startConcurrency);
    this.#capacity = new Semaphore(options.maxClients, () => {
      const userId = this.#evictable.first();
      return userId === undefined ? undefined : this.stop(userId, 'evicted');
    });
    this.#scheduler = new IdleScheduler(context, options, {
      activity: (userId) => this.#slots.get(userId),
      rest: (userId, pollIntervalMs) => this.get(userId)?.engine.rest(pollIntervalMs),
      wake: (userId) => this.get(userId)?.engine.wake(),
      stopIdle: (userId) => this.#stopInBackground(userId, 'idle'),
      prewarm: (userId) => this.#prewarm(userId),
      evictForMemory: () => this.#evictForMemory(),
    });
  }

  /**
   * Resolves with the user's live client. Starts a client if the user has none, joins a start that is under way, and
   * waits for a stop to end first. Replaces a client that runs on a device other than `startCredentials.deviceId`.
   * @param signal - ends the caller's wait at once; a start that has begun, or that other callers wait for, goes on
   */
  async start(userId: string, startCredentials: StartCredentials = {}, signal?: AbortSignal): Promise<Client> {
    for (;;) {
      throwIfAborted(signal, `starting ${userId}`);
      const slot = this.#ensureSlot(userId, startCredentials);
      if (slot instanceof Promise) {
        await orAborted(slot, signal, `starting ${userId}`);
        continue;
      }
      const { phase } = slot;
      if (phase.state === 'starting') return this.#joinStart(phase, userId, signal);
      if (startCredentials.deviceId === undefined || startCredentials.deviceId === phase.client.deviceId) {
        this.#recordActivity(slot);
        return phase.client;
      }
      await orAborted(this.#stopClient(slot, phase.client, 'requested'), signal, `starting ${userId}`);
    }
  }

  /** Like {@link start}, and keeps the client from being stopped as idle or evicted until the lease is disposed. */
  async lease(userId: string, signal?: AbortSignal): Promise<Lease<Client>> {
    for (;;) {
      throwIfAborted(signal, `starting ${userId}`);
      const slot = this.#ensureSlot(userId, {});
      if (slot instanceof Promise) {
        await orAborted(slot, signal, `starting ${userId}`);
        continue;
      }
      slot.leases++; // before the await: a client that just became live could otherwise be evicted at once
      this.#evictable.delete(userId);
      this.#scheduler.keepLive(userId);
      try {
        const { phase } = slot;
        const client = phase.state === 'starting' ? await this.#joinStart(phase, userId, signal) : phase.client;
        return { client, [Symbol.dispose]: () => this.#releaseLease(slot) };
      } catch (error) {
        this.#releaseLease(slot);
        throw error;
      }
    }
  }

  /**
   * Counts an open connection of the user. Until {@link connectionClosed} was called for each, the user's clients are
   * not stopped as idle, do not rest and are not evicted. {@link stop} still stops them; a client started later is
   * protected again.
   */
  connectionOpened(userId: string): void {
    this.#connectionCounts.set(userId, this.connectionCount(userId) + 1);
    this.#evictable.delete(userId);
    this.#scheduler.keepLive(userId);
  }

  connectionClosed(userId: string): void {
    const remaining = this.connectionCount(userId) - 1;
    if (remaining > 0) this.#connectionCounts.set(userId, remaining);
    else this.#connectionCounts.delete(userId);
    this.touch(userId);
    this.#capacity.evictForWaiters();
  }

  /** How many connections the user has open. */
  connectionCount(userId: string): number {
    return this.#connectionCounts.get(userId) ?? 0;
  }

  /**
   * Stops the user's client, after waiting for a start that is under way. Resolves to whether there was a client.
   * Rejects with `CLIENT_FAILED` if stopping the client threw; the registry drops the client in that case, too.
   */
  async stop(userId: string, reason: StopReason = 'requested'): Promise<boolean> {
    for (;;) {
      const slot = this.#slots.get(userId);
      if (!slot) return false;
      const { phase } = slot;
      switch (phase.state) {
        case 'failed':
          this.#slots.delete(userId);
          return false;
        case 'stopping':
          return throwIfStopFailed(await phase.stopped);
        case 'starting':
          if (phase.queued || this.#closed) phase.abort.abort();
          await phase.started.catch(() => {}); // the failure is reported to the callers of start()
          if (slot.phase.state === 'failed') {
            if (this.#slots.get(userId) === slot) this.#slots.delete(userId);
            return true;
          }
          break; // the client is live now, or another call has stopped it: look again
        default:
          return throwIfStopFailed(await this.#stopClient(slot, phase.client, reason));
      }
    }
  }

  /** Refuses new starts, ends those under way and stops every client. Rejects with the errors after all have ended. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#scheduler.close();
    const stops = await Promise.allSettled([...this.#slots.keys()].map((userId) => this.stop(userId, 'shutdown')));
    this.#slots.clear();
    const errors = stops.flatMap((stop) => (stop.status === 'rejected' ? [stop.reason as unknown] : []));
    throwErrors(errors, 'stopping the clients');
  }

  /** Records activity of the user. Returns whether the user has a client that is live or will be. */
  touch(userId: string): boolean {
    const slot = this.#slots.get(userId);
    if (!slot || !isStartingOrRunning(slot.phase.state)) return false;
    this.#recordActivity(slot);
    return true;
  }

  /** Deletes the record of the user's usual hours. Call it after their client has stopped. */
  deleteActivityHistory(userId: string): void {
    this.#scheduler.deleteActivityHistory(userId);
  }

  /** The user's client while it is live or reconnecting. */
  get(userId: string): Client | undefined {
    const phase = this.#slots.get(userId)?.phase;
    return phase?.state === 'live' || phase?.state === 'reconnecting' ? phase.client : undefined;
  }

  /** How many starts wait because of `startConcurrency` or `maxClients`. */
  get queuedStarts(): number {
    return this.#starts.waiting + this.#capacity.waiting;
  }

  /** Whether the user has a client that is live, reconnecting or starting. */
  has(userId: string): boolean {
    const slot = this.#slots.get(userId);
    return slot !== undefined && isStartingOrRunning(slot.phase.state);
  }

  info(userId: string): ClientInfo | undefined {
    const slot = this.#slots.get(userId);
    return slot && this.#info(slot);
  }

  list(): ClientInfo[] {
    return [...this.#slots.values()].map((slot) => this.#info(slot));
  }

  /** The user's slot; begins a start if there is none. While a client is stopping, the promise of that stop. */
  #ensureSlot(userId: string, startCredentials: StartCredentials): StartingOrRunningSlot<Client> | Promise<unknown> {
    if (this.#closed) throw managerClosedError();
    const slot = this.#slots.get(userId);
    if (!slot || slot.phase.state === 'failed') return this.#beginStart(userId, startCredentials);
    return slot.phase.state === 'stopping' ? slot.phase.stopped : (slot as StartingOrRunningSlot<Client>);
  }

  /**
   * The start begins after the slot is in the map and the listeners have seen `starting`, else they could see `live`
   * first.
   */
  #beginStart(userId: string, startCredentials: StartCredentials): StartingOrRunningSlot<Client> {
    const now = this.#context.clock.now();
    const stateReported = Promise.withResolvers<void>();
    const phase: StartingPhase<Client> = {
      state: 'starting',
      started: stateReported.promise.then(() => this.#runStart(slot, phase, startCredentials)),
      abort: new AbortController(),
      queued: false,
      callers: 0,
    };
    const slot: Slot<Client> = { userId, since: now, lastActivityAt: now, prewarmedAt: undefined, leases: 0, phase };
    phase.started.catch(() => {}); // every caller may have aborted its wait: no unhandled rejection then
    const from = this.#slots.has(userId) ? 'failed' : 'stopped';
    this.#slots.set(userId, slot);
    this.#options.onStateChanged(userId, from, 'starting');
    stateReported.resolve();
    return slot as StartingOrRunningSlot<Client>;
  }

  /** Waits for a start until `signal` fires. When its last caller has left, a start still in the queue is aborted. */
  async #joinStart(phase: StartingPhase<Client>, userId: string, signal: AbortSignal | undefined): Promise<Client> {
    phase.callers++;
    try {
      return await orAborted(phase.started, signal, `starting ${userId}`);
    } catch (error) {
      phase.callers--;
      if (phase.callers === 0 && phase.queued) phase.abort.abort(signal?.reason);
      throw error;
    }
  }

  async #runStart(
    slot: Slot<Client>,
    phase: StartingPhase<Client>,
    startCredentials: StartCredentials,
  ): Promise<Client> {
    const { userId } = slot;
    const { signal } = phase.abort;
    const operation = `starting ${userId}`;
    const { clock } = this.#context;
    const { startTimeoutMs: timeoutMs } = this.#context.limits;
    phase.queued = this.#capacity.isFull;
    try {
      await this.#capacity.acquire(signal, operation);
    } catch (error) {
      const failure = this.#closed ? managerClosedError() : (error as MatrixClientManagerError);
      this.#discardSlot(slot, failure);
      throw failure;
    }
    let fatal: MatrixClientManagerError | undefined;
    let created: Client | undefined;
    const hooks: ClientHooks = {
      onReachableChanged: (connected) => this.#onReachableChanged(slot, connected),
      onFatal: (error) => {
        fatal = error;
        this.#onFatalError(slot, error);
      },
    };
    try {
      const createAndStart = async (startSignal: AbortSignal): Promise<Client> => {
        created = await this.#options.create(userId, startCredentials, hooks, startSignal);
        await created.start(startSignal);
        return created;
      };
      const timeoutError = (): MatrixClientManagerError => startTimeoutError(userId, timeoutMs);
      const client = await this.#inTurn(phase, operation, () =>
        withDeadline({ clock, timeoutMs, signal }, timeoutError, createAndStart),
      );
      this.#setPhase(slot, { state: 'live', client });
      this.#trackIdleTime(slot);
      this.#options.onStarted(userId);
      if (fatal) this.#onFatalError(slot, fatal);
      this.#capacity.evictForWaiters();
      return client;
    } catch (error) {
      const failure = this.#closed ? managerClosedError() : startFailedError(error, userId);
      this.#capacity.release();
      if (created) this.#enterFailed(slot, failure);
      else this.#discardSlot(slot, failure);
      throw failure;
    }
  }

  /** Runs `start` when fewer than `startConcurrency` starts are running. Rejects at once if aborted before. */
  async #inTurn<T>(phase: StartingPhase<Client>, operation: string, start: () => Promise<T>): Promise<T> {
    phase.queued = this.#starts.isFull;
    await this.#starts.acquire(phase.abort.signal, operation);
    phase.queued = false;
    try {
      return await start();
    } finally {
      this.#starts.release();
    }
  }

  /** Stops the client. Never rejects: resolves with the error if stopping failed, else with undefined. */
  #stopClient(
    slot: Slot<Client>,
    client: Client,
    reason: StopReason,
    error?: MatrixClientManagerError,
  ): Promise<MatrixClientManagerError | undefined> {
    const { userId } = slot;
    const stateReported = Promise.withResolvers<void>();
    const stopResult = stateReported.promise
      .then(() => client.stop())
      .then(
        () => undefined,
        (cause: unknown) => stopFailedError(cause, userId),
      )
      .then((failure) => {
        this.#capacity.release();
        if (reason === 'failed' && error) this.#enterFailed(slot, error);
        else {
          this.#slots.delete(userId);
          this.#options.onStateChanged(userId, 'stopping', 'stopped');
        }
        this.#options.onStopped(userId, reason, error ?? failure);
        return failure;
      });
    this.#evictable.delete(userId);
    this.#scheduler.endReviews(userId);
    this.#setPhase(slot, { state: 'stopping', stopped: stopResult, client });
    stateReported.resolve();
    return stopResult;
  }

  #onFatalError(slot: Slot<Client>, error: MatrixClientManagerError): void {
    const { phase } = slot;
    if (phase.state !== 'live' && phase.state !== 'reconnecting') return;
    const isLoggedOut = isManagerError(error, 'UNKNOWN_TOKEN', 'USER_DEACTIVATED');
    void this.#stopClient(slot, phase.client, isLoggedOut ? 'loggedOut' : 'failed', error);
  }

  /** Keeps the slot of a client that failed, so that `clientInfo` shows its error until the next start or stop. */
  #enterFailed(slot: Slot<Client>, error: MatrixClientManagerError): void {
    this.#setPhase(slot, { state: 'failed', error });
    this.#failedUsers.delete(slot.userId);
    this.#failedUsers.add(slot.userId);
    for (const userId of this.#failedUsers) {
      const phase = this.#slots.get(userId)?.phase;
      if (phase?.state === 'failed' && this.#failedUsers.size <= MAX_FAILED_CLIENTS) break;
      this.#failedUsers.delete(userId);
      if (phase?.state === 'failed') this.#slots.delete(userId);
    }
  }

  /** Removes the slot of a start that failed before a client was created. Its callers get the error. */
  #discardSlot(slot: Slot<Client>, error: MatrixClientManagerError): void {
    this.#setPhase(slot, { state: 'failed', error });
    this.#slots.delete(slot.userId);
  }

  #onReachableChanged(slot: Slot<Client>, connected: boolean): void {
    const { phase } = slot;
    if (phase.state !== 'live' && phase.state !== 'reconnecting') return;
    this.#setPhase(slot, { state: connected ? 'live' : 'reconnecting', client: phase.client });
  }

  #setPhase(slot: Slot<Client>, phase: Phase<Client>): void {
    const from = slot.phase.state;
    slot.phase = phase;
    if (from === phase.state) return;
    slot.since = this.#context.clock.now();
    this.#options.onStateChanged(slot.userId, from, phase.state);
  }

  /** Stops a client without waiting for it, for stops that no caller requested. */
  #stopInBackground(userId: string, reason: StopReason): void {
    this.stop(userId, reason).catch(() => {}); // `onStopped` reports the error
  }

  #recordActivity(slot: Slot<Client>): void {
    slot.lastActivityAt = this.#context.clock.now();
    slot.prewarmedAt = undefined;
    this.#scheduler.recordActivity(slot.userId);
    this.#trackIdleTime(slot);
  }

  /**
   * Moves the client to the end of the eviction order, or before all active ones if it was prewarmed, and lets the
   * policy review it. Does nothing while a lease or a connection protects it.
   */
  #trackIdleTime(slot: Slot<Client>): void {
    const isLive = slot.phase.state === 'live' || slot.phase.state === 'reconnecting';
    if (!isLive || slot.leases > 0 || this.#connectionCounts.has(slot.userId)) return;
    if (slot.prewarmedAt === undefined) this.#evictable.addLast(slot.userId);
    else this.#evictable.addInactive(slot.userId);
    this.#scheduler.scheduleReviews(slot.userId);
  }

  #releaseLease(slot: Slot<Client>): void {
    slot.leases--;
    this.touch(slot.userId);
    this.#capacity.evictForWaiters();
  }

  /** Starts a client before the user's usual hour, if no other client has to be evicted for it. */
  #prewarm(userId: string): void {
    if (this.#closed || this.#slots.has(userId) || this.#capacity.isFull) return;
    const slot = this.#beginStart(userId, {});
    slot.prewarmedAt = slot.lastActivityAt;
    slot.lastActivityAt = 0; // a prewarm is no activity of the user
  }

  /**
   * Stops the least recently active tenth of the evictable clients. The next sweep stops more if memory is still short.
   */
  #evictForMemory(): void {
    for (let left = Math.ceil(this.#evictable.size / 10); left > 0; left--) {
      const userId = this.#evictable.first();
      if (userId === undefined) return;
      this.#stopInBackground(userId, 'evicted');
    }
  }

  #info(slot: Slot<Client>): ClientInfo {
    const { userId } = slot;
    const resting = this.#scheduler.isResting(userId);
    return toClientInfo(slot, { resting, connections: this.connectionCount(userId), now: this.#context.clock.now() });
  }
}

/** Throws the error of a stop, if it failed; otherwise returns true: there was a client to stop. */
function throwIfStopFailed(failure: MatrixClientManagerError | undefined): true {
  if (failure) throw failure;
  return true;
}
