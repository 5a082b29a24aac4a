import type { ClientEvent } from '../core/client-event.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import { RecentIds } from '../core/recent-ids.js';
import type { CallSource } from './callback-call.js';
import type { CallbackFilter, ClientCallback } from './callback.js';

/** How many events that a callback failed on are kept, per callback. */
const REMEMBERED_FAILURES = 2_000;
/**
 * How many events are kept, per callback, that it has finished and other callbacks have not. Twice the number of events
 * in flight at which delivery makes the source wait.
 */
const REMEMBERED_EVENTS = 20_000;

/** A registered callback, and what it has finished. */
export class Subscription implements CallSource {
  readonly callback: ClientCallback;
  /** One filter per registration; empty while the callback is not registered. */
  readonly filters: Set<CallbackFilter>;
  readonly roomQueues = new KeyedQueue();
  /** Events that this callback has handled, or that became its dead letters, while other callbacks have not finished. */
  readonly finishedIds = new RecentIds(REMEMBERED_EVENTS);
  /** Events that became dead letters because this callback failed. */
  readonly failedIds = new RecentIds(REMEMBERED_FAILURES);
  overdueCalls = 0;

  constructor(callback: ClientCallback, filters = new Set<CallbackFilter>()) {
    this.callback = callback;
    this.filters = filters;
  }

  /** Whether one of the filters matches the event. False once the callback was removed. */
  wants(event: ClientEvent): boolean {
    return anyMatches(this.filters, event);
  }
}

export function anyMatches(filters: ReadonlySet<CallbackFilter>, event: ClientEvent): boolean {
  for (const filter of filters) if (filter.matches(event)) return true;
  return false;
}
