import type { ClientEvent } from '../core/client-event.js';
import { Subscription } from './subscription.js';

/**
 * A callback with `once`: it gets the events of all users, each event once. Filters of the same options have the same
 * key, the group.
 */
export class OnceSubscription extends Subscription {
  /** The groups of its filters that match the event, each once. */
  groupsFor(event: ClientEvent): string[] {
    const matching = [...this.filters].filter((filter) => filter.matches(event));
    return [...new Set(matching.map((filter) => filter.key ?? ''))];
  }
}
