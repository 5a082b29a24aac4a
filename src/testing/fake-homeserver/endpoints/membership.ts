import type { JsonObject } from '../json.js';
import { requiredString } from '../json.js';
import { MatrixError, forbidden, invalidParam, notFound } from '../matrix-error.js';
import { createRoom } from '../rooms/create-room.js';
import { changeMembership } from '../rooms/membership.js';
import type { Room } from '../rooms/room.js';
import type { Endpoint, EndpointRequest, Handler } from '../server/endpoint.js';
import type { Membership } from '../world/user.js';
import type { World } from '../world/world.js';
import { assertNotSuspended } from './send.js';

/** Creating rooms, and changing memberships. */
export const membershipEndpoints: readonly Endpoint[] = [
  { method: 'POST', path: '/createRoom', auth: 'user', handle: postCreateRoom },
  { method: 'POST', path: '/join/{roomIdOrAlias}', auth: 'user', handle: join },
  { method: 'POST', path: '/rooms/{roomId}/join', auth: 'user', handle: join },
  { method: 'POST', path: '/rooms/{roomId}/leave', auth: 'user', handle: leave },
  { method: 'POST', path: '/rooms/{roomId}/forget', auth: 'user', handle: forget },
  { method: 'POST', path: '/rooms/{roomId}/invite', auth: 'user', handle: invite },
  { method: 'POST', path: '/rooms/{roomId}/kick', auth: 'user', handle: remove('leave') },
  { method: 'POST', path: '/rooms/{roomId}/ban', auth: 'user', handle: remove('ban') },
  { method: 'POST', path: '/rooms/{roomId}/unban', auth: 'user', handle: unban },
  { method: 'POST', path: '/knock/{roomIdOrAlias}', auth: 'user', handle: knock },
];

function postCreateRoom(request: EndpointRequest): JsonObject {
  assertNotSuspended(request);
  return { room_id: createRoom(request.world, request.user.userId, request.json()).roomId };
}

function join(request: EndpointRequest): JsonObject {
  const { world, user } = request;
  const body = request.json({ allowEmpty: true });
  const room = resolveRoom(world, request.params['roomIdOrAlias'] ?? request.param('roomId'));
  const { userId } = user;
  if (world.blockedRooms.has(room.roomId)) throw forbidden('This room has been blocked on this server');
  if (!room.joined.has(userId)) {
    changeMembership(world, room, { sender: userId, target: userId, membership: 'join', extra: reasonIn(body) });
  }
  return { room_id: room.roomId };
}

function knock(request: EndpointRequest): JsonObject {
  const { world, user } = request;
  const extra = reasonIn(request.json());
  const room = resolveRoom(world, request.param('roomIdOrAlias'));
  changeMembership(world, room, { sender: user.userId, target: user.userId, membership: 'knock', extra });
  return { room_id: room.roomId };
}

function leave(request: EndpointRequest): JsonObject {
  const { world, user } = request;
  const extra = reasonIn(request.json({ allowEmpty: true }));
  const room = world.rooms.get(request.param('roomId'));
  if (!room) throw new MatrixError(404, 'M_UNKNOWN', 'Not a known room');
  changeMembership(world, room, { sender: user.userId, target: user.userId, membership: 'leave', extra });
  return {};
}

function forget(request: EndpointRequest): JsonObject {
  const roomId = request.param('roomId');
  const standing = request.user.rooms.get(roomId);
  if (standing?.membership === 'join' || standing?.membership === 'invite') {
    throw new MatrixError(400, 'M_UNKNOWN', `User ${request.user.userId} in room ${roomId}`);
  }
  if (standing) standing.forgotten = true;
  return {};
}

function invite(request: EndpointRequest): JsonObject {
  const body = request.json();
  const target = requiredUserId(body);
  assertNotSuspended(request, 'invites');
  change(request, target, 'invite', reasonIn(body));
  return {};
}

function remove(membership: 'leave' | 'ban'): Handler {
  return (request) => {
    const body = request.json();
    const target = requiredUserId(body);
    const before = request.world.rooms.get(request.param('roomId'))?.membership(target);
    if (membership === 'leave' && before !== 'join' && before !== 'invite') {
      throw forbidden('The target user is not in the room');
    }
    change(request, target, membership, reasonIn(body));
    return {};
  };
}

function unban(request: EndpointRequest): JsonObject {
  const target = requiredUserId(request.json());
  const before = request.world.rooms.get(request.param('roomId'))?.membership(target);
  if (before !== 'ban') {
    const message = `Cannot unban user who was not banned (membership=${before ?? 'leave'})`;
    throw new MatrixError(403, 'M_BAD_STATE', message);
  }
  change(request, target, 'leave', undefined);
  return {};
}

function change(
  { world, user, params }: EndpointRequest,
  target: string,
  membership: Membership,
  extra: JsonObject | undefined,
): void {
  const roomId = params['roomId'] ?? '';
  const room = world.rooms.get(roomId);
  if (!room) throw forbidden(`${user.userId} not in room ${roomId}.`);
  changeMembership(world, room, { sender: user.userId, target, membership, extra });
}

/** The room with the id or alias. Throws 404 with Synapse's message if it does not exist. */
export function resolveRoom(world: World, roomIdOrAlias: string): Room {
  if (roomIdOrAlias.startsWith('#')) {
    const room = world.rooms.get(world.aliases.get(roomIdOrAlias) ?? '');
    if (!room) throw notFound(`Room alias ${roomIdOrAlias} not found`);
    return room;
  }
  if (!roomIdOrAlias.startsWith('!')) {
    throw new MatrixError(400, 'M_UNKNOWN', `${roomIdOrAlias} was not legal room ID or room alias`);
  }
  const room = world.rooms.get(roomIdOrAlias);
  if (room) return room;
  const message = "Can't join remote room because no servers that are in the room have been provided.";
  throw new MatrixError(404, 'M_UNKNOWN', message);
}

function requiredUserId(body: JsonObject): string {
  const userId = requiredString(body, 'user_id');
  if (!userId.startsWith('@')) throw invalidParam("Expected UserID string to start with '@'");
  if (!userId.includes(':')) throw invalidParam("Expected UserID of the form '@localname:domain'");
  return userId;
}

function reasonIn({ reason }: JsonObject): JsonObject | undefined {
  return typeof reason === 'string' ? { reason } : undefined;
}
