import type { ClientEvent } from '../core/client-event.js';

/** How many events are remembered of one user; a repetition comes within one sync. */
const EVENTS_PER_USER = 1_000;
/** How many are remembered of all users together: about 20 MB. */
const EVENTS_OF_ALL = 200_000;

/**
 * The events that all callbacks of their user are finished with, so that a repetition is told: the newest of each user,
 * and of the users those who had events last.
 */
export class HandledEvents {
  /** In the order of the users' last events. */
  readonly #users = new Map<string, Set<string>>();
  readonly #limits: { readonly perUser: number; readonly ofAll: number };
  #size = 0;

  constructor(limits = { perUser: EVENTS_PER_USER, ofAll: EVENTS_OF_ALL }) {
    this.#limits = limits;
  }

  /** How many events are remembered. */
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
    const events = this.#users.get(userId) ?? new Set();
    this.#users.delete(userId);
    this.#users.set(userId, events);
    if (events.has(eventId)) return;
    events.add(eventId);
    this.#size++;
    if (events.size > this.#limits.perUser) {
      for (const oldest of events) {
        events.delete(oldest);
        this.#size--;
        break;
      }
    }
    for (const user of this.#users.keys()) {
      if (this.#size <= this.#limits.ofAll || user === userId) break;
      this.forget(user);
    }
  }
}

/** What tells a repetition: receipts carry the id of the event that was read, which is not theirs. */
export function repetitionId(event: ClientEvent): string | undefined {
  return 'eventId' in event && event.type !== 'receipt' ? event.eventId : undefined;
}
