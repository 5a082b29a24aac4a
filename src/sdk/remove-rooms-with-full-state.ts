import type { MatrixClient, Room } from 'matrix-js-sdk';
import { roomsWithFullState } from '../sync/room-sections.js';
import type { ParsedSync } from '../sync/sync-response.js';

/**
 * Removes from the client the rooms whose full state is in the response, as after a lost position or a rejoin. The SDK
 * would merge that state into the state that it has. Members who have left meanwhile would stay in it, and the SDK would
 * go on encrypting for them. Returns the ids of the removed rooms.
 */
export function removeRoomsWithFullState(client: MatrixClient, sync: ParsedSync): string[] {
  const roomIds = [...roomsWithFullState(sync)].filter((roomId) => {
    const room = client.getRoom(roomId);
    return room !== null && !isOnlyInvited(room);
  });
  for (const roomId of roomIds) client.store.removeRoom(roomId);
  return roomIds;
}

/** An invitation has no stale state, and the application may hold the SDK's `Room` object, so it is kept. */
function isOnlyInvited(room: Room): boolean {
  return room.getMyMembership() === 'invite' && room.getLiveTimeline().getEvents().length === 0;
}
