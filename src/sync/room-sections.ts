import { isObject } from '../core/raw-event.js';
import type { JoinedRoomBody, ParsedSync } from './sync-response.js';

/** Rooms in the shape of an initial sync. */
export interface RoomSections {
  /** Room id to the room in the `join` section. */
  readonly join: Map<string, JoinedRoomBody>;
  /** Room id to the room in the `invite` section. */
  readonly invite: Map<string, unknown>;
}

export function noSections(): RoomSections {
  return { join: new Map(), invite: new Map() };
}

/** Joined rooms whose full state is in the sync, as after a join: their `m.room.create` is in it. */
export function roomsWithFullState({ response }: ParsedSync): Set<string> {
  const whole = Object.entries(response.rooms.join ?? {}).filter(([, room]) =>
    [room.timeline, room.state, room['org.matrix.msc4222.state_after']].some((part) =>
      part?.events?.some(isCreationEvent),
    ),
  );
  return new Set(whole.map(([roomId]) => roomId));
}

/**
 * Removes from the sections the events of a later sync, so that these are not delivered as backlog. Rooms that the user
 * has left since, and rooms whose full state is in the later sync, are removed as a whole.
 */
export function withoutLiveEvents(sections: RoomSections, liveSync: ParsedSync): RoomSections {
  const { rooms, invites } = liveSync.batch;
  const liveRooms = new Map(rooms.map((room) => [room.roomId, room]));
  const replaced = new Set([...roomsWithFullState(liveSync), ...invites.map(({ roomId }) => roomId)]);
  const remaining = noSections();
  for (const [roomId, section] of sections.join) {
    const liveRoom = liveRooms.get(roomId);
    if (replaced.has(roomId) || liveRoom?.membership === 'leave') continue;
    remaining.join.set(roomId, liveRoom ? removeLiveEvents(section, liveRoom) : section);
  }
  for (const [roomId, section] of sections.invite) {
    if (!replaced.has(roomId) && !liveRooms.has(roomId)) remaining.invite.set(roomId, section);
  }
  return remaining;
}

function isCreationEvent(event: unknown): boolean {
  return isObject(event) && event.type === 'm.room.create';
}

function removeLiveEvents(section: JoinedRoomBody, liveRoom: ParsedSync['batch']['rooms'][number]): JoinedRoomBody {
  const { timeline } = section;
  // Some events of the section may lie in the gap of a limited live timeline, and it is unknown which. So all of them
  // are dropped here; the gap is filled from /messages.
  if (liveRoom.limited) return { ...section, timeline: { events: [], limited: true } };
  const liveIds = new Set(liveRoom.timeline.map(({ event_id: id }) => id));
  const isOld = (event: unknown): boolean => !(isObject(event) && liveIds.has(String(event.event_id)));
  const events = timeline.events.filter(isOld);
  if (events[0] === timeline.events[0]) return { ...section, timeline: { ...timeline, events } };
  const { prev_batch: _before, ...rest } = timeline; // the token points before the removed events
  return { ...section, timeline: { ...rest, events } };
}
