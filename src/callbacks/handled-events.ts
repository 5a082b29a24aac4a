import { RecentIds } from '../core/recent-ids.js';

/** How many of the events that everybody is finished with are remembered; a repetition comes within one sync. */
const REMEMBERED_EVENTS = 1_000;

/**
 * The events that one callback is through with: all that other callbacks are not finished with, which come again after
 * a stop however many they are, and the last of the rest.
 */
export class HandledEvents {
  readonly #open = new Set<string>();
  readonly #finished = new RecentIds(REMEMBERED_EVENTS);

  has(eventId: string): boolean {
    return this.#open.has(eventId) || this.#finished.has(eventId);
  }

  add(eventId: string): void {
    if (!this.#finished.has(eventId)) this.#open.add(eventId);
  }

  /** Every callback is finished with the event. */
  finish(eventId: string): void {
    if (this.#open.delete(eventId)) this.#finished.add(eventId);
  }
}
