import type { Clock } from '../core/clock.js';

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

/** A filter without rooms: the response has the position, and data outside rooms such as account data. */
export const NO_ROOMS_FILTER = JSON.stringify({ room: { rooms: [] } });

/** A `timeout` in milliseconds that varies, so that Synapse does not answer an initial sync from its cache. */
export function cacheBuster(clock: Clock): number {
  return clock.now() % 100_000;
}
