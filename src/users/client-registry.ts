import PQueue from 'p-queue';
import { onAbort, orAborted, throwIfAborted, withDeadline } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import { isManagerError } from '../core/errors.js';
import { throwAny } from '../core/every-step.js';
import { ActivityIndex } from './activity-index.js';
import { ClientCapacity } from './client-capacity.js';
import { asManagerError, closedError, toClientInfo, isUp, startTimeoutError, stopFailedError } from './client-slot.js';
import type { ManagedClient, Phase, Slot, Starting, UpSlot } from './client-slot.js';
import type { ClientInfo, ClientState, StopReason } from './client-state.js';
import type { Logger } from '../core/logger.js';
import type { ConnectionPolicy } from './connection-policy.js';
import { IdleScheduler } from './idle-scheduler.js';

/** Credentials that the caller of a start brings. */
export interface StartCredentials {
  readonly accessToken?: string | undefined;
  readonly deviceId?: string | undefined;
}

/** How a client tells what happens to it. */
export interface ClientHooks {
  readonly onConnection: (connected: boolean) => void;
  readonly onFatal: (error: MatrixClientManagerError) => void;
}

export interface ClientRegistryOptions {
  /** Makes a client that is not started yet. Rejects soon after `signal` fires, and leaves nothing then. */
  readonly create: (
    userId: string,
    given: StartCredentials,
    hooks: ClientHooks,
    signal: AbortSignal,
  ) => Promise<ManagedClient>;
  readonly clock: Clock;
  readonly connectionPolicy: ConnectionPolicy;
  readonly fallbackPolicy?: ConnectionPolicy;
  readonly logger?: Logger;
  readonly sweepIntervalMs: number;
  readonly maxHeapBytes: number;
  /** @default that of the process */
  readonly heapUsed?: () => number;
  readonly maxClients: number;
  readonly startConcurrency: number;
  /** How long a start may take from its turn on, in milliseconds. */
  readonly startTimeoutMs: number;
  readonly onStateChanged: (userId: string, from: ClientState, to: ClientState) => void;
  readonly onStarted: (userId: string) => void;
  readonly onStopped: (userId: string, reason: StopReason, error?: MatrixClientManagerError) => void;
}

/** What keeps a client from being idle or evicted until it is released. */
export interface Lease extends Disposable {
  readonly client: ManagedClient;
}

/** Failed clients that are remembered for `clientInfo`; beyond them the oldest are forgotten. */
const MAX_FAILED = 1_000;

/**
 * One client per user at most: starts, watches, evicts and stops them. Every change of a user's state goes through
 * `#enter`.
 *
 * This file is long because the state machine is one thing: to tell that no start and no stop can overtake another,
 * one has to see all of them.
 */
export class ClientRegistry {
  readonly #options: ClientRegistryOptions;
  readonly #slots = new Map<string, Slot>();
  /** How many times each user's client is held, by {@link hold}. */
  readonly #holds = new Map<string, number>();
  /** Clients that may be stopped for want of activity or room: live, without a lease and not held. */
  readonly #activity = new ActivityIndex();
  readonly #starts: PQueue;
  readonly #capacity: ClientCapacity;
  /** Users whose client has failed, oldest first; some may have been started again since. */
  readonly #failed = new Set<string>();
  readonly #scheduler: IdleScheduler;
  #closed = false;

  constructor(options: ClientRegistryOptions) {
    this.#options = options;
    this.#starts = new PQueue({ concurrency: options.startConcurrency });
    this.#capacity = new ClientCapacity(options.maxClients, () => {
      const userId = this.#activity.oldest();
      return userId === undefined ? undefined : this.stop(userId, 'evicted');
    });
    this.#scheduler = new IdleScheduler(options, {
      activity: (userId) => this.#slots.get(userId),
      rest: (userId, pollIntervalMs) => this.get(userId)?.rest(pollIntervalMs),
      wake: (userId) => this.get(userId)?.wake(),
      stopIdle: (userId) => this.#drop(userId, 'idle'),
      prewarm: (userId) => this.#prewarm(userId),
      evictForMemory: () => this.#evictForMemory(),
    });
  }

  /**
   * The user's live client; started if there is none, joined if it is starting, awaited if it is stopping. One that
   * runs on another device than `given` asks for is replaced.
   * @param signal - ends the wait at once; the start goes on for others, and where it has begun
   */
  async start(userId: string, given: StartCredentials = {}, signal?: AbortSignal): Promise<ManagedClient> {
    for (;;) {
      throwIfAborted(signal, `starting ${userId}`);
      const slot = this.#ensure(userId, given);
      if (slot instanceof Promise) {
        await orAborted(slot, signal, `starting ${userId}`);
        continue;
      }
      const { phase } = slot;
      if (phase.state === 'starting') return this.#join(phase, userId, signal);
      if (given.deviceId === undefined || given.deviceId === phase.client.deviceId) {
        this.#touch(slot);
        return phase.client;
      }
      await orAborted(this.#close(slot, phase.client, 'requested'), signal, `starting ${userId}`);
    }
  }

  /** {@link start}, held: the client is neither idle nor evicted until the lease is disposed of. */
  async lease(userId: string, signal?: AbortSignal): Promise<Lease> {
    for (;;) {
      throwIfAborted(signal, `starting ${userId}`);
      const slot = this.#ensure(userId, {});
      if (slot instanceof Promise) {
        await orAborted(slot, signal, `starting ${userId}`);
        continue;
      }
      slot.leases++; // before the client is live, or it could be evicted in the same breath
      this.#activity.delete(userId);
      this.#scheduler.unwatch(userId);
      try {
        const { phase } = slot;
        const client = phase.state === 'starting' ? await this.#join(phase, userId, signal) : phase.client;
        return { client, [Symbol.dispose]: () => this.#release(slot) };
      } catch (error) {
        this.#release(slot);
        throw error;
      }
    }
  }

  /**
   * Keeps the user's client from being idle, resting or evicted, whenever there is one, until it is disposed of. A
   * {@link stop} stops it all the same; the next start of the user is held again.
   */
  hold(userId: string): Disposable {
    this.#holds.set(userId, this.connectionsOf(userId) + 1);
    this.#activity.delete(userId);
    this.#scheduler.unwatch(userId);
    let released = false;
    return {
      [Symbol.dispose]: () => {
        if (released) return;
        released = true;
        const left = this.connectionsOf(userId) - 1;
        if (left > 0) this.#holds.set(userId, left);
        else this.#holds.delete(userId);
        this.touch(userId);
        this.#capacity.evictForWaiters();
      },
    };
  }

  /** How many times the user's client is held. */
  connectionsOf(userId: string): number {
    return this.#holds.get(userId) ?? 0;
  }

  /**
   * Stops the user's client; waits for a start that is under way. Resolves to whether there was a client. Rejects with
   * `CLIENT_FAILED` where the client could not be ended in an orderly way; it is forgotten all the same.
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
          return stopped(await phase.flight);
        case 'starting':
          if (phase.waiting || this.#closed) phase.abort.abort();
          await phase.flight.catch(() => {}); // whoever started it is told
          if (slot.phase.state === 'failed') {
            if (this.#slots.get(userId) === slot) this.#slots.delete(userId);
            return true;
          }
          break; // it is live now, or somebody else has stopped it
        default:
          return stopped(await this.#close(slot, phase.client, reason));
      }
    }
  }

  /** Ends every start and client. No start is accepted any more. Rejects with what went wrong, when all has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#scheduler.close();
    const stops = await Promise.allSettled([...this.#slots.keys()].map((userId) => this.stop(userId, 'shutdown')));
    this.#slots.clear();
    const errors = stops.flatMap((stop) => (stop.status === 'rejected' ? [stop.reason as unknown] : []));
    throwAny(errors, 'stopping the clients');
  }

  /** Notes that the user does something; returns whether they have a client. */
  touch(userId: string): boolean {
    const slot = this.#slots.get(userId);
    if (!slot || !isUp(slot.phase.state)) return false;
    this.#touch(slot);
    return true;
  }

  /** Forgets when the user usually comes; their client has to be stopped. */
  forget(userId: string): void {
    this.#scheduler.forget(userId);
  }

  /** The user's client while it is live or reconnecting. */
  get(userId: string): ManagedClient | undefined {
    const phase = this.#slots.get(userId)?.phase;
    return phase?.state === 'live' || phase?.state === 'reconnecting' ? phase.client : undefined;
  }

  /** How many starts wait for their turn, or for a place under `maxClients`. */
  get queued(): number {
    return this.#starts.size + this.#capacity.waiting;
  }

  /** Whether the user has a client that is or will be live. */
  has(userId: string): boolean {
    const slot = this.#slots.get(userId);
    return slot !== undefined && isUp(slot.phase.state);
  }

  info(userId: string): ClientInfo | undefined {
    const slot = this.#slots.get(userId);
    return slot && this.#info(slot);
  }

  list(): ClientInfo[] {
    return [...this.#slots.values()].map((slot) => this.#info(slot));
  }

  /** The user's slot, starting or up; while a client is stopping, what has to be waited for before asking again. */
  #ensure(userId: string, given: StartCredentials): UpSlot | Promise<unknown> {
    if (this.#closed) throw closedError();
    const slot = this.#slots.get(userId);
    if (!slot || slot.phase.state === 'failed') return this.#launch(userId, given);
    return slot.phase.state === 'stopping' ? slot.phase.flight : (slot as UpSlot);
  }

  #launch(userId: string, given: StartCredentials): UpSlot {
    const now = this.#options.clock.now();
    const begin = Promise.withResolvers<void>();
    const phase: Starting = {
      state: 'starting',
      flight: begin.promise.then(() => this.#run(slot, phase, given)),
      abort: new AbortController(),
      waiting: false,
      callers: 0,
    };
    const slot: Slot = { userId, since: now, lastActivityAt: now, expectedSince: undefined, leases: 0, phase };
    phase.flight.catch(() => {}); // a caller may have left
    const from = this.#slots.has(userId) ? 'failed' : 'stopped';
    this.#slots.set(userId, slot);
    this.#options.onStateChanged(userId, from, 'starting');
    begin.resolve();
    return slot as UpSlot;
  }

  /** Waits for a start, until `signal` fires. One that has not begun, and that nobody waits for any more, is ended. */
  async #join(phase: Starting, userId: string, signal: AbortSignal | undefined): Promise<ManagedClient> {
    phase.callers++;
    try {
      return await orAborted(phase.flight, signal, `starting ${userId}`);
    } catch (error) {
      phase.callers--;
      if (phase.callers === 0 && phase.waiting) phase.abort.abort(signal?.reason);
      throw error;
    }
  }

  async #run(slot: Slot, phase: Starting, given: StartCredentials): Promise<ManagedClient> {
    const { userId } = slot;
    const { signal } = phase.abort;
    const operation = `starting ${userId}`;
    const { clock, startTimeoutMs: timeoutMs } = this.#options;
    phase.waiting = this.#capacity.isFull;
    try {
      await this.#capacity.acquire(signal, operation);
    } catch (error) {
      const failure = this.#closed ? closedError() : (error as MatrixClientManagerError);
      this.#abandon(slot, failure);
      throw failure;
    }
    let fatal: MatrixClientManagerError | undefined;
    let created: ManagedClient | undefined;
    const hooks: ClientHooks = {
      onConnection: (connected) => this.#connection(slot, connected),
      onFatal: (error) => {
        fatal = error;
        this.#fatal(slot, error);
      },
    };
    try {
      const begin = async (ending: AbortSignal): Promise<ManagedClient> => {
        created = await this.#options.create(userId, given, hooks, ending);
        await created.start(ending);
        return created;
      };
      const late = (): MatrixClientManagerError => startTimeoutError(userId, timeoutMs);
      const client = await this.#waitForTurn(phase, operation, () =>
        withDeadline({ clock, timeoutMs, signal }, late, begin),
      );
      this.#setPhase(slot, { state: 'live', client });
      this.#watch(slot);
      this.#options.onStarted(userId);
      if (fatal) this.#fatal(slot, fatal);
      this.#capacity.evictForWaiters();
      return client;
    } catch (error) {
      const failure = this.#closed ? closedError() : asManagerError(error, userId);
      this.#capacity.release();
      if (created) this.#fail(slot, failure);
      else this.#abandon(slot, failure);
      throw failure;
    }
  }

  /** Runs `start` when less than `startConcurrency` are under way. Rejects at once when it is ended before its turn. */
  async #waitForTurn<T>(phase: Starting, operation: string, start: () => Promise<T>): Promise<T> {
    const { signal } = phase.abort;
    throwIfAborted(signal, operation);
    const leave = new AbortController(); // of the queue: a start that has begun ends by itself, and only then gives way
    const stay = onAbort(signal, () => leave.abort());
    phase.waiting = this.#starts.pending >= this.#options.startConcurrency;
    try {
      return await this.#starts.add(
        () => {
          stay();
          phase.waiting = false;
          return start();
        },
        { signal: leave.signal },
      );
    } catch (error) {
      throwIfAborted(leave.signal, operation);
      throw error;
    } finally {
      stay();
    }
  }

  /** Stops the client. Never rejects: resolves with why the client could not be ended in an orderly way. */
  #close(
    slot: Slot,
    client: ManagedClient,
    reason: StopReason,
    error?: MatrixClientManagerError,
  ): Promise<MatrixClientManagerError | undefined> {
    const { userId } = slot;
    const begin = Promise.withResolvers<void>();
    const flight = begin.promise
      .then(() => client.stop())
      .then(
        () => undefined,
        (cause: unknown) => stopFailedError(cause, userId),
      )
      .then((failure) => {
        this.#capacity.release();
        if (reason === 'failed' && error) this.#fail(slot, error);
        else {
          this.#slots.delete(userId);
          this.#options.onStateChanged(userId, 'stopping', 'stopped');
        }
        this.#options.onStopped(userId, reason, error ?? failure);
        return failure;
      });
    this.#activity.delete(userId);
    this.#scheduler.unwatch(userId);
    this.#setPhase(slot, { state: 'stopping', flight, client });
    begin.resolve();
    return flight;
  }

  #fatal(slot: Slot, error: MatrixClientManagerError): void {
    const { phase } = slot;
    if (phase.state !== 'live' && phase.state !== 'reconnecting') return;
    const isLoggedOut = isManagerError(error, 'UNKNOWN_TOKEN', 'USER_DEACTIVATED');
    void this.#close(slot, phase.client, isLoggedOut ? 'loggedOut' : 'failed', error);
  }

  /** A client that was and is no more: its error stays to be seen until the next start or stop. */
  #fail(slot: Slot, error: MatrixClientManagerError): void {
    this.#setPhase(slot, { state: 'failed', error });
    this.#failed.delete(slot.userId);
    this.#failed.add(slot.userId);
    for (const userId of this.#failed) {
      const phase = this.#slots.get(userId)?.phase;
      if (phase?.state === 'failed' && this.#failed.size <= MAX_FAILED) break;
      this.#failed.delete(userId);
      if (phase?.state === 'failed') this.#slots.delete(userId);
    }
  }

  /** A start that never got to a client: only its caller knows of it. */
  #abandon(slot: Slot, error: MatrixClientManagerError): void {
    this.#setPhase(slot, { state: 'failed', error });
    this.#slots.delete(slot.userId);
  }

  #connection(slot: Slot, connected: boolean): void {
    const { phase } = slot;
    if (phase.state !== 'live' && phase.state !== 'reconnecting') return;
    this.#setPhase(slot, { state: connected ? 'live' : 'reconnecting', client: phase.client });
  }

  #setPhase(slot: Slot, phase: Phase): void {
    const from = slot.phase.state;
    slot.phase = phase;
    if (from === phase.state) return;
    slot.since = this.#options.clock.now();
    this.#options.onStateChanged(slot.userId, from, phase.state);
  }

  /** Stops a client that nobody asked to be stopped. */
  #drop(userId: string, reason: StopReason): void {
    this.stop(userId, reason).catch(() => {}); // told by `onStopped`
  }

  #touch(slot: Slot): void {
    slot.lastActivityAt = this.#options.clock.now();
    slot.expectedSince = undefined;
    this.#scheduler.touched(slot.userId);
    this.#watch(slot);
  }

  #watch(slot: Slot): void {
    const isLive = slot.phase.state === 'live' || slot.phase.state === 'reconnecting';
    if (!isLive || slot.leases > 0 || this.#holds.has(slot.userId)) return;
    this.#activity.touch(slot.userId, slot.lastActivityAt);
    this.#scheduler.watch(slot.userId);
  }

  #release(slot: Slot): void {
    slot.leases--;
    this.touch(slot.userId);
    this.#capacity.evictForWaiters();
  }

  /** Starts the client of a user who is likely to come, if there is room to spare. What fails is no loss. */
  #prewarm(userId: string): void {
    if (this.#closed || this.#slots.has(userId) || this.#capacity.isFull) return;
    const slot = this.#launch(userId, {});
    slot.expectedSince = slot.lastActivityAt;
    slot.lastActivityAt = 0; // it was not the user who did something
  }

  /** Stops a tenth of the clients, the least recently active ones; more with the next sweep if that was not enough. */
  #evictForMemory(): void {
    for (let left = Math.ceil(this.#activity.size / 10); left > 0; left--) {
      const userId = this.#activity.oldest();
      if (userId === undefined) return;
      this.#drop(userId, 'evicted');
    }
  }

  #info(slot: Slot): ClientInfo {
    const { userId } = slot;
    const resting = this.#scheduler.isResting(userId);
    return toClientInfo(slot, { resting, connections: this.connectionsOf(userId), now: this.#options.clock.now() });
  }
}

/** Whether there was a client, after a stop; throws what went wrong with it. */
function stopped(failure: MatrixClientManagerError | undefined): true {
  if (failure) throw failure;
  return true;
}
