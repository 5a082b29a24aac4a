import type { Room } from '../rooms/room.js';
import type { RoomEvent } from '../rooms/room-event.js';
import { canSee } from '../rooms/visibility.js';
import type { SyncContext } from './sync-context.js';

/** A limit for incremental timelines that a test has set. */
export interface TimelineLimit {
  readonly limit: number;
  /** Whether `limited` is left out of the response, as in synapse#16463. */
  readonly omitLimited: boolean;
}

/** The part of a room's timeline that a sync returns. */
export interface Timeline {
  readonly events: readonly RoomEvent[];
  readonly limited: boolean;
  /** Whether the filter removed events from the middle. */
  readonly hasGaps: boolean;
  /** The position from which the client pages backwards. */
  readonly prevBatch: number;
}

export interface TimelineRange {
  /** The position up to which the client has the room; undefined to start like an initial sync. */
  readonly since: number | undefined;
  /** The client's position before a new join. `prev_batch` depends on the events after it. */
  readonly joinedSince?: number | undefined;
  readonly upTo: number;
}

/** Selects the newest events of the range. `prev_batch` is at the same positions as in Synapse, even odd ones. */
export function loadTimeline(context: SyncContext, room: Room, range: TimelineRange): Timeline {
  const { since, upTo, joinedSince } = range;
  const limit = limitOf(context, since);
  if (limit === 0) return timelineForLimitZero(context, room, range);
  if (since === undefined) {
    const fresh = joinedSince === undefined ? [] : room.eventsBetween(joinedSince, upTo);
    const { events, cut } = newestEvents(context, room, 0, upTo, limit);
    const restart = fresh.length === 0 ? upTo : positionBefore(fresh.slice(-(limit + 1)), upTo);
    return {
      events,
      hasGaps: true,
      limited: cut || joinedSince !== undefined,
      prevBatch: cut ? positionBefore(events, upTo) : restart,
    };
  }
  const all = room.eventsBetween(since, upTo);
  if (all.length <= limit) {
    const events = all.filter((event) => isWanted(context, room, event));
    const hasGaps = events.length < all.length;
    return { events, hasGaps, limited: false, prevBatch: positionBefore(events, positionBefore(all, since)) };
  }
  const { events, cut } = newestEvents(context, room, since, upTo, limit);
  const restart = positionBefore(all.slice(-(limit + 1)), since);
  return { events, hasGaps: true, limited: cut, prevBatch: cut ? positionBefore(events, upTo) : restart };
}

/** The timeline for a limit of 0, as in Synapse: empty for a new room, otherwise the newest event. */
function timelineForLimitZero(context: SyncContext, room: Room, { since, joinedSince, upTo }: TimelineRange): Timeline {
  const start = since ?? joinedSince;
  const last = start === undefined ? undefined : room.eventsBetween(start, upTo).at(-1);
  const events = last && isWanted(context, room, last) ? [last] : [];
  const isNew = since === undefined;
  return { events, hasGaps: true, limited: isNew || last !== undefined, prevBatch: last ? last.stream - 1 : upTo };
}

function limitOf({ filter, timelineLimit }: SyncContext, since: number | undefined): number {
  if (since === undefined || !timelineLimit) return filter.timelineLimit;
  return Math.min(filter.timelineLimit, timelineLimit.limit);
}

/** The newest `limit` wanted events after `since`, oldest first, and whether there were more. */
function newestEvents(
  context: SyncContext,
  room: Room,
  since: number,
  upTo: number,
  limit: number,
): { events: RoomEvent[]; cut: boolean } {
  const found: RoomEvent[] = [];
  for (let index = lastIndexUpTo(room, upTo); index >= 0; index--) {
    const event = room.events[index];
    if (!event || event.stream <= since) break;
    if (!isWanted(context, room, event)) continue;
    if (found.length === limit) return { events: found.toReversed(), cut: true };
    found.push(event);
  }
  return { events: found.toReversed(), cut: false };
}

function lastIndexUpTo(room: Room, upTo: number): number {
  return room.events.length - 1 - room.eventsBetween(upTo, Infinity).length;
}

function isWanted({ filter, user }: SyncContext, room: Room, event: RoomEvent): boolean {
  return filter.timeline.accepts(event) && canSee(room, user, event);
}

function positionBefore(events: readonly RoomEvent[], otherwise: number): number {
  const first = events[0];
  return first ? first.stream - 1 : otherwise;
}
