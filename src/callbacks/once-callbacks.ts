import { createHash } from 'node:crypto';
import { onAbort } from '../core/abort.js';
import { queueKey } from '../core/client-event.js';
import type { ClientEvent } from '../core/client-event.js';
import type { Claim } from '../core/ports/claim.js';
import type { CallbackAttempts } from './callback-attempts.js';
import type { CallbackFilter, ClientCallback } from './callback.js';
import { deduplicationId } from './handled-events.js';
import type { OnceLog } from './once-log.js';
import { Subscription } from './subscription.js';

/** A callback with `once`: it gets the events of all users, each event once. */
class OnceSubscription extends Subscription {
  /** The key of its filters, which are all alike. */
  readonly group: string;

  constructor(callback: ClientCallback, group: string) {
    super(callback);
    this.group = group;
  }
}

/**
 * Callbacks that get each event once, however many users see it. All users share one queue per callback and room, so
 * that the copy of a second user waits until the first one was handled, and then has nothing to do. If the first one was
 * not handled, because its user's client stopped, the second one is delivered. No user's position moves past an event
 * before that, so a crash loses nothing.
 *
 * Functions have no names that survive a restart. What was handled is therefore stored for a group: all callbacks with
 * the same options. An event is stored when every callback of the group has finished it.
 */
export class OnceCallbacks {
  readonly #attempts: CallbackAttempts;
  readonly #log: OnceLog;
  /** Registered callbacks by group. */
  readonly #groups = new Map<string, Map<ClientCallback, OnceSubscription>>();
  /** Removed callbacks, too: a callback that is added again gets back its queues and finished events. */
  readonly #everRegistered = new WeakMap<ClientCallback, Map<string, OnceSubscription>>();

  constructor(attempts: CallbackAttempts, log: OnceLog) {
    this.#attempts = attempts;
    this.#log = log;
  }

  /** Returns a function that undoes this call. */
  add(callback: ClientCallback, filter: CallbackFilter): () => boolean {
    const { key: group = '' } = filter;
    const known = this.#everRegistered.get(callback) ?? new Map<string, OnceSubscription>();
    const subscription = known.get(group) ?? new OnceSubscription(callback, group);
    this.#everRegistered.set(callback, known.set(group, subscription));
    const registered = this.#groups.get(group) ?? new Map<ClientCallback, OnceSubscription>();
    this.#groups.set(group, registered.set(callback, subscription));
    subscription.filters.add(filter);
    return () => {
      if (!subscription.filters.delete(filter)) return false;
      if (subscription.filters.size > 0) return true;
      registered.delete(callback);
      if (registered.size === 0 && this.#groups.get(group) === registered) this.#groups.delete(group);
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

  /** The callbacks whose filters match the event, whether or not they have had it. */
  wanting(event: ClientEvent): OnceSubscription[] {
    return [...this.#subscriptions()].filter((subscription) => subscription.wants(event));
  }

  /** How many calls still run although the manager no longer waits for them. */
  get overdue(): number {
    return [...this.#subscriptions()].reduce((sum, { overdueCalls }) => sum + overdueCalls, 0);
  }

  /** Removes every callback. */
  clear(): void {
    for (const { filters } of this.#subscriptions()) filters.clear();
    this.#groups.clear();
  }

  /**
   * Resolves to true when the event is handled, for this user or for another one, and stored as handled; to false if
   * `signal` fired before, or if the event has to be delivered again.
   */
  deliver(subscription: OnceSubscription, event: ClientEvent, signal: AbortSignal, claim?: Claim): Promise<boolean> {
    const unreadable = isUnreadable(event);
    const key = onceKey(subscription.group, event, unreadable);
    // The copy of a user who can read an event is delivered even after that of a user who cannot, and not vice versa.
    const keys = unreadable ? [key, onceKey(subscription.group, event, false)] : [key];
    const wasHandled = this.#log.lookUp(keys, signal);
    return new Promise((resolve, reject) => {
      // A stopped client must not wait for the call that another user's event has begun.
      const stopListening = onAbort(signal, () => resolve(false));
      const task = async (): Promise<boolean> => {
        stopListening();
        if (signal.aborted) return false;
        if (keys.some((each) => subscription.finishedIds.has(each)) || (await wasHandled())) return true;
        return this.#call(subscription, key, event, signal, claim);
      };
      subscription.roomQueues.run(queueKey(event), task).then(resolve, reject);
    });
  }

  async #call(
    subscription: OnceSubscription,
    key: string,
    event: ClientEvent,
    signal: AbortSignal,
    claim: Claim | undefined,
  ): Promise<boolean> {
    const outcome = await this.#attempts.run(subscription, event, signal, claim);
    if (outcome === 'stopped') return false;
    if (outcome !== 'unwanted') subscription.finishedIds.add(key);
    // The room's next event waits for the storage, so that a crash repeats at most one event per room.
    await this.#storeIfFinished(subscription.group, key);
    return true;
  }

  /** Stores that the event was handled, if all callbacks of the group have finished it. */
  #storeIfFinished(group: string, key: string): Promise<void> | undefined {
    const subscriptions = [...(this.#groups.get(group)?.values() ?? [])];
    if (subscriptions.length === 0 || !subscriptions.every(({ finishedIds }) => finishedIds.has(key))) return undefined;
    for (const { finishedIds } of subscriptions) finishedIds.delete(key);
    return this.#log.add(key);
  }

  #hasFilter(matches: (filter: CallbackFilter) => boolean): boolean {
    for (const { filters } of this.#subscriptions()) for (const filter of filters) if (matches(filter)) return true;
    return false;
  }

  *#subscriptions(): Iterable<OnceSubscription> {
    for (const registered of this.#groups.values()) yield* registered.values();
  }
}

/** Whether the user's client could not decrypt the event. */
function isUnreadable(event: ClientEvent): boolean {
  return 'encrypted' in event && event.encrypted && event.decryption?.state !== 'decrypted';
}

/** A hash, so that the storage gets no ids. */
function onceKey(group: string, event: ClientEvent, unreadable: boolean): string {
  const parts = [group, event.roomId, deduplicationId(event), unreadable];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 24);
}
