import type { MatrixClient } from 'matrix-js-sdk';
import PQueue from 'p-queue';
import { abortedError } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { ActivityIndex } from './activity-index.js';
import type { ClientInfo, ClientState, StopReason } from './client-state.js';
import type { ConnectionPolicy } from './connection-policy.js';
import { IdleScheduler } from './idle-scheduler.js';

/** A user's client as the registry sees it. */
export interface ManagedClient {
  /** The client itself, which from now on knows all that the library knows. */
  observe(): MatrixClient;
  readonly deviceId: string;
  readonly lastSyncAt: number | undefined;
  /** Resolves when the client is live. After a rejection it is stopped. */
  start(signal: AbortSignal): Promise<void>;
  /** Resolves when nothing of the client is left. */
  stop(): Promise<void>;
  /** Polls only every `pollIntervalMs` from now on, if at all; the position is kept. */
  rest(pollIntervalMs: number): void;
  /** Is live again, at once. */
  wake(): void;
}

/** Credentials that the caller of a start brings. */
export interface GivenCredentials {
  readonly accessToken?: string | undefined;
  readonly deviceId?: string | undefined;
}

/** How a client tells what happens to it. */
export interface ClientHooks {
  readonly onConnection: (connected: boolean) => void;
  readonly onFatal: (error: MatrixClientManagerError) => void;
}

export interface ClientRegistryOptions {
  /** Makes a client that is not started yet. */
  readonly create: (
    userId: string,
    given: GivenCredentials,
    hooks: ClientHooks,
    signal: AbortSignal,
  ) => Promise<ManagedClient>;
  readonly clock: Clock;
  readonly connectionPolicy: ConnectionPolicy;
  readonly sweepIntervalMs: number;
  readonly maxHeapBytes: number;
  /** @default that of the process */
  readonly heapUsed?: () => number;
  readonly maxClients: number;
  readonly startConcurrency: number;
  readonly onStateChanged: (userId: string, from: ClientState, to: ClientState) => void;
  readonly onStarted: (userId: string) => void;
  readonly onStopped: (userId: string, reason: StopReason, error?: MatrixClientManagerError) => void;
}

type Phase =
  | {
      readonly state: 'starting';
      readonly flight: Promise<ManagedClient>;
      readonly abort: AbortController;
      /** Waiting under `maxClients`: nothing of it exists yet. */
      waiting: boolean;
    }
  | { readonly state: 'live' | 'reconnecting'; readonly client: ManagedClient }
  | { readonly state: 'stopping'; readonly flight: Promise<void>; readonly client: ManagedClient }
  | { readonly state: 'failed'; readonly error: MatrixClientManagerError };

interface Slot {
  readonly userId: string;
  phase: Phase;
  since: number;
  lastActivityAt: number;
  /** When it was started because the user was expected; undefined once they have come. */
  expectedSince: number | undefined;
  leases: number;
}

type UpSlot = Slot & { readonly phase: Exclude<Phase, { state: 'stopping' | 'failed' }> };

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
  /** Clients that may be stopped for want of activity or room: live and without a lease. */
  readonly #activity = new ActivityIndex();
  readonly #starts: PQueue;
  /** Starts that wait for room, first come first served. */
  readonly #waiting: (() => void)[] = [];
  /** Users whose client has failed, oldest first; some may have been started again since. */
  readonly #failed = new Set<string>();
  #occupied = 0;
  #evicting = 0;
  readonly #scheduler: IdleScheduler;
  #closed = false;

  constructor(options: ClientRegistryOptions) {
    this.#options = options;
    this.#starts = new PQueue({ concurrency: options.startConcurrency });
    this.#scheduler = new IdleScheduler(options, {
      activity: (userId) => this.#slots.get(userId),
      rest: (userId, pollIntervalMs) => this.get(userId)?.rest(pollIntervalMs),
      wake: (userId) => this.get(userId)?.wake(),
      sleep: (userId) => void this.stop(userId, 'idle'),
      expect: (userId) => this.#expect(userId),
      shed: () => this.#shed(),
    });
  }

  /**
   * The user's live client; started if there is none, joined if it is starting, awaited if it is stopping. One that
   * runs on another device than `given` asks for is replaced.
   */
  async start(userId: string, given: GivenCredentials = {}): Promise<ManagedClient> {
    for (;;) {
      const slot = this.#ensure(userId, given);
      if (slot instanceof Promise) {
        await slot;
        continue;
      }
      const { phase } = slot;
      if (phase.state === 'starting') return phase.flight;
      if (given.deviceId === undefined || given.deviceId === phase.client.deviceId) {
        this.#touch(slot);
        return phase.client;
      }
      await this.#close(slot, phase.client, 'requested');
    }
  }

  /** {@link start}, held: the client is neither idle nor evicted until the lease is disposed of. */
  async lease(userId: string): Promise<Lease> {
    for (;;) {
      const slot = this.#ensure(userId, {});
      if (slot instanceof Promise) {
        await slot;
        continue;
      }
      slot.leases++; // before the client is live, or it could be evicted in the same breath
      this.#activity.delete(userId);
      this.#scheduler.unwatch(userId);
      try {
        const client = slot.phase.state === 'starting' ? await slot.phase.flight : slot.phase.client;
        return { client, [Symbol.dispose]: () => this.#release(slot) };
      } catch (error) {
        this.#release(slot);
        throw error;
      }
    }
  }

  /** Stops the user's client; waits for a start that is under way. Resolves to whether there was a client. */
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
          await phase.flight;
          return true;
        case 'starting':
          if (phase.waiting || this.#closed) phase.abort.abort();
          await phase.flight.catch(() => {}); // whoever started it is told
          if (slot.phase.state === 'failed') {
            if (this.#slots.get(userId) === slot) this.#slots.delete(userId);
            return true;
          }
          break; // it is live now, or somebody else has stopped it
        default:
          await this.#close(slot, phase.client, reason);
          return true;
      }
    }
  }

  /** Ends every start and client. No start is accepted any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#scheduler.close();
    await Promise.all([...this.#slots.keys()].map((userId) => this.stop(userId, 'shutdown')));
    this.#slots.clear();
  }

  /** Notes that the user does something; returns whether they have a client. */
  touch(userId: string): boolean {
    const slot = this.#slots.get(userId);
    if (!slot || !isUp(slot.phase.state)) return false;
    this.#touch(slot);
    return true;
  }

  /** The user's client while it is live or reconnecting. */
  get(userId: string): ManagedClient | undefined {
    const phase = this.#slots.get(userId)?.phase;
    return phase?.state === 'live' || phase?.state === 'reconnecting' ? phase.client : undefined;
  }

  /** How many starts wait for their turn, or for room. */
  get queued(): number {
    return this.#starts.size + this.#waiting.length;
  }

  /** Whether the user has a client that is or will be live. */
  has(userId: string): boolean {
    const slot = this.#slots.get(userId);
    return slot !== undefined && isUp(slot.phase.state);
  }

  info(userId: string): ClientInfo | undefined {
    const slot = this.#slots.get(userId);
    return slot && this.#describe(slot);
  }

  list(): ClientInfo[] {
    return [...this.#slots.values()].map((slot) => this.#describe(slot));
  }

  /** The user's slot, starting or up; while a client is stopping, what has to be waited for before asking again. */
  #ensure(userId: string, given: GivenCredentials): UpSlot | Promise<void> {
    if (this.#closed) throw closedError();
    const slot = this.#slots.get(userId);
    if (!slot || slot.phase.state === 'failed') return this.#launch(userId, given);
    return slot.phase.state === 'stopping' ? slot.phase.flight : (slot as UpSlot);
  }

  #launch(userId: string, given: GivenCredentials): UpSlot {
    const now = this.#options.clock.now();
    const abort = new AbortController();
    const begin = Promise.withResolvers<void>();
    const slot: Slot = {
      userId,
      since: now,
      lastActivityAt: now,
      expectedSince: undefined,
      leases: 0,
      phase: {
        state: 'starting',
        flight: begin.promise.then(() => this.#run(slot, given, abort.signal)),
        abort,
        waiting: false,
      },
    };
    if (slot.phase.state === 'starting') slot.phase.flight.catch(() => {}); // a caller may have left
    const from = this.#slots.has(userId) ? 'failed' : 'stopped';
    this.#slots.set(userId, slot);
    this.#options.onStateChanged(userId, from, 'starting');
    begin.resolve();
    return slot as UpSlot;
  }

  async #run(slot: Slot, given: GivenCredentials, signal: AbortSignal): Promise<ManagedClient> {
    const { userId } = slot;
    try {
      await this.#takeRoom(slot, signal);
    } catch (error) {
      this.#abandon(slot, error as MatrixClientManagerError);
      throw error;
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
      const client = await this.#starts.add(async () => {
        created = await this.#options.create(userId, given, hooks, signal);
        await created.start(signal);
        return created;
      });
      this.#enter(slot, { state: 'live', client });
      this.#watch(slot);
      this.#options.onStarted(userId);
      if (fatal) this.#fatal(slot, fatal);
      this.#makeRoom();
      return client;
    } catch (error) {
      const failure = this.#closed ? closedError() : asManagerError(error, userId);
      this.#giveRoom();
      if (created) this.#fail(slot, failure);
      else this.#abandon(slot, failure);
      throw failure;
    }
  }

  #close(slot: Slot, client: ManagedClient, reason: StopReason, error?: MatrixClientManagerError): Promise<void> {
    const { userId } = slot;
    const begin = Promise.withResolvers<void>();
    const flight = begin.promise
      .then(() => client.stop())
      .then(() => {
        this.#giveRoom();
        if (reason === 'failed' && error) this.#fail(slot, error);
        else {
          this.#slots.delete(userId);
          this.#options.onStateChanged(userId, 'stopping', 'stopped');
        }
        this.#options.onStopped(userId, reason, error);
      });
    this.#activity.delete(userId);
    this.#scheduler.unwatch(userId);
    this.#enter(slot, { state: 'stopping', flight, client });
    begin.resolve();
    return flight;
  }

  #fatal(slot: Slot, error: MatrixClientManagerError): void {
    const { phase } = slot;
    if (phase.state !== 'live' && phase.state !== 'reconnecting') return;
    void this.#close(slot, phase.client, error.code === 'UNKNOWN_TOKEN' ? 'loggedOut' : 'failed', error);
  }

  /** A client that was and is no more: its error stays to be seen until the next start or stop. */
  #fail(slot: Slot, error: MatrixClientManagerError): void {
    this.#enter(slot, { state: 'failed', error });
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
    this.#enter(slot, { state: 'failed', error });
    this.#slots.delete(slot.userId);
  }

  #connection(slot: Slot, connected: boolean): void {
    const { phase } = slot;
    if (phase.state !== 'live' && phase.state !== 'reconnecting') return;
    this.#enter(slot, { state: connected ? 'live' : 'reconnecting', client: phase.client });
  }

  #enter(slot: Slot, phase: Phase): void {
    const from = slot.phase.state;
    slot.phase = phase;
    if (from === phase.state) return;
    slot.since = this.#options.clock.now();
    this.#options.onStateChanged(slot.userId, from, phase.state);
  }

  #touch(slot: Slot): void {
    slot.lastActivityAt = this.#options.clock.now();
    slot.expectedSince = undefined;
    this.#scheduler.touched(slot.userId);
    this.#watch(slot);
  }

  #watch(slot: Slot): void {
    const evictable = slot.leases === 0 && (slot.phase.state === 'live' || slot.phase.state === 'reconnecting');
    if (!evictable) return;
    this.#activity.touch(slot.userId, slot.lastActivityAt);
    this.#scheduler.watch(slot.userId);
  }

  #release(slot: Slot): void {
    slot.leases--;
    this.#touch(slot);
    this.#makeRoom();
  }

  /** Starts the client of a user who is likely to come, if there is room to spare. What fails is no loss. */
  #expect(userId: string): void {
    if (this.#closed || this.#slots.has(userId) || this.#occupied >= this.#options.maxClients) return;
    const slot = this.#launch(userId, {});
    slot.expectedSince = slot.lastActivityAt;
    slot.lastActivityAt = 0; // it was not the user who did something
  }

  /** Stops a tenth of the clients, the least recently active ones; more with the next sweep if that was not enough. */
  #shed(): void {
    for (let left = Math.ceil(this.#activity.size / 10); left > 0; left--) {
      const userId = this.#activity.oldest();
      if (userId === undefined) return;
      void this.stop(userId, 'evicted');
    }
  }

  /** Waits until there is room under `maxClients`. */
  async #takeRoom(slot: Slot, signal: AbortSignal): Promise<void> {
    if (this.#occupied < this.#options.maxClients && this.#waiting.length === 0) {
      this.#occupied++;
      return;
    }
    const { phase } = slot;
    if (phase.state === 'starting') phase.waiting = true;
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(this.#closed ? closedError() : abortedError(`starting ${slot.userId}`, signal.reason));
      };
      const enter = (): void => {
        signal.removeEventListener('abort', leave);
        if (phase.state === 'starting') phase.waiting = false;
        resolve();
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(enter);
      this.#makeRoom();
    });
  }

  #giveRoom(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#occupied--;
  }

  /** Evicts as many clients as starts wait and are not being made room for yet. */
  #makeRoom(): void {
    while (this.#waiting.length > this.#evicting) {
      const userId = this.#activity.oldest();
      if (userId === undefined) return; // all leased: a release will come by here
      this.#evicting++;
      void this.stop(userId, 'evicted').finally(() => {
        this.#evicting--;
        this.#makeRoom();
      });
    }
  }

  #describe(slot: Slot): ClientInfo {
    const { userId, phase, since, lastActivityAt, leases } = slot;
    const client = 'client' in phase ? phase.client : undefined;
    const lastSyncAt = client?.lastSyncAt;
    return {
      userId,
      state: phase.state,
      resting: this.#scheduler.isResting(userId),
      since,
      lastActivityAt,
      leases,
      ...(client && { deviceId: client.deviceId }),
      ...(lastSyncAt !== undefined && { lastSyncAt, syncLagMs: this.#options.clock.now() - lastSyncAt }),
      ...(phase.state === 'failed' && { error: phase.error }),
    };
  }
}

function isUp(state: ClientState): boolean {
  return state === 'starting' || state === 'live' || state === 'reconnecting';
}

function closedError(): MatrixClientManagerError {
  return new MatrixClientManagerError('MANAGER_CLOSED', 'the manager was shut down');
}

function asManagerError(error: unknown, userId: string): MatrixClientManagerError {
  if (isManagerError(error)) return error;
  return new MatrixClientManagerError('CLIENT_FAILED', `starting ${userId} failed`, { userId, cause: error });
}
