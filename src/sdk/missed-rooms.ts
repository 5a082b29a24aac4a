import type { MatrixClient } from 'matrix-js-sdk';
import type { EventBatch, RoomBatch } from '../core/ports/event-source.js';

/**
 * A batch in which every room of the client has a gap before `position`, so that delivery reads its missed events from
 * `/messages`. Invitations have no gap.
 */
export function gapsOfAllRooms(
  matrixClient: MatrixClient,
  position: string,
): { batch: EventBatch; roomIds: ReadonlySet<string> } {
  const rooms = matrixClient.getRooms();
  const gaps = (membership: RoomBatch['membership']): RoomBatch[] =>
    rooms
      .filter((room) => room.getMyMembership() === membership)
      .map(({ roomId }) => {
        return { roomId, membership, timeline: [], limited: true, prevBatch: position, ephemeral: [] };
      });
  const invites = rooms
    .filter((room) => room.getMyMembership() === 'invite')
    .map(({ roomId }) => ({ roomId, state: [] }));
  const batch = {
    since: position,
    nextBatch: position,
    catchUp: true,
    rooms: [...gaps('join'), ...gaps('leave')],
    invites,
  };
  return { batch, roomIds: new Set(rooms.map(({ roomId }) => roomId)) };
}
