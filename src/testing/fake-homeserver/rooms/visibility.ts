import { forbidden } from '../matrix-error.js';
import type { Membership, User } from '../world/user.js';
import type { Room } from './room.js';
import type { RoomEvent } from './room-event.js';
import { membershipIn } from './room-event.js';

/** From the least to the most restrictive. */
const VISIBILITIES = ['world_readable', 'shared', 'invited', 'joined'] as const;
type Visibility = (typeof VISIBILITIES)[number];

/** From the most to the least access. */
const MEMBERSHIPS: readonly Membership[] = ['join', 'invite', 'knock', 'leave', 'ban'];

/**
 * Whether a user may see an event, by their membership and the room's history visibility at the event. Nobody sees the
 * messages of those whom they ignore; they see their state events.
 * As in Synapse, all members, present or former, see shared history. A user who is peeking does not.
 * @see https://spec.matrix.org/v1.16/client-server-api/#room-history-visibility
 */
export function canSee(room: Room, user: User, event: RoomEvent, isPeeking = false): boolean {
  const { userId } = user;
  if (event.stateKey === undefined && user.ignores(event.sender)) return false;
  const visibility = visibilityOf(room, event);
  if (visibility === 'world_readable' || (visibility === 'shared' && !isPeeking)) return true;
  const membership = membershipFor(room, userId, event);
  return membership === 'join' || (visibility === 'invited' && membership === 'invite');
}

/** The user's membership at the event. At their own membership events: the better one of before and after. */
function membershipFor(room: Room, userId: string, event: RoomEvent): Membership {
  const membership = room.membershipAt(userId, event.stream);
  if (event.type !== 'm.room.member' || event.stateKey !== userId) return membership;
  const before = membershipIn(event.replaces);
  // a user always sees their own leave, otherwise the room would stay in their list
  if (membership === 'leave' && (before === 'join' || before === 'invite')) return 'join';
  return MEMBERSHIPS.indexOf(before) < MEMBERSHIPS.indexOf(membership) ? before : membership;
}

/** The history visibility at the event. At a change: the less restrictive one of before and after. */
function visibilityOf(room: Room, event: RoomEvent): Visibility {
  const at = visibilityAt(room, event.stream);
  if (event.type !== 'm.room.history_visibility') return at;
  const before = visibilityIn(event.replaces);
  return VISIBILITIES.indexOf(before) < VISIBILITIES.indexOf(at) ? before : at;
}

function visibilityAt(room: Room, position: number): Visibility {
  let event = room.state.current.get('m.room.history_visibility');
  while (event && event.stream > position) event = event.replaces;
  return visibilityIn(event);
}

function visibilityIn(event: RoomEvent | undefined): Visibility {
  const value = event?.content['history_visibility'];
  return VISIBILITIES.find((visibility) => visibility === value) ?? 'shared';
}

/** The range of a room that a user may read. */
export interface ReadAccess {
  readonly room: Room;
  /** The position at which the user left, or `Infinity`. */
  readonly upTo: number;
  /** Whether the user may read the room only because it is world-readable. */
  readonly isPeeking: boolean;
}

/** The access of members, former members, and of everyone to a world-readable room. Throws 403 for all others. */
export function readAccess(room: Room | undefined, user: User, roomId: string): ReadAccess {
  const refused = forbidden(`User ${user.userId} not in room ${roomId}, and room previews are disabled`);
  if (!room) throw refused;
  if (room.joined.has(user.userId)) return { room, upTo: Infinity, isPeeking: false };
  const last = room.membershipsOf(user.userId).at(-1);
  const hasLeft = last !== undefined && ['leave', 'ban'].includes(membershipIn(last));
  if (hasLeft && !user.rooms.get(roomId)?.forgotten) return { room, upTo: last.stream, isPeeking: false };
  if (visibilityAt(room, Infinity) !== 'world_readable') throw refused;
  return { room, upTo: Infinity, isPeeking: true };
}
