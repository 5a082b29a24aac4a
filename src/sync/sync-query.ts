import { randomUUID } from 'node:crypto';

/** The timeline limit of an initial sync, in events per room. */
export function initialLimit(timelineLimit: number): number {
  return Math.min(20, timelineLimit);
}

/** The timeline limit of an incremental sync, in events per room. */
export function syncLimit(timelineLimit: number): number {
  return Math.min(50, timelineLimit);
}

/** The `filter` parameter, as JSON: a filter stored on the homeserver would cost one more request per start. */
export function syncFilter(limit: number): string {
  return JSON.stringify({ room: { timeline: { limit }, state: { lazy_load_members: true } } });
}

/** The part of a filter that lets no event through. */
export const NO_EVENTS = { types: [] };

/** A filter without rooms: the response has the position, and data outside rooms such as account data. */
export const NO_ROOMS_FILTER = JSON.stringify({ room: { rooms: [] } });

/**
 * Makes the filter differ from those of other requests, without a change of what it lets through. Synapse returns the
 * cached response to a request that is identical to one of the last two minutes, even to one of an earlier process. The
 * cached response lacks the newest events.
 * @param nonce - requests with the same nonce may share a response
 */
export function uncachedFilter(filter: string, nonce: string = randomUUID()): string {
  // The filter is part of Synapse's cache key, and no sender has this id.
  return withPresence(filter, { not_senders: [`@${nonce}:nonce.invalid`] });
}

/** Makes the filter leave out the presence of other users. */
export function withoutPresence(filter: string): string {
  return withPresence(filter, { not_types: ['*'] });
}

function withPresence(filter: string, conditions: object): string {
  const definition = JSON.parse(filter) as { readonly presence?: object };
  return JSON.stringify({ ...definition, presence: { ...definition.presence, ...conditions } });
}
