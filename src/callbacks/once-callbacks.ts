import { createHash } from 'node:crypto';
import { onAbort } from '../core/abort.js';
import { queueKey } from '../core/client-event.js';
import type { ClientEvent } from '../core/client-event.js';
import type { Claim } from '../core/ports/claim.js';
import type { CallbackAttempts, Outcome } from './callback-attempts.js';
import type { CallbackFilter, ClientCallback } from './callback.js';
import { deduplicationId } from './handled-events.js';
import type { OnceLog } from './once-log.js';
import { OnceProgress } from './once-progress.js';
import type { EventProgress } from './once-progress.js';
import { OnceSubscription } from './once-subscription.js';

/** A copy of an event for one group of its callback. */
interface GroupCopy {
  readonly progress: EventProgress;
  /** Whether the event is stored as handled by the group. */
  readonly wasHandled: () => Promise<boolean>;
}

/**
 * Callbacks that get each event once, however many users see it. All users share one queue per callback and room, so
 * that the copy of a second user waits until the first one was handled, and then has nothing to do. If the first one was
 * not handled, because its user's client stopped, the second one is delivered. No user's position moves past an event
 * before that, so a crash loses nothing.
 *
 * Functions have no names that survive a restart. What was handled is therefore stored for a group: all callbacks with
 * the same options. An event is stored when every callback of the group that was given a copy has finished it.
 */
export class OnceCallbacks {
  readonly #attempts: CallbackAttempts;
  readonly #log: OnceLog;
  readonly #registered = new Set<OnceSubscription>();
  /** Removed callbacks, too: a callback that is added again gets back its queues and finished events. */
  readonly #everRegistered = new WeakMap<ClientCallback, OnceSubscription>();
  readonly #progress = new OnceProgress();
  /** Per user, what ends the waits for the running calls. */
  readonly #releases = new Map<string, Set<() => void>>();

  constructor(attempts: CallbackAttempts, log: OnceLog) {
    this.#attempts = attempts;
    this.#log = log;
  }

  /** Returns a function that undoes this call. */
  add(callback: ClientCallback, filter: CallbackFilter): () => boolean {
    const subscription = this.#everRegistered.get(callback) ?? new OnceSubscription(callback);
    this.#everRegistered.set(callback, subscription);
    this.#registered.add(subscription);
    subscription.filters.add(filter);
    return () => {
      if (!subscription.filters.delete(filter)) return false;
      if (subscription.filters.size === 0) this.#registered.delete(subscription);
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
    return [...this.#registered].filter((subscription) => subscription.wants(event));
  }

  /** How many calls still run although the manager no longer waits for them. */
  get overdue(): number {
    return [...this.#registered].reduce((sum, { overdueCalls }) => sum + overdueCalls, 0);
  }

  /** Removes every callback. */
  clear(): void {
    for (const { filters } of this.#registered) filters.clear();
    this.#registered.clear();
    this.#progress.clear(); // calls that the shutdown ends do not count as those of removed callbacks
  }

  /**
   * Resolves to true when the event is handled, for this user or for another one, and stored as handled; to false if
   * `signal` fired before, or if the event has to be delivered again.
   */
  deliver(subscription: OnceSubscription, event: ClientEvent, signal: AbortSignal, claim?: Claim): Promise<boolean> {
    const copies = this.#copiesFor(subscription, event, signal);
    return new Promise((resolve, reject) => {
      // A stopped client must not wait for the call that another user's event has begun.
      const stopListening = onAbort(signal, () => resolve(false));
      const task = async (): Promise<boolean> => {
        stopListening();
        return this.#orReleased(event.userId, this.#handle(subscription, copies, event, signal, claim));
      };
      subscription.roomQueues.run(queueKey(event), task).then(resolve, reject);
    });
  }

  /**
   * Ends the waits for the user's running calls, whose events are to be delivered again. Call this when the stop of the
   * user's client no longer waits for them: the queues go on with the copies of other users. A call that succeeds later
   * counts all the same.
   */
  release(userId: string): void {
    for (const release of this.#releases.get(userId) ?? []) release();
  }

  /** Settles as `handling` does, or resolves to false after {@link release}. */
  #orReleased(userId: string, handling: Promise<boolean>): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const release = (): void => resolve(false);
      const releases = this.#releases.get(userId) ?? new Set();
      this.#releases.set(userId, releases.add(release));
      const forget = (): void => {
        releases.delete(release);
        if (releases.size === 0 && this.#releases.get(userId) === releases) this.#releases.delete(userId);
      };
      handling.finally(forget).then(resolve, reject);
    });
  }

  /** Must be called for all callbacks that want the event before the first of them is called. */
  #copiesFor(subscription: OnceSubscription, event: ClientEvent, signal: AbortSignal): GroupCopy[] {
    const isFinished = hasFinished(subscription, event);
    return subscription.groupsFor(event).map((group) => {
      const keys = variantsOf(event).map((unreadable) => onceKey(group, event, unreadable));
      const progress = this.#progress.begin(keys[0] as string, subscription, isFinished);
      return { progress, wasHandled: this.#log.lookUp(keys, signal) };
    });
  }

  async #handle(
    subscription: OnceSubscription,
    copies: readonly GroupCopy[],
    event: ClientEvent,
    signal: AbortSignal,
    claim: Claim | undefined,
  ): Promise<boolean> {
    let outcome: Outcome = 'stopped';
    const open: EventProgress[] = [];
    try {
      for (const { progress, wasHandled } of copies) {
        if (signal.aborted || !(await wasHandled())) open.push(progress);
        else this.#progress.end(progress);
      }
      if (open.length === 0) return true;
      const isFinished = !signal.aborted && hasFinished(subscription, event);
      outcome = isFinished ? 'succeeded' : await this.#attempts.run(subscription, event, signal, claim);
    } finally {
      // The room's next event waits for the storage, so that a crash repeats at most one event per room.
      await this.#store(subscription, open, event, outcome);
    }
    return outcome !== 'stopped';
  }

  /** Stores that the event was handled, for each group whose callbacks have all finished it. */
  async #store(
    subscription: OnceSubscription,
    open: readonly EventProgress[],
    event: ClientEvent,
    outcome: Outcome,
  ): Promise<void> {
    const isFinished = outcome === 'succeeded' || outcome === 'failed';
    if (isFinished) subscription.finishedIds.add(idOf(event, isUnreadable(event)));
    const handled = open.filter((progress) => {
      if (isFinished) return this.#progress.finish(progress, subscription);
      return this.#progress.giveUp(progress, subscription, outcome === 'stopped');
    });
    await Promise.all(handled.map(({ key }) => this.#log.add(key)));
  }

  #hasFilter(matches: (filter: CallbackFilter) => boolean): boolean {
    for (const { filters } of this.#registered) for (const filter of filters) if (matches(filter)) return true;
    return false;
  }
}

/** Whether the user's client could not decrypt the event. */
function isUnreadable(event: ClientEvent): boolean {
  return 'encrypted' in event && event.encrypted && event.decryption?.state !== 'decrypted';
}

/**
 * Whether the copy is unreadable; and for an unreadable one, the readable variant, after which it is not delivered. A
 * readable copy is delivered even after an unreadable one.
 */
function variantsOf(event: ClientEvent): boolean[] {
  return isUnreadable(event) ? [true, false] : [false];
}

function hasFinished({ finishedIds }: OnceSubscription, event: ClientEvent): boolean {
  return variantsOf(event).some((unreadable) => finishedIds.has(idOf(event, unreadable)));
}

/** The id of the event among those that a callback has finished, for whatever group. */
function idOf(event: ClientEvent, unreadable: boolean): string {
  return JSON.stringify([event.roomId, deduplicationId(event), unreadable]);
}

/** A hash, so that the storage gets no ids. */
function onceKey(group: string, event: ClientEvent, unreadable: boolean): string {
  const parts = [group, event.roomId, deduplicationId(event), unreadable];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 24);
}
