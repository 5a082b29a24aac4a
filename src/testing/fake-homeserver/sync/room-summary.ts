import type { JsonObject } from '../json.js';
import type { Room } from '../rooms/room.js';
import type { RoomEvent } from '../rooms/room-event.js';
import { membershipIn } from '../rooms/room-event.js';
import type { SyncContext } from './sync-context.js';
import type { Timeline, TimelineRange } from './timeline.js';

const MAX_HEROES = 5;

/**
 * The member counts of a room and, if it has no name, its heroes, for clients with lazy loading. Adds the membership
 * events of the heroes to `state` if the client has not received them.
 */
export function roomSummary(
  context: SyncContext,
  room: Room,
  range: TimelineRange,
  timeline: Timeline,
  state: RoomEvent[],
): JsonObject {
  if (!context.filter.lazyLoadMembers || !isDue(range, timeline, state)) return {};
  const summary: JsonObject = {
    'm.joined_member_count': room.countMembers('join'),
    'm.invited_member_count': room.countMembers('invite'),
  };
  const name = room.state.current.get('m.room.name')?.content['name'];
  const alias = room.state.current.get('m.room.canonical_alias')?.content['alias'];
  if (name || alias) return summary;
  const heroes = heroesOf(room, context.user.userId);
  const known = new Set([...state, ...timeline.events].filter(isMember));
  for (const hero of heroes) {
    const { viewer, since, upTo, lazyMembers } = context;
    if (known.has(hero) || lazyMembers.wasSent(viewer.device, hero.eventId, since ?? -1)) continue;
    lazyMembers.markSent(viewer.device, hero.eventId, upTo);
    state.push(hero);
  }
  return { ...summary, 'm.heroes': heroes.map(({ stateKey }) => stateKey) };
}

function isDue({ since }: TimelineRange, timeline: Timeline, state: readonly RoomEvent[]): boolean {
  return since === undefined || timeline.events.some(isMember) || (timeline.limited && state.some(isMember));
}

function isMember({ type }: RoomEvent): boolean {
  return type === 'm.room.member';
}

/** The heroes, whose names make the name of a room without one. */
export function heroesOf(room: Room, self: string): RoomEvent[] {
  const others = room.state.current.ofType('m.room.member').filter(({ stateKey }) => stateKey !== self);
  const present = others.filter((event) => ['join', 'invite'].includes(membershipIn(event)));
  const heroes = present.length > 0 ? present : others;
  return heroes.toSorted((a, b) => a.stream - b.stream).slice(0, MAX_HEROES);
}
