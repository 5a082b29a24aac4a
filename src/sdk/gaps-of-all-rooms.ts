import type { MatrixClient } from 'matrix-js-sdk';
import type { EventBatch, RoomBatch } from '../core/ports/event-source.js';

/**
 * A batch in which every room of the client has a gap from `since` to `position`, so that delivery reads its missed events from
 * `/messages`. Invitations have no gap.
 */
export function gapsOfAllRooms(
  matrixClient: MatrixClient,
  position: string,
  since: string,
): { batch: EventBatch; roomIds: ReadonlySet<string> } {
  const rooms = matrixClient.getRooms();
  const gaps = (membership: RoomBatch['membership']): RoomBatch[] =>
    rooms
      .filter((room) => room.getMyMembership() === membership)
      .map(({ roomId }) => {
        const gap = { limited: true, prevBatch: position, gapStart: since };
        return { roomId, membership, provenance: 'gap-fill', timeline: [], ...gap, ephemeral: [] };
      });
  const invites = rooms
    .filter((room) => room.getMyMembership() === 'invite')
    .map(({ roomId }) => ({ roomId, provenance: 'gap-fill' as const, state: [] }));
  const batch = {
    position,
    scope: 'changes' as const,
    rooms: [...gaps('join'), ...gaps('leave')],
    invites,
  };
  return { batch, roomIds: new Set(rooms.map(({ roomId }) => roomId)) };
}
