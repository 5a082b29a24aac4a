import type { MatrixClient, Room } from 'matrix-js-sdk';
import type { RoomBatch } from '../core/ports/event-source.js';
import type { RoomChanges } from '../sync/sync-response.js';

/**
 * A batch in which every room of the client has a gap from `since` to `position`, so that delivery reads its missed
 * events from `/messages`. Invitations have no gap.
 */
export function gapsOfAllRooms(matrixClient: MatrixClient, position: string, since: string): RoomChanges {
  const rooms = matrixClient.getRooms();
  const idsOf = (membership: string): string[] =>
    rooms.filter((room) => membershipOf(room) === membership).map(({ roomId }) => roomId);
  const gap = { provenance: 'gap-fill', timeline: [], limited: true, prevBatch: position, gapStart: since } as const;
  const gaps = (membership: RoomBatch['membership']): RoomBatch[] =>
    idsOf(membership).map((roomId) => ({ roomId, membership, ...gap, ephemeral: [] }));
  const invites = idsOf('invite').map((roomId) => ({ roomId, provenance: 'gap-fill' as const, state: [] }));
  const batch = { position, scope: 'changes' as const, rooms: [...gaps('join'), ...gaps('leave')], invites };
  return { batch, roomsToStore: new Set(idsOf('join')) };
}

/** The SDK takes a room for left while it has no membership event of the user, as before the room's state is loaded. */
function membershipOf(room: Room): string {
  const membership = room.getMyMembership();
  return membership === 'leave' && !room.getMember(room.myUserId) ? 'join' : membership;
}
