import { isObject } from '../core/raw-event.js';
import type { JoinedRoomBody, ReadSync } from './sync-response.js';

/** Rooms as an initial sync tells of them. */
export interface RoomSections {
  /** Room id to its part of the `join` section. */
  readonly join: Map<string, JoinedRoomBody>;
  /** Room id to its part of the `invite` section. */
  readonly invite: Map<string, unknown>;
}

export function noSections(): RoomSections {
  return { join: new Map(), invite: new Map() };
}

/** Rooms of which `sync` tells all there is, since the user has just come into them. */
export function wholeRooms({ response }: ReadSync): Set<string> {
  const whole = Object.entries(response.rooms.join ?? {}).filter(([, room]) =>
    [room.timeline, room.state, room['org.matrix.msc4222.state_after']].some((part) => part?.events?.some(isCreate)),
  );
  return new Set(whole.map(([roomId]) => roomId));
}

/**
 * The sections as they were before `news`, a sync that was asked for after they had come: without what it brings, so
 * that nothing of it is taken for history.
 */
export function beforeNews(sections: RoomSections, news: ReadSync): RoomSections {
  const { rooms, invites } = news.batch;
  const newsOf = new Map(rooms.map((room) => [room.roomId, room]));
  const told = new Set([...wholeRooms(news), ...invites.map(({ roomId }) => roomId)]);
  const before = noSections();
  for (const [roomId, section] of sections.join) {
    const room = newsOf.get(roomId);
    if (told.has(roomId) || room?.membership === 'leave') continue;
    before.join.set(roomId, room ? withoutEvents(section, room) : section);
  }
  for (const [roomId, section] of sections.invite) {
    if (!told.has(roomId) && !newsOf.has(roomId)) before.invite.set(roomId, section);
  }
  return before;
}

function isCreate(event: unknown): boolean {
  return isObject(event) && event.type === 'm.room.create';
}

function withoutEvents(section: JoinedRoomBody, news: ReadSync['batch']['rooms'][number]): JoinedRoomBody {
  const { timeline } = section;
  // What the news left out may be in the section, but not which of it: all of it is fetched with the gap then.
  if (news.limited) return { ...section, timeline: { events: [], limited: true } };
  const ids = new Set(news.timeline.map(({ event_id: id }) => id));
  const isOld = (event: unknown): boolean => !(isObject(event) && ids.has(String(event.event_id)));
  const events = timeline.events.filter(isOld);
  if (events[0] === timeline.events[0]) return { ...section, timeline: { ...timeline, events } };
  const { prev_batch: _before, ...rest } = timeline; // it lies before an event that is gone
  return { ...section, timeline: { ...rest, events } };
}
