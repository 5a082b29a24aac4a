import type { JsonObject } from '../json.js';
import { clientEvent } from '../rooms/client-event.js';
import type { Room } from '../rooms/room.js';
import type { RoomEvent } from '../rooms/room-event.js';
import { heroesOf } from './room-summary.js';
import { strippedInviteState } from './room-entry.js';
import type { SlidingRoomConfig } from './sliding-request.js';
import type { SyncContext } from './sync-context.js';
import { loadTimeline } from './timeline.js';

const MEMBER = 'm.room.member';

export interface SlidingRoom {
  readonly body: JsonObject;
  /** Ids of the events in the timeline. */
  readonly eventIds: ReadonlySet<string>;
}

/**
 * A room in a response of simplified sliding sync. The context's `since` is the position up to which the connection
 * has received the room. The state is the one after the timeline.
 */
export function slidingRoom(context: SyncContext, room: Room, config: SlidingRoomConfig): SlidingRoom | undefined {
  const { viewer, since, upTo, world } = context;
  const counts = { notification_count: 0, highlight_count: 0 }; // Synapse always returns 0
  const membership = room.membership(viewer.userId);
  const head = { ...counts, ...(since === undefined && { initial: true }) };
  if (membership === 'invite') {
    const body = { ...head, invite_state: strippedInviteState(room, viewer.userId) };
    return since === undefined ? { body, eventIds: new Set() } : undefined;
  }
  const left = membership === 'join' ? undefined : room.membershipsOf(viewer.userId).at(-1);
  const timeline = loadTimeline(context, room, { since, upTo: left?.stream ?? upTo });
  const { events, limited } = timeline;
  if (since !== undefined && events.length === 0) return undefined;
  const first = events[0];
  const view = { format: 'sync', membership: true, relations: limited } as const;
  const heroes = heroesOf(room, viewer.userId);
  const hasName = Boolean(room.state.current.get('m.room.name')?.content['name']);
  const body = {
    ...head,
    joined_count: room.countMembers('join'),
    invited_count: room.countMembers('invite'),
    required_state: requiredState(context, room, config, events).map((event) =>
      clientEvent(room, event, viewer, { format: 'sync' }),
    ),
    ...(!hasName && {
      heroes: heroes.map(({ stateKey, content }) => ({ user_id: stateKey, displayname: content['displayname'] })),
    }),
    ...(config.timelineLimit > 0 && {
      timeline: events.map((event) => clientEvent(room, event, viewer, view)),
      limited,
      // unlike in /sync, it lies before the timeline even if that is complete
      prev_batch: world.positions.history(first ? first.stream - 1 : timeline.prevBatch),
      num_live: 0,
    }),
  };
  return { body, eventIds: new Set(events.map(({ eventId }) => eventId)) };
}

function requiredState(
  { viewer, since }: SyncContext,
  room: Room,
  { requiredState: pairs }: SlidingRoomConfig,
  timeline: readonly RoomEvent[],
): RoomEvent[] {
  const relevant = new Set(
    timeline.flatMap(({ type, sender, stateKey }) => [sender, type === MEMBER ? stateKey : sender]),
  );
  return room.state.current.all().filter(({ type, stateKey = '', stream }) => {
    if (since !== undefined && stream <= since) return false;
    return pairs.some(([wanted, key]) => {
      if (wanted === '*') return true; // includes all members too
      if (wanted !== type) return false;
      if (key === '$ME') return stateKey === viewer.userId;
      return key === '$LAZY' ? relevant.has(stateKey) : key === '*' || key === stateKey;
    });
  });
}
