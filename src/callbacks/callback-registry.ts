import { delay } from '../core/abort.js';
import type { ClientEvent } from '../core/client-event.js';
import type { Clock } from '../core/clock.js';
import type { Context } from '../core/context.js';
import { isManagerError } from '../core/errors.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import type { Claim } from '../core/ports/claim.js';
import { RecentIds } from '../core/recent-ids.js';
import { RecentMap } from '../core/recent-map.js';
import { checkArgument, functionOf } from '../core/validation.js';
import { CallbackFilter } from './callback.js';
import type { CallbackOptions, ClientCallback } from './callback.js';
import { HandledEvents, deduplicationId } from './handled-events.js';
import { RunningCalls } from './running-calls.js';
import type { CallSource } from './callback-call.js';

/** How many events that a callback failed on are kept, per callback. */
const REMEMBERED_FAILURES = 2_000;
/**
 * How many events are kept, per callback, that it has finished and other callbacks have not. Twice the number of events
 * in flight at which delivery makes the source wait.
 */
const REMEMBERED_EVENTS = 20_000;
/** How many users without callbacks are kept. */
const REMEMBERED_USERS = 1_000;

interface Subscription extends CallSource {
  /** One filter per registration; empty while the callback is not registered. */
  readonly filters: Set<CallbackFilter>;
  readonly roomQueues: KeyedQueue;
  /** Events that this callback has handled, or that became its dead letters, while other callbacks have not finished. */
  readonly finishedIds: RecentIds;
  /** Events that became dead letters because this callback failed. */
  readonly failedIds: RecentIds;
}

interface UserCallbacks {
  readonly subscriptions: Map<ClientCallback, Subscription>;
  /**
   * Subscriptions of removed callbacks, too: a callback that is added again gets back its queues and finished events.
   */
  readonly everRegistered: WeakMap<ClientCallback, Subscription>;
}

/** The longest pause between two attempts, in milliseconds. */
const MAX_PAUSE_MS = 300_000;

type Outcome = 'succeeded' | 'failed' | 'stopped' | 'unwanted';

export interface CallbackRegistryOptions {
  /** How long one call may take before it counts as failed, in milliseconds. */
  readonly timeoutMs: number;
  /** How often a failing callback is called with an event. */
  readonly attempts: number;
  /** The pause before attempt 2, in milliseconds; it doubles with each further one. */
  readonly retryDelayMs: number;
  readonly onError: (event: ClientEvent, error: unknown, attempt: number) => void;
  /**
   * Called after the last attempt has failed. The event counts as handled once this resolves. After a rejection it is
   * called again, so that the dead letter is not lost, except after `OWNED_ELSEWHERE`.
   * `claim`: the one that the event was dispatched with
   */
  readonly onDeadLetter: (event: ClientEvent, error: unknown, attempts: number, claim?: Claim) => Promise<void>;
  /** Called when a callback was registered for the user. @default none */
  readonly onAdded?: (userId: string) => void;
  /** Called when the user's last callback was removed. @default none */
  readonly onLastRemoved?: (userId: string) => void;
}

/**
 * The callbacks of all users, also of users without a client. Each callback gets the events of a room one after the
 * other. Callbacks do not wait for each other, and rooms do not wait for other rooms.
 *
 * This file is a little long because one call decides whether a callback still has to get an event, has handled it or
 * has failed on it.
 */
export class CallbackRegistry {
  readonly #clock: Clock;
  readonly #options: CallbackRegistryOptions;
  /** Users with callbacks. */
  readonly #users = new Map<string, UserCallbacks>();
  /** Users whose last callback was removed: one that is added again continues with its queues and events. */
  readonly #formerUsers = new RecentMap<UserCallbacks>(REMEMBERED_USERS);
  /** Events that all callbacks of the user have finished, also as dead letters. */
  readonly #finishedByAll = new HandledEvents();
  readonly #runningCalls: RunningCalls;
  /** Whether {@link clear} was called. */
  #isCleared = false;

  constructor(context: Pick<Context, 'clock' | 'diagnostics'>, options: CallbackRegistryOptions) {
    this.#clock = context.clock;
    this.#options = options;
    this.#runningCalls = new RunningCalls(context, options.timeoutMs);
  }

  /**
   * Registers a callback. Registered twice, it still gets each event once. Returns a function that undoes this call.
   */
  add(userId: string, callback: ClientCallback, options?: CallbackOptions): () => void {
    checkArgument('callback', functionOf(), callback);
    const filter = new CallbackFilter(options);
    const { subscriptions, everRegistered } = this.#user(userId);
    const subscription = everRegistered.get(callback) ?? {
      callback,
      overdueCalls: 0,
      filters: new Set(),
      roomQueues: new KeyedQueue(),
      finishedIds: new RecentIds(REMEMBERED_EVENTS),
      failedIds: new RecentIds(REMEMBERED_FAILURES),
    };
    everRegistered.set(callback, subscription);
    subscriptions.set(callback, subscription);
    subscription.filters.add(filter);
    this.#options.onAdded?.(userId);
    return () => {
      if (subscription.filters.delete(filter) && subscription.filters.size === 0) this.remove(userId, callback);
    };
  }

  /** Removes all registrations of the callback for the user. Returns whether there was one. */
  remove(userId: string, callback: ClientCallback): boolean {
    const user = this.#users.get(userId);
    const subscription = user?.subscriptions.get(callback);
    if (!user || !subscription) return false;
    subscription.filters.clear(); // queued events check the filters before they call it
    user.subscriptions.delete(callback);
    if (user.subscriptions.size === 0) {
      this.#users.delete(userId);
      this.#formerUsers.set(userId, user);
      this.#options.onLastRemoved?.(userId);
    }
    return true;
  }

  has(userId: string, callback: ClientCallback): boolean {
    return this.#users.get(userId)?.subscriptions.has(callback) ?? false;
  }

  /** How many users are kept, with or without callbacks. */
  get size(): number {
    return this.#users.size + this.#formerUsers.size;
  }

  /** How many callbacks the user has. */
  count(userId: string): number {
    return this.#users.get(userId)?.subscriptions.size ?? 0;
  }

  /** Whether one of the user's callbacks asks for the backlog. */
  wantsBacklog(userId: string): boolean {
    return this.#subscriptions(userId).some(({ filters }) => [...filters].some((filter) => filter.wantsBacklog));
  }

  /** How many calls of registered callbacks still run although the manager no longer waits for them. */
  get overdue(): number {
    return [...this.#users.keys()].reduce((sum, userId) => sum + this.overdueOf(userId), 0);
  }

  /** Like {@link overdue}, of one user. */
  overdueOf(userId: string): number {
    return this.#subscriptions(userId).reduce((sum, { overdueCalls }) => sum + overdueCalls, 0);
  }

  /** Removes all callbacks of the user, and deletes the record of events they have handled. */
  forget(userId: string): void {
    for (const { filters } of this.#subscriptions(userId)) filters.clear();
    this.#users.delete(userId);
    this.#formerUsers.delete(userId);
    this.#finishedByAll.forget(userId);
  }

  /** Removes every callback and ends the running calls with `MANAGER_CLOSED`. */
  clear(): void {
    this.#isCleared = true;
    for (const userId of this.#users.keys()) for (const { filters } of this.#subscriptions(userId)) filters.clear();
    this.#users.clear();
    this.#formerUsers.clear();
    this.#runningCalls.close();
  }

  /** Aborts the signals of the user's running calls. The waits go on, and the results count. */
  abortCalls(userId: string): void {
    this.#runningCalls.abort(userId);
  }

  /**
   * Queues the event for every callback whose filters match. Resolves to true when all of them have finished it, and to
   * false if `signal` fired before: the event has to be delivered again then. `record` stores that it was handled.
   * Rejects with `OWNED_ELSEWHERE` if a dead letter could not be stored because `claim` is lost.
   */
  async dispatch(
    event: ClientEvent,
    signal: AbortSignal,
    record = async (): Promise<void> => {},
    claim?: Claim,
  ): Promise<boolean> {
    const recipients = this.#subscriptions(event.userId).filter((subscription) => wants(subscription, event));
    if (recipients.length === 0) return true;
    let remaining = recipients.length;
    const finished = await Promise.all(
      recipients.map((subscription) => {
        return subscription.roomQueues.run(event.roomId, async () => {
          if (!(await this.#deliver(subscription, event, signal, claim))) return false;
          // The last callback to finish waits for the commit, so that a crash repeats at most one event per room.
          if (--remaining === 0) await record();
          return true;
        });
      }),
    );
    if (!finished.every(Boolean)) return false;
    const id = deduplicationId(event);
    if (id !== undefined) {
      for (const { finishedIds } of recipients) finishedIds.delete(id);
      this.#finishedByAll.add(event.userId, id);
    }
    return true;
  }

  /**
   * Delivers an event again to the callbacks that failed on it. If none of them is known, as after a restart of the
   * process, delivers it to all whose filters match. Resolves to whether at least one handled it and none failed.
   */
  async redeliver(event: ClientEvent, signal: AbortSignal): Promise<boolean> {
    const subscriptions = this.#subscriptions(event.userId);
    const id = deduplicationId(event);
    const failed = subscriptions.filter(({ failedIds }) => id !== undefined && failedIds.has(id));
    const outcomes = await Promise.all(
      (failed.length > 0 ? failed : subscriptions).map((subscription) =>
        subscription.roomQueues.run(event.roomId, () => this.#callWithRetries(subscription, event, signal)),
      ),
    );
    const didFail = outcomes.includes('failed') || outcomes.includes('stopped');
    return outcomes.includes('succeeded') && !didFail;
  }

  /** Resolves when the manager no longer waits for the user's calls that run now. Overdue calls do not count. */
  whenIdle(userId: string): Promise<void> {
    return this.#runningCalls.whenEnded(userId);
  }

  /** Whether the code runs inside a callback of the user. Waiting for {@link whenIdle} there would never end. */
  isInsideCallback(userId: string): boolean {
    return this.#runningCalls.isInsideCallback(userId);
  }

  async #deliver(
    subscription: Subscription,
    event: ClientEvent,
    signal: AbortSignal,
    claim: Claim | undefined,
  ): Promise<boolean> {
    const id = deduplicationId(event);
    if (id !== undefined && (subscription.finishedIds.has(id) || this.#finishedByAll.has(event.userId, id)))
      return true;
    const outcome = await this.#callWithRetries(subscription, event, signal, claim);
    if (id !== undefined && (outcome === 'succeeded' || outcome === 'failed')) subscription.finishedIds.add(id);
    return outcome !== 'stopped'; // 'stopped': the next start delivers the event again
  }

  /** Calls the callback until it succeeds, up to `attempts` times. After the last failure stores a dead letter. */
  async #callWithRetries(
    subscription: Subscription,
    event: ClientEvent,
    signal: AbortSignal,
    claim?: Claim,
  ): Promise<Outcome> {
    const id = deduplicationId(event);
    for (let attempt = 1; ; attempt++) {
      if (signal.aborted) return 'stopped';
      if (!wants(subscription, event)) return 'unwanted'; // removed meanwhile
      const call = this.#runningCalls.prepare(subscription, event);
      try {
        await this.#runningCalls.run(call, subscription.callback, event, attempt);
        if (id !== undefined) subscription.failedIds.delete(id);
        return 'succeeded';
      } catch (error) {
        if (call.isAborted && !wants(subscription, event)) {
          // Removed while it ran. If it was the last callback, the event is kept for callbacks that are added later.
          return signal.aborted && !this.#isCleared ? 'stopped' : 'unwanted';
        }
        this.#options.onError(event, error, attempt);
        if (signal.aborted && call.isAborted) return 'stopped'; // it failed because its signal was aborted
        if (attempt >= this.#options.attempts) {
          if (!(await this.#storeDeadLetter(signal, event, error, attempt, claim))) return 'stopped';
          if (id !== undefined) subscription.failedIds.add(id);
          return 'failed';
        }
        if (!(await this.#pause(attempt, signal))) return 'stopped';
      }
    }
  }

  /** Stores the event as a dead letter, with retries. Resolves to false if `signal` fired before that succeeded. */
  async #storeDeadLetter(
    signal: AbortSignal,
    ...letter: Parameters<CallbackRegistryOptions['onDeadLetter']>
  ): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      try {
        await this.#options.onDeadLetter(...letter);
        return true;
      } catch (error) {
        if (isManagerError(error, 'OWNED_ELSEWHERE')) throw error;
        // `onDeadLetter` has logged the failure. The event must not count as handled before it is stored.
        if (!(await this.#pause(tries, signal))) return false;
      }
    }
  }

  /** Waits with exponential back-off. Resolves to false if `signal` fires. */
  async #pause(failures: number, signal: AbortSignal): Promise<boolean> {
    const delayMs = Math.min(MAX_PAUSE_MS, this.#options.retryDelayMs * 2 ** (failures - 1));
    const waited = delay(this.#clock, delayMs, signal, 'retrying a callback').then(() => true);
    return waited.catch(() => false);
  }

  #user(userId: string): UserCallbacks {
    const known = this.#users.get(userId) ?? this.#formerUsers.get(userId);
    const user = known ?? { subscriptions: new Map(), everRegistered: new WeakMap() };
    this.#users.set(userId, user);
    this.#formerUsers.delete(userId);
    return user;
  }

  #subscriptions(userId: string): Subscription[] {
    return [...(this.#users.get(userId)?.subscriptions.values() ?? [])];
  }
}

function wants(subscription: Subscription, event: ClientEvent): boolean {
  for (const filter of subscription.filters) if (filter.matches(event)) return true;
  return false;
}
