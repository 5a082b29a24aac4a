import type { Clock } from '../core/clock.js';

/** How many timeline events per room a first sync asks for. */
export function initialLimit(timelineLimit: number): number {
  return Math.min(20, timelineLimit);
}

/** How many a further one asks for. */
export function syncLimit(timelineLimit: number): number {
  return Math.min(50, timelineLimit);
}

/** The filter of a sync, as it goes into the query: one that is stored would cost a request per start. */
export function syncFilter(limit: number): string {
  return JSON.stringify({ room: { timeline: { limit }, state: { lazy_load_members: true } } });
}

/** A filter that leaves the position, and what belongs to no room. Synapse answers it as if the user had no rooms. */
export const NO_ROOMS_FILTER = JSON.stringify({ room: { rooms: [] } });

/** A timeout that is new each time keeps Synapse from answering a first sync with an old response. */
export function cacheBuster(clock: Clock): number {
  return clock.now() % 100_000;
}
