import type { ClientEvent } from '../core/client-event.js';
import { RecentMap } from '../core/recent-map.js';
import type { CallbackFilter, ClientCallback } from './callback.js';
import { anyMatches, Subscription } from './subscription.js';

/** How many users are kept, per callback, who have no event under way. Without them, an event may be repeated. */
const REMEMBERED_USERS = 1_000;

/** A callback for the events of many users. */
interface ManagerCallback {
  readonly callback: ClientCallback;
  /** One filter per registration, shared by all subscriptions. Empty while the callback is not registered. */
  readonly filters: Set<CallbackFilter>;
  /** The subscriptions of users with an event under way, or with an overdue call. */
  readonly busy: Map<string, UserSubscription>;
  /** Subscriptions of other users that remember events. */
  readonly idle: RecentMap<UserSubscription>;
}

/** What a callback for many users has to do for one of them. */
class UserSubscription extends Subscription {
  readonly userId: string;
  /** How many events are under way. */
  uses = 0;

  constructor({ callback, filters }: ManagerCallback, userId: string) {
    super(callback, filters);
    this.userId = userId;
  }
}

/** The subscriptions that want an event. */
export interface UsedSubscriptions {
  readonly subscriptions: readonly Subscription[];
  /** Call this when the event is handled, or given up. */
  readonly release: () => void;
}

/**
 * Callbacks for the events of all users, or of those that they name. A subscription of one user exists while an event of
 * the user is under way, so that memory does not grow with the number of users.
 */
export class ManagerCallbacks {
  readonly #registered = new Map<ClientCallback, ManagerCallback>();
  /** Removed callbacks, too: a callback that is added again gets back its queues and finished events. */
  readonly #everRegistered = new WeakMap<ClientCallback, ManagerCallback>();

  /** Returns a function that undoes this call. */
  add(callback: ClientCallback, filter: CallbackFilter): () => boolean {
    const known = this.#everRegistered.get(callback);
    const added = known ?? { callback, filters: new Set(), busy: new Map(), idle: new RecentMap(REMEMBERED_USERS) };
    this.#everRegistered.set(callback, added);
    this.#registered.set(callback, added);
    added.filters.add(filter);
    return () => {
      if (!added.filters.delete(filter)) return false;
      if (added.filters.size === 0) this.#registered.delete(callback);
      return true;
    };
  }

  /** Whether there is a callback for events of the user. */
  isFor(userId: string): boolean {
    return this.#hasFilter((filter) => filter.isFor(userId));
  }

  /** Whether one of the callbacks asks for the backlog of the user. */
  wantsBacklog(userId: string): boolean {
    return this.#hasFilter((filter) => filter.wantsBacklog && filter.isFor(userId));
  }

  /** Whether one of the callbacks asks for presence events of the user. */
  wantsPresence(userId: string): boolean {
    return this.#hasFilter((filter) => filter.wantsPresence && filter.isFor(userId));
  }

  /** The subscriptions that want the event. They are kept until they are released. */
  use(event: ClientEvent): UsedSubscriptions {
    const used: (readonly [ManagerCallback, UserSubscription])[] = [];
    for (const each of this.#registered.values()) {
      const { userId } = event;
      if (!anyMatches(each.filters, event)) continue;
      const subscription = each.busy.get(userId) ?? each.idle.get(userId) ?? new UserSubscription(each, userId);
      subscription.uses++;
      each.busy.set(userId, subscription);
      each.idle.delete(userId);
      used.push([each, subscription]);
    }
    return {
      subscriptions: used.map(([, subscription]) => subscription),
      release: () => {
        for (const [each, subscription] of used) {
          subscription.uses--;
          releaseIfIdle(each, subscription);
        }
      },
    };
  }

  /** How many subscriptions are kept. */
  get size(): number {
    return this.#sum(({ busy, idle }) => busy.size + idle.size);
  }

  /** How many calls still run although the manager no longer waits for them. */
  get overdue(): number {
    return this.#sum((each) => {
      let sum = 0;
      for (const subscription of each.busy.values()) {
        sum += subscription.overdueCalls;
        releaseIfIdle(each, subscription); // an overdue call may have ended since
      }
      return sum;
    });
  }

  /** Like {@link overdue}, of one user. */
  overdueOf(userId: string): number {
    return this.#sum(({ busy }) => busy.get(userId)?.overdueCalls ?? 0);
  }

  /** Forgets which events of the user were handled. */
  forget(userId: string): void {
    for (const { busy, idle } of this.#registered.values()) {
      busy.delete(userId);
      idle.delete(userId);
    }
  }

  /** Removes every callback. */
  clear(): void {
    for (const { filters } of this.#registered.values()) filters.clear();
    this.#registered.clear();
  }

  #hasFilter(matches: (filter: CallbackFilter) => boolean): boolean {
    for (const { filters } of this.#registered.values()) for (const filter of filters) if (matches(filter)) return true;
    return false;
  }

  #sum(count: (each: ManagerCallback) => number): number {
    return [...this.#registered.values()].reduce((sum, each) => sum + count(each), 0);
  }
}

function releaseIfIdle({ busy, idle }: ManagerCallback, subscription: UserSubscription): void {
  const { userId, uses, overdueCalls, finishedIds, failedIds } = subscription;
  if (uses > 0 || overdueCalls > 0 || busy.get(userId) !== subscription) return;
  busy.delete(userId);
  if (finishedIds.size + failedIds.size > 0) idle.set(userId, subscription);
}
