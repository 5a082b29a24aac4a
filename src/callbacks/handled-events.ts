import type { ClientEvent } from '../core/client-event.js';
import { RecentIds } from '../core/recent-ids.js';

/** How many event ids are kept per user. If a user has had more since, a restarted client may repeat an event. */
const EVENTS_PER_USER = 1_000;
/** How many event ids are kept for all users together: about 20 MB. */
const EVENTS_OF_ALL = 200_000;

/**
 * Keeps the ids of events that all callbacks of a user have finished: a restarted client may deliver them again if storing
 * that they were handled failed. Beyond the limits it drops a user's oldest ids, and all ids of the users whose last event
 * is the oldest.
 */
export class HandledEvents {
  /** In the order of the users' last events. */
  readonly #users = new Map<string, RecentIds>();
  readonly #limits: { readonly perUser: number; readonly ofAll: number };
  #size = 0;

  constructor(limits = { perUser: EVENTS_PER_USER, ofAll: EVENTS_OF_ALL }) {
    this.#limits = limits;
  }

  /** How many event ids are kept. */
  get size(): number {
    return this.#size;
  }

  has(userId: string, eventId: string): boolean {
    return this.#users.get(userId)?.has(eventId) ?? false;
  }

  forget(userId: string): void {
    this.#size -= this.#users.get(userId)?.size ?? 0;
    this.#users.delete(userId);
  }

  add(userId: string, eventId: string): void {
    const events = this.#users.get(userId) ?? new RecentIds(this.#limits.perUser);
    this.#users.delete(userId);
    this.#users.set(userId, events);
    const before = events.size;
    this.#size += events.add(eventId).size - before;
    for (const user of this.#users.keys()) {
      if (this.#size <= this.#limits.ofAll || user === userId) break;
      this.forget(user);
    }
  }
}

/**
 * The id by which duplicates are recognised. Receipts have none: their `eventId` is that of the event that was read.
 */
export function deduplicationId(event: ClientEvent): string | undefined {
  return 'eventId' in event && event.type !== 'receipt' ? event.eventId : undefined;
}
