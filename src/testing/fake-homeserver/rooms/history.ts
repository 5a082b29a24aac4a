import { firstAfter } from '../world/stream.js';
import type { EventFilter } from './event-filter.js';
import type { Room } from './room.js';
import type { RoomEvent } from './room-event.js';
import type { User } from '../world/user.js';
import { canSee } from './visibility.js';

export interface PageRequest {
  readonly direction: 'b' | 'f';
  /** The position to start at. Forwards, its event is not part of the page. */
  readonly from: number;
  readonly to?: number | undefined;
  readonly limit: number;
  readonly filter: EventFilter;
  /** Whether the reader may read the room only because it is world-readable; see `canSee`. */
  readonly isPeeking?: boolean;
}

export interface Page {
  /** In the requested direction. */
  readonly events: RoomEvent[];
  /** The position of the next page. Missing only on an empty page without further events. */
  readonly next?: number;
}

/** Reads a page of a room's events. Visibility is filtered last, as in Synapse, so a page can be short or empty. */
export function readPage(room: Room, user: User, request: PageRequest): Page {
  const { direction, limit, filter, isPeeking } = request;
  const step = direction === 'b' ? -1 : 1;
  let index = firstAfter(room.events, request.from) + (direction === 'b' ? -1 : 0);
  const found: RoomEvent[] = [];
  let more = false;
  for (; index >= 0 && index < room.events.length; index += step) {
    const event = room.events[index];
    if (!event || isBeyond(event, request)) break;
    if (!filter.accepts(event)) continue;
    if (found.length === limit) {
      more = true;
      break;
    }
    found.push(event);
  }
  const last = found.at(-1);
  if (!last) return more ? { events: [], next: request.from } : { events: [] };
  return {
    events: found.filter((event) => canSee(room, user, event, isPeeking)),
    next: direction === 'b' ? last.stream - 1 : last.stream,
  };
}

function isBeyond(event: RoomEvent, { direction, to }: PageRequest): boolean {
  if (to === undefined) return false;
  return direction === 'b' ? event.stream <= to : event.stream > to;
}
