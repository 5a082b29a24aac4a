import { delay } from '../core/abort.js';
import type { ClientEvent } from '../core/client-event.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import { RecentIds } from '../core/recent-ids.js';
import { assertCallback, CallbackFilter } from './callback.js';
import type { CallbackOptions, ClientCallback } from './callback.js';
import { HandledEvents, repetitionId } from './handled-events.js';
import { RunningCalls } from './running-calls.js';
import type { CallOwner, RunningCallsOptions } from './running-calls.js';

/** How many events a callback is remembered to have failed on. */
const REMEMBERED_FAILURES = 2_000;
/**
 * How many events one callback may have handled while another is not finished with them: twice what delivery has under
 * way before it makes the source wait.
 */
const REMEMBERED_EVENTS = 20_000;
/** How many users without callbacks are remembered. */
const REMEMBERED_USERS = 1_000;

interface Subscription extends CallOwner {
  /** Empty while it is not registered. */
  readonly filters: Set<CallbackFilter>;
  readonly rooms: KeyedQueue;
  /** Events that it is finished with, and other callbacks are not: they come again after a stop. */
  readonly handled: RecentIds;
  /** Events that became dead letters because of it. */
  readonly failed: RecentIds;
}

interface User {
  readonly subscriptions: Map<ClientCallback, Subscription>;
  /** What a callback that was removed finds again when it is added: its place in line, and what it has had. */
  readonly known: WeakMap<ClientCallback, Subscription>;
}

/** The longest pause between two attempts, in milliseconds. */
const MAX_PAUSE_MS = 300_000;

type Outcome = 'handled' | 'failed' | 'stopped' | 'unwanted';

export interface CallbackRegistryOptions extends RunningCallsOptions {
  /** How often a failing callback gets an event. */
  readonly attempts: number;
  /** The pause before attempt 2, in milliseconds; it doubles with each further one. */
  readonly retryDelayMs: number;
  readonly onError: (event: ClientEvent, error: unknown, attempt: number) => void;
  /**
   * The callback has failed as often as it may; the event counts as handled once this has resolved. A rejection is
   * followed by another try, since the letter would be lost.
   */
  readonly onDeadLetter: (event: ClientEvent, error: unknown, attempts: number) => Promise<void>;
  /** A callback was registered for the user. @default none */
  readonly onAdded?: (userId: string) => void;
  /** The user's last callback was removed. @default none */
  readonly onLastRemoved?: (userId: string) => void;
}

/**
 * The callbacks of every user, whether a client runs or not. Each callback gets the events of a room one after the
 * other; callbacks wait neither for each other nor for other rooms.
 *
 * This file is a little long because which callback has had an event, failed on it or lost interest is decided together.
 */
export class CallbackRegistry {
  readonly #options: CallbackRegistryOptions;
  readonly #users = new Map<string, User>();
  /** Users whose last callback was removed, oldest first. */
  readonly #withoutCallbacks = new Set<string>();
  readonly #handled = new HandledEvents();
  readonly #calls: RunningCalls;

  /** Whether all callbacks were removed for good. */
  #isCleared = false;

  constructor(options: CallbackRegistryOptions) {
    this.#options = options;
    this.#calls = new RunningCalls(options);
  }

  /** Registers; the same callback registered twice gets an event once. Returns what undoes this registration. */
  add(userId: string, callback: ClientCallback, options?: CallbackOptions): () => void {
    assertCallback(callback);
    const filter = new CallbackFilter(options);
    const { subscriptions, known } = this.#user(userId);
    const subscription = known.get(callback) ?? {
      callback,
      overdueCalls: 0,
      filters: new Set(),
      rooms: new KeyedQueue(),
      handled: new RecentIds(REMEMBERED_EVENTS),
      failed: new RecentIds(REMEMBERED_FAILURES),
    };
    known.set(callback, subscription);
    subscriptions.set(callback, subscription);
    subscription.filters.add(filter);
    this.#withoutCallbacks.delete(userId);
    this.#options.onAdded?.(userId);
    return () => {
      if (subscription.filters.delete(filter) && subscription.filters.size === 0) this.remove(userId, callback);
    };
  }

  /** Undoes all registrations of the callback for the user; returns whether there was one. */
  remove(userId: string, callback: ClientCallback): boolean {
    const subscriptions = this.#users.get(userId)?.subscriptions;
    const subscription = subscriptions?.get(callback);
    if (!subscriptions || !subscription) return false;
    subscription.filters.clear(); // what is queued for it sees that nothing wants it any more
    subscriptions.delete(callback);
    this.#calls.forget(subscription);
    if (subscriptions.size === 0) {
      this.#keepWithoutCallbacks(userId);
      this.#options.onLastRemoved?.(userId);
    }
    return true;
  }

  has(userId: string, callback: ClientCallback): boolean {
    return this.#users.get(userId)?.subscriptions.has(callback) ?? false;
  }

  /** How many users are known. */
  get size(): number {
    return this.#users.size;
  }

  /** How many callbacks the user has. */
  count(userId: string): number {
    return this.#users.get(userId)?.subscriptions.size ?? 0;
  }

  /** Whether one of the user's callbacks asks for the backlog. */
  wantsBacklog(userId: string): boolean {
    return this.#subscriptions(userId).some(({ filters }) => [...filters].some((filter) => filter.wantsBacklog));
  }

  /** How many calls have run for longer than they may, and still run. */
  get overdue(): number {
    return this.#calls.overdue;
  }

  /** How many of those are calls of the user's callbacks. */
  overdueOf(userId: string): number {
    return this.#subscriptions(userId).reduce((sum, { overdueCalls }) => sum + overdueCalls, 0);
  }

  /** Undoes all registrations of the user, and forgets what their callbacks have had. */
  forget(userId: string): void {
    for (const subscription of this.#subscriptions(userId)) {
      subscription.filters.clear();
      this.#calls.forget(subscription);
    }
    this.#users.delete(userId);
    this.#handled.forget(userId);
  }

  /** Removes every callback, and waits for no call any more. */
  clear(): void {
    this.#isCleared = true;
    for (const { subscriptions } of this.#users.values()) {
      for (const subscription of subscriptions.values()) subscription.filters.clear();
    }
    this.#users.clear();
    this.#withoutCallbacks.clear();
    this.#calls.close();
  }

  /** A stop has waited long enough: tells the user's callbacks that run to end. What they return counts all the same. */
  abortCalls(userId: string): void {
    this.#calls.abort(userId);
  }

  /**
   * Queues the event for every callback that wants it. Resolves to true when all of them are finished with it, and
   * to false when `signal` ended the wait: then the event has to come again. `record` stores that it was handled.
   */
  async dispatch(event: ClientEvent, signal: AbortSignal, record = async (): Promise<void> => {}): Promise<boolean> {
    const wanting = this.#subscriptions(event.userId).filter((subscription) => wants(subscription, event));
    if (wanting.length === 0) return true;
    let unfinished = wanting.length;
    const finished = await Promise.all(
      wanting.map((subscription) => {
        return subscription.rooms.run(event.roomId, async () => {
          if (!(await this.#deliver(subscription, event, signal))) return false;
          // The last callback to finish waits for the store, so that a crash repeats one event of a room at most.
          if (--unfinished === 0) await record();
          return true;
        });
      }),
    );
    if (!finished.every(Boolean)) return false;
    const id = repetitionId(event);
    if (id !== undefined) {
      for (const { handled } of wanting) handled.delete(id);
      this.#handled.add(event.userId, id);
    }
    return true;
  }

  /**
   * Gives an event once more to the callbacks that failed on it; to all that want it when none is known to have, as in
   * another process. Resolves to whether at least one took it and none failed.
   */
  async redeliver(event: ClientEvent, signal: AbortSignal): Promise<boolean> {
    const subscriptions = this.#subscriptions(event.userId);
    const id = repetitionId(event);
    const failed = subscriptions.filter((subscription) => id !== undefined && subscription.failed.has(id));
    const outcomes = await Promise.all(
      (failed.length > 0 ? failed : subscriptions).map((subscription) =>
        subscription.rooms.run(event.roomId, () => this.#attempt(subscription, event, signal)),
      ),
    );
    return outcomes.includes('handled') && outcomes.every((outcome) => outcome === 'handled' || outcome === 'unwanted');
  }

  /** Resolves when none of the user's callbacks that run now does so any more. */
  idle(userId: string): Promise<void> {
    return this.#calls.ended(userId);
  }

  /** Whether the caller is a callback of the user. Waiting there for {@link idle} would be for ever. */
  isInside(userId: string): boolean {
    return this.#calls.isInside(userId);
  }

  async #deliver(subscription: Subscription, event: ClientEvent, signal: AbortSignal): Promise<boolean> {
    const id = repetitionId(event);
    if (id !== undefined && (subscription.handled.has(id) || this.#handled.has(event.userId, id))) return true;
    const outcome = await this.#attempt(subscription, event, signal);
    if (id !== undefined && (outcome === 'handled' || outcome === 'failed')) subscription.handled.add(id);
    return outcome !== 'stopped'; // else the event comes again with the next start
  }

  /** Gives the event to the callback as often as it may fail on it. */
  async #attempt(subscription: Subscription, event: ClientEvent, signal: AbortSignal): Promise<Outcome> {
    const id = repetitionId(event);
    for (let attempt = 1; ; attempt++) {
      if (signal.aborted) return 'stopped';
      if (!wants(subscription, event)) return 'unwanted'; // removed meanwhile
      const call = this.#calls.prepare(subscription, event);
      try {
        await this.#calls.run(call, subscription.callback, event, attempt);
        if (id !== undefined) subscription.failed.delete(id);
        return 'handled';
      } catch (error) {
        if (call.isAborted && !wants(subscription, event)) {
          // Removed while it ran. Where it was the last one, the event is for those that are added later.
          return signal.aborted && !this.#isCleared ? 'stopped' : 'unwanted';
        }
        this.#options.onError(event, error, attempt);
        if (signal.aborted && call.isAborted) return 'stopped'; // it failed because it was told to end
        if (attempt >= this.#options.attempts) {
          if (!(await this.#storeDeadLetter(event, error, attempt, signal))) return 'stopped';
          if (id !== undefined) subscription.failed.add(id);
          return 'failed';
        }
        if (!(await this.#pause(attempt, signal))) return 'stopped';
      }
    }
  }

  /** Makes a dead letter of the event, however often that takes; resolves to false when stopped before. */
  async #storeDeadLetter(event: ClientEvent, error: unknown, attempts: number, signal: AbortSignal): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      try {
        await this.#options.onDeadLetter(event, error, attempts);
        return true;
      } catch {
        // The failure was logged where it happened. The event must not count as handled before it is stored.
        if (!(await this.#pause(tries, signal))) return false;
      }
    }
  }

  /** Waits longer each time; resolves to false when `signal` fires. */
  async #pause(failures: number, signal: AbortSignal): Promise<boolean> {
    const { clock, retryDelayMs } = this.#options;
    const delayMs = Math.min(MAX_PAUSE_MS, retryDelayMs * 2 ** (failures - 1));
    const waited = delay(clock, delayMs, signal, 'retrying a callback').then(() => true);
    return waited.catch(() => false);
  }

  /** The user's last callback is gone. It may be added again, but not each user can be remembered for that. */
  #keepWithoutCallbacks(userId: string): void {
    this.#withoutCallbacks.add(userId);
    if (this.#withoutCallbacks.size <= REMEMBERED_USERS) return;
    for (const oldest of this.#withoutCallbacks) {
      this.#withoutCallbacks.delete(oldest);
      this.#users.delete(oldest);
      return;
    }
  }

  #user(userId: string): User {
    const user = this.#users.get(userId) ?? { subscriptions: new Map(), known: new WeakMap() };
    this.#users.set(userId, user);
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
