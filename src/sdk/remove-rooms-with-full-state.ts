import type { ISyncResponse, MatrixClient, Room } from 'matrix-js-sdk';

type JoinedRoom = NonNullable<ISyncResponse['rooms']>['join'][string];

/**
 * Removes from the client the rooms whose full state is in the response, as after a lost position or a rejoin. The SDK
 * would merge that state into the state that it has. Members who have left meanwhile would stay in it, and the SDK would
 * go on encrypting for them. Returns the ids of the removed rooms.
 */
export function removeRoomsWithFullState(client: MatrixClient, response: ISyncResponse): string[] {
  const renewed = Object.entries(response.rooms?.join ?? {}).filter(([roomId, section]) => {
    const room = client.getRoom(roomId);
    return room !== null && !isOnlyInvited(room) && hasFullState(section);
  });
  const roomIds = renewed.map(([roomId]) => roomId);
  for (const roomId of roomIds) client.store.removeRoom(roomId);
  return roomIds;
}

/** An invitation has no stale state, and the application may hold the SDK's `Room` object, so it is kept. */
function isOnlyInvited(room: Room): boolean {
  return room.getMyMembership() === 'invite' && room.getLiveTimeline().getEvents().length === 0;
}

/** Whether the section has the room's creation event. Any part of the section may be missing. */
function hasFullState({ state, timeline, ...section }: Partial<JoinedRoom>): boolean {
  const parts = [state, timeline, section['org.matrix.msc4222.state_after']];
  return parts.some((part) => part?.events?.some((event) => event.type === 'm.room.create'));
}
