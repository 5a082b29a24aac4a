import type { MatrixClient } from 'matrix-js-sdk';
import type { EventBatch, RoomBatch } from '../core/ports/event-source.js';

/**
 * A batch that says of each room of the client that events may be missing before `position`, so that they are read
 * from the room's history. Invitations have none.
 */
export function gapsOfAllRooms(
  matrixClient: MatrixClient,
  position: string,
): { batch: EventBatch; roomIds: ReadonlySet<string> } {
  const rooms = matrixClient.getRooms();
  const inRooms = (membership: RoomBatch['membership']): RoomBatch[] =>
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
    rooms: [...inRooms('join'), ...inRooms('leave')],
    invites,
  };
  return { batch, roomIds: new Set(rooms.map(({ roomId }) => roomId)) };
}
