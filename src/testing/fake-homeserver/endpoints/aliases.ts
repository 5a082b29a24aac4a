import type { JsonObject } from '../json.js';
import { requiredString } from '../json.js';
import { MatrixError, forbidden, invalidParam, notFound } from '../matrix-error.js';
import { levelForState, powerOf } from '../rooms/power-levels.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';

/** Aliases of rooms. */
export const aliasEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: '/directory/room/{roomAlias}', auth: 'none', handle: getAlias },
  { method: 'PUT', path: '/directory/room/{roomAlias}', auth: 'user', handle: putAlias },
  { method: 'DELETE', path: '/directory/room/{roomAlias}', auth: 'user', handle: deleteAlias },
  { method: 'GET', path: '/rooms/{roomId}/aliases', auth: 'user', handle: getAliases },
];

function aliasIn({ params }: EndpointRequest): string {
  const alias = params['roomAlias'] ?? '';
  if (!/^#[^:]*:./.test(alias)) throw invalidParam('Room alias invalid');
  return alias;
}

function getAlias(request: EndpointRequest): JsonObject {
  const { world } = request;
  const alias = aliasIn(request);
  const roomId = world.aliases.get(alias);
  if (roomId === undefined) throw notFound(`Room alias ${alias} not found`);
  return { room_id: roomId, servers: [world.serverName] };
}

function putAlias(request: EndpointRequest): JsonObject {
  const { world, user } = request;
  const alias = aliasIn(request);
  const roomId = requiredString(request.json(), 'room_id');
  const room = world.rooms.get(roomId);
  if (!room) throw new MatrixError(400, 'M_UNKNOWN', 'Room does not exist');
  if (!room.joined.has(user.userId) && !user.admin) {
    throw forbidden('You must be in the room to create an alias for it');
  }
  if (!alias.endsWith(`:${world.serverName}`)) throw new MatrixError(400, 'M_UNKNOWN', 'Room alias must be local');
  if (world.aliases.has(alias)) throw new MatrixError(409, 'M_UNKNOWN', `Room alias ${alias} already exists`);
  world.aliases.set(alias, roomId);
  world.aliasCreators.set(alias, user.userId);
  return {};
}

function deleteAlias(request: EndpointRequest): JsonObject {
  const { world, user } = request;
  const alias = aliasIn(request);
  const roomId = world.aliases.get(alias);
  if (roomId === undefined) throw notFound('Unknown room alias');
  const room = world.rooms.get(roomId);
  const hasPower = room && powerOf(room, user.userId) >= levelForState(room, 'm.room.canonical_alias');
  if (world.aliasCreators.get(alias) !== user.userId && !hasPower && !user.admin) {
    throw forbidden("You don't have permission to delete the alias.");
  }
  world.aliases.delete(alias);
  return {};
}

function getAliases(request: EndpointRequest): JsonObject {
  const { room } = request.readableRoom();
  const { aliases } = request.world;
  return { aliases: [...aliases].filter(([, roomId]) => roomId === room.roomId).map(([alias]) => alias) };
}
