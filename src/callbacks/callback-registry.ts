import { queueKey } from '../core/client-event.js';
import type { ClientEvent } from '../core/client-event.js';
import type { Context } from '../core/context.js';
import type { Claim } from '../core/ports/claim.js';
import { RecentMap } from '../core/recent-map.js';
import { checkArgument, functionOf } from '../core/validation.js';
import { CallbackAttempts } from './callback-attempts.js';
import type { CallbackAttemptsOptions, Outcome } from './callback-attempts.js';
import { CallbackFilter } from './callback.js';
import type { CallbackOptions, ClientCallback, ManagerCallbackOptions } from './callback.js';
import { HandledEvents, deduplicationId } from './handled-events.js';
import { ManagerCallbacks } from './manager-callbacks.js';
import { OnceCallbacks } from './once-callbacks.js';
import type { OnceLog } from './once-log.js';
import { RunningCalls } from './running-calls.js';
import { Subscription } from './subscription.js';

/** How many users without callbacks are kept. */
const REMEMBERED_USERS = 1_000;

interface UserCallbacks {
  readonly subscriptions: Map<ClientCallback, Subscription>;
  /**
   * Subscriptions of removed callbacks, too: a callback that is added again gets back its queues and finished events.
   */
  readonly everRegistered: WeakMap<ClientCallback, Subscription>;
}

export interface CallbackRegistryOptions extends CallbackAttemptsOptions {
  /** How long one call may take before it counts as failed, in milliseconds. */
  readonly timeoutMs: number;
  readonly onceLog: OnceLog;
  /** Called when a callback was registered for the user. @default none */
  readonly onAdded?: (userId: string) => void;
  /** Called when the user's last callback was removed. @default none */
  readonly onLastRemoved?: (userId: string) => void;
  /** Called when a callback for the events of several users was registered or removed. @default none */
  readonly onManagerCallbacksChanged?: () => void;
}

/**
 * The callbacks of all users, also of users without a client, and the callbacks for the events of several users. Each
 * callback gets the events of a user's room one after the other. Callbacks do not wait for each other, and rooms do not
 * wait for other rooms.
 *
 * This file is a little long because every question is one about the callbacks of a user and about those of all users.
 */
export class CallbackRegistry {
  readonly #options: CallbackRegistryOptions;
  /** Callbacks for the events of several users. */
  readonly #managerCallbacks = new ManagerCallbacks();
  /** Users with callbacks. */
  readonly #users = new Map<string, UserCallbacks>();
  /** Users whose last callback was removed: one that is added again continues with its queues and events. */
  readonly #formerUsers = new RecentMap<UserCallbacks>(REMEMBERED_USERS);
  /** Events that all callbacks of the user have finished, also as dead letters. */
  readonly #finishedByAll = new HandledEvents();
  readonly #runningCalls: RunningCalls;
  readonly #attempts: CallbackAttempts;
  /** Callbacks that get each event once for all users. */
  readonly #onceCallbacks: OnceCallbacks;

  constructor(context: Pick<Context, 'clock' | 'diagnostics'>, options: CallbackRegistryOptions) {
    this.#options = options;
    this.#runningCalls = new RunningCalls(context, options.timeoutMs);
    this.#attempts = new CallbackAttempts(context.clock, this.#runningCalls, options);
    this.#onceCallbacks = new OnceCallbacks(this.#attempts, options.onceLog);
  }

  /**
   * Registers a callback. Registered twice, it still gets each event once. Returns a function that undoes this call.
   */
  add(userId: string, callback: ClientCallback, options?: CallbackOptions): () => void {
    checkArgument('callback', functionOf(), callback);
    const filter = CallbackFilter.forOneUser(options);
    const { subscriptions, everRegistered } = this.#user(userId);
    const subscription = everRegistered.get(callback) ?? new Subscription(callback);
    everRegistered.set(callback, subscription);
    subscriptions.set(callback, subscription);
    subscription.filters.add(filter);
    this.#options.onAdded?.(userId);
    return () => {
      if (subscription.filters.delete(filter) && subscription.filters.size === 0) this.remove(userId, callback);
    };
  }

  /**
   * Registers a callback for the events of all users, or of those in `users`. Registered twice, it still gets each event
   * once. Returns a function that undoes this call.
   */
  addForUsers(callback: ClientCallback, options?: ManagerCallbackOptions): () => void {
    checkArgument('callback', functionOf(), callback);
    const filter = CallbackFilter.forUsers(options);
    const remove = (filter.once ? this.#onceCallbacks : this.#managerCallbacks).add(callback, filter);
    this.#options.onManagerCallbacksChanged?.();
    return () => {
      if (remove()) this.#options.onManagerCallbacksChanged?.();
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

  /** Whether a callback was registered for this user alone. */
  hasOwn(userId: string): boolean {
    return this.#users.has(userId);
  }

  /** Whether there is a callback for the user's events: of the user alone, or for several users. */
  hasAny(userId: string): boolean {
    return this.hasOwn(userId) || this.#managerCallbacks.isFor(userId) || this.#onceCallbacks.isFor(userId);
  }

  /** Whether a callback asks for the user's backlog. */
  wantsBacklog(userId: string): boolean {
    const own = this.#ownSubscriptions(userId);
    if (own.some(({ filters }) => [...filters].some((filter) => filter.wantsBacklog))) return true;
    return this.#managerCallbacks.wantsBacklog(userId) || this.#onceCallbacks.wantsBacklog(userId);
  }

  /** Whether a callback asks for presence events of the user. */
  wantsPresence(userId: string): boolean {
    const own = this.#ownSubscriptions(userId);
    if (own.some(({ filters }) => [...filters].some((filter) => filter.wantsPresence))) return true;
    return this.#managerCallbacks.wantsPresence(userId);
  }

  /** How many calls of registered callbacks still run although the manager no longer waits for them. */
  get overdue(): number {
    const own = [...this.#users.keys()].reduce((sum, userId) => sum + this.#ownOverdue(userId), 0);
    return own + this.#managerCallbacks.overdue + this.#onceCallbacks.overdue;
  }

  /** Like {@link overdue}, of one user. Callbacks with `once` belong to no user. */
  overdueOf(userId: string): number {
    return this.#ownOverdue(userId) + this.#managerCallbacks.overdueOf(userId);
  }

  /** Removes the user's own callbacks, and forgets which events of the user were handled. */
  forget(userId: string): void {
    for (const { filters } of this.#ownSubscriptions(userId)) filters.clear();
    this.#users.delete(userId);
    this.#formerUsers.delete(userId);
    this.#managerCallbacks.forget(userId);
    this.#finishedByAll.forget(userId);
  }

  /** Removes every callback and ends the running calls with `MANAGER_CLOSED`. */
  clear(): void {
    this.#attempts.close();
    for (const userId of this.#users.keys()) for (const { filters } of this.#ownSubscriptions(userId)) filters.clear();
    this.#managerCallbacks.clear();
    this.#onceCallbacks.clear();
    this.#users.clear();
    this.#formerUsers.clear();
    this.#runningCalls.close();
  }

  /**
   * Aborts the signals of the user's running calls. The waits go on, and the results count. Only callbacks with `once` go
   * on with the events of other users.
   */
  abortCalls(userId: string): void {
    this.#runningCalls.abort(userId);
    this.#onceCallbacks.release(userId);
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
    const shared = this.#managerCallbacks.use(event);
    const own = this.#ownSubscriptions(event.userId).filter((subscription) => subscription.wants(event));
    try {
      return await this.#dispatchTo([...own, ...shared.subscriptions], event, signal, record, claim);
    } finally {
      shared.release();
    }
  }

  /**
   * Delivers an event again to the callbacks that failed on it. If none of them is known, as after a restart of the
   * process, delivers it to all whose filters match. A callback that waits for this itself, in an event of the same room,
   * is called at once. Resolves to whether at least one handled it and none failed.
   */
  async redeliver(event: ClientEvent, signal: AbortSignal): Promise<boolean> {
    const shared = this.#managerCallbacks.use(event);
    const once = this.#onceCallbacks.wanting(event);
    const subscriptions = [...this.#ownSubscriptions(event.userId), ...shared.subscriptions, ...once];
    const id = deduplicationId(event);
    const failed = subscriptions.filter(({ failedIds }) => id !== undefined && failedIds.has(id));
    try {
      const outcomes = await Promise.all(
        (failed.length > 0 ? failed : subscriptions).map((subscription) => {
          const run = (): Promise<Outcome> => this.#attempts.run(subscription, event, signal);
          if (this.#runningCalls.isInsideCallOf(subscription, event)) return run();
          return subscription.roomQueues.run(queueKey(event), run);
        }),
      );
      const didFail = outcomes.includes('failed') || outcomes.includes('stopped');
      return outcomes.includes('succeeded') && !didFail;
    } finally {
      shared.release();
    }
  }

  /** Resolves when the manager no longer waits for the user's calls that run now. Overdue calls do not count. */
  whenIdle(userId: string): Promise<void> {
    return this.#runningCalls.whenEnded(userId);
  }

  /** Whether the code runs inside a callback of the user. Waiting for {@link whenIdle} there would never end. */
  isInsideCallback(userId: string): boolean {
    return this.#runningCalls.isInsideCallback(userId);
  }

  async #dispatchTo(
    recipients: readonly Subscription[],
    event: ClientEvent,
    signal: AbortSignal,
    record: () => Promise<void>,
    claim: Claim | undefined,
  ): Promise<boolean> {
    const onceRecipients = this.#onceCallbacks.wanting(event);
    let remaining = recipients.length + onceRecipients.length;
    if (remaining === 0) return true;
    const recordIfLast = async (): Promise<void> => {
      // The last callback to finish waits for the commit, so that a crash repeats at most one event per room.
      if (--remaining === 0) await record();
    };
    const finished = await Promise.all([
      ...recipients.map((subscription) =>
        subscription.roomQueues.run(queueKey(event), async () => {
          if (!(await this.#deliver(subscription, event, signal, claim))) return false;
          await recordIfLast();
          return true;
        }),
      ),
      ...onceRecipients.map(async (subscription) => {
        if (!(await this.#onceCallbacks.deliver(subscription, event, signal, claim))) return false;
        await recordIfLast(); // outside of the queue, in which other users' events wait
        return true;
      }),
    ]);
    if (!finished.every(Boolean)) return false;
    const id = deduplicationId(event);
    if (id !== undefined) {
      for (const { finishedIds } of recipients) finishedIds.delete(id);
      this.#finishedByAll.add(event.userId, id);
    }
    return true;
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
    const outcome = await this.#attempts.run(subscription, event, signal, claim);
    if (id !== undefined && (outcome === 'succeeded' || outcome === 'failed')) subscription.finishedIds.add(id);
    return outcome !== 'stopped'; // 'stopped': the next start delivers the event again
  }

  #user(userId: string): UserCallbacks {
    const known = this.#users.get(userId) ?? this.#formerUsers.get(userId);
    const user = known ?? { subscriptions: new Map(), everRegistered: new WeakMap() };
    this.#users.set(userId, user);
    this.#formerUsers.delete(userId);
    return user;
  }

  /** The subscriptions of callbacks that were registered for the user alone. */
  #ownSubscriptions(userId: string): Subscription[] {
    return [...(this.#users.get(userId)?.subscriptions.values() ?? [])];
  }

  #ownOverdue(userId: string): number {
    return this.#ownSubscriptions(userId).reduce((sum, { overdueCalls }) => sum + overdueCalls, 0);
  }
}
