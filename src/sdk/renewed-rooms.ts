import type { ISyncResponse, MatrixClient, Room } from 'matrix-js-sdk';

type JoinedRoom = NonNullable<ISyncResponse['rooms']>['join'][string];

/**
 * Drops the rooms that the response gives anew, with all of their state: after a lost position, or a return to them.
 * The SDK would add that to what it has, and nothing tells of members who left meanwhile: it would go on encrypting
 * for them. Returns their ids.
 */
export function dropRenewedRooms(client: MatrixClient, response: ISyncResponse): string[] {
  const renewed = Object.entries(response.rooms?.join ?? {}).filter(([roomId, section]) => {
    const room = client.getRoom(roomId);
    return room !== null && !isMereInvitation(room) && isWhole(section);
  });
  const roomIds = renewed.map(([roomId]) => roomId);
  for (const roomId of roomIds) client.store.removeRoom(roomId);
  return roomIds;
}

/** What it has of a room that the user was never in is no state; and who looks at the client may be holding the room. */
function isMereInvitation(room: Room): boolean {
  return room.getMyMembership() === 'invite' && room.getLiveTimeline().getEvents().length === 0;
}

/** Whether the section begins with the room itself; the homeserver may have left out any part. */
function isWhole({ state, timeline, ...section }: Partial<JoinedRoom>): boolean {
  const parts = [state, timeline, section['org.matrix.msc4222.state_after']];
  return parts.some((part) => part?.events?.some((event) => event.type === 'm.room.create'));
}
