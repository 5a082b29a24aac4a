import { forbidden } from '../matrix-error.js';
import type { User } from '../world/user.js';
import type { Room } from './room.js';
import type { RoomEvent } from './room-event.js';
import { membershipIn } from './room-event.js';

/**
 * Whether a user may see an event, by where they stood at the time and the room's history visibility then.
 * @see https://spec.matrix.org/v1.16/client-server-api/#room-history-visibility
 */
export function canSee(room: Room, userId: string, event: RoomEvent): boolean {
  if (event.type === 'm.room.member' && event.stateKey === userId) return true;
  const membership = room.membershipAt(userId, event.stream);
  if (membership === 'join') return true;
  const joinedLater = room.membershipsOf(userId).findLast((member) => membershipIn(member) === 'join');
  const joinsAfter = joinedLater !== undefined && joinedLater.stream > event.stream;
  switch (visibilityAt(room, event.stream)) {
    case 'world_readable':
      return true;
    case 'invited':
      return membership === 'invite' && joinsAfter;
    case 'joined':
      return false;
    default:
      return joinsAfter;
  }
}

function visibilityAt(room: Room, position: number): unknown {
  let event = room.state.current.get('m.room.history_visibility');
  while (event && event.stream > position) event = event.replaces;
  return event?.content['history_visibility'] ?? 'shared';
}

/**
 * Up to where the user may read the room: `Infinity` for its members and for all when it is world-readable, the
 * position of their leaving for those who left. Throws 403 for everyone else.
 */
export function readableUpTo(room: Room | undefined, user: User, roomId: string): number {
  const refuse = (): never => {
    throw forbidden(`User ${user.userId} not in room ${roomId}, and room previews are disabled`);
  };
  if (!room) return refuse();
  if (room.joined.has(user.userId)) return Infinity;
  if (visibilityAt(room, Infinity) === 'world_readable') return Infinity;
  const last = room.membershipsOf(user.userId).at(-1);
  const hasLeft = last !== undefined && ['leave', 'ban'].includes(membershipIn(last));
  if (!hasLeft || user.rooms.get(roomId)?.forgotten) return refuse();
  return last.stream;
}
