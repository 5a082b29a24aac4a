import type { JsonObject } from '../json.js';
import { MatrixError, notFound } from '../matrix-error.js';
import { changeMembership } from '../rooms/membership.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import type { RoomDeletion } from '../world/room-deletions.js';
import type { World } from '../world/world.js';

/** Deleting rooms as an admin. */
export const adminRoomEndpoints: readonly Endpoint[] = [
  { method: 'DELETE', path: '/_synapse/admin/v2/rooms/{roomId}', auth: 'admin', handle: deleteRoom },
  { method: 'GET', path: '/_synapse/admin/v2/rooms/delete_status/{deleteId}', auth: 'admin', handle: statusOfDeletion },
  { method: 'GET', path: '/_synapse/admin/v2/rooms/{roomId}/delete_status', auth: 'admin', handle: statusesOfRoom },
];

function deleteRoom(request: EndpointRequest): JsonObject {
  const { world } = request;
  const roomId = request.param('roomId');
  const { block = false, purge = true } = request.json();
  if (typeof block !== 'boolean' || typeof purge !== 'boolean') {
    throw new MatrixError(400, 'M_BAD_JSON', "Param 'block' must be a boolean, if given");
  }
  if (!roomId.startsWith('!')) throw new MatrixError(400, 'M_UNKNOWN', `${roomId} is not a legal room ID`);
  if (world.roomDeletions.ofRoom(roomId).some(({ status }) => status === 'scheduled' || status === 'active')) {
    throw new MatrixError(400, 'M_UNKNOWN', `Purge already in progress for ${roomId}`);
  }
  const deletion = world.roomDeletions.schedule(world.clock, roomId, (running) =>
    shutDown(world, running, { block, purge }),
  );
  return { delete_id: deletion.deleteId };
}

function shutDown(
  world: World,
  { roomId, kickedUsers, localAliases }: RoomDeletion,
  { block, purge }: { readonly block: boolean; readonly purge: boolean },
): void {
  if (block) world.blockedRooms.add(roomId);
  const room = world.rooms.get(roomId);
  if (!room) return;
  for (const { userId } of world.users.values()) {
    if (!['join', 'invite', 'knock'].includes(room.membership(userId))) continue;
    changeMembership(world, room, { sender: userId, target: userId, membership: 'leave' });
    const standing = world.users.get(userId)?.rooms.get(roomId);
    if (standing) standing.forgotten = true;
    kickedUsers.push(userId);
  }
  for (const [alias, target] of world.aliases) if (target === roomId) localAliases.push(alias);
  for (const alias of localAliases) world.aliases.delete(alias);
  if (purge) world.removeRoom(roomId);
}

function statusOfDeletion({ world, params }: EndpointRequest): JsonObject {
  const deletion = world.roomDeletions.get(params['deleteId'] ?? '');
  if (!deletion) throw notFound(`delete id '${params['deleteId'] ?? ''}' not found`);
  const status = body(deletion);
  world.roomDeletions.runNow(world.clock, deletion);
  return status;
}

function statusesOfRoom({ world, params }: EndpointRequest): JsonObject {
  const deletions = world.roomDeletions.ofRoom(params['roomId'] ?? '');
  if (deletions.length === 0) throw notFound(`No delete task for room_id '${params['roomId'] ?? ''}' found`);
  return { results: deletions.map(body) };
}

function body({ deleteId, roomId, status, kickedUsers, localAliases }: RoomDeletion): JsonObject {
  const result = {
    kicked_users: [...kickedUsers],
    failed_to_kick_users: [],
    local_aliases: [...localAliases],
    new_room_id: null,
  };
  return { delete_id: deleteId, room_id: roomId, status, shutdown_room: status === 'scheduled' ? null : result };
}
