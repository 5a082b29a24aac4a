import type { JsonObject } from '../json.js';
import { isJsonObject, objectOrEmpty } from '../json.js';
import { MatrixError, invalidParam, notFound } from '../matrix-error.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import type { KeyBackup } from '../world/key-backups.js';

/** @see https://spec.matrix.org/v1.16/client-server-api/#server-side-key-backups */
export const keyBackupEndpoints: readonly Endpoint[] = [
  { method: 'POST', path: '/room_keys/version', auth: 'user', handle: create },
  { method: 'GET', path: '/room_keys/version', auth: 'user', handle: (request) => info(newest(request)) },
  { method: 'GET', path: '/room_keys/version/{version}', auth: 'user', handle: (request) => info(named(request)) },
  { method: 'PUT', path: '/room_keys/version/{version}', auth: 'user', handle: update },
  { method: 'DELETE', path: '/room_keys/version/{version}', auth: 'user', handle: remove },
  { method: 'PUT', path: '/room_keys/keys', auth: 'user', handle: putKeys },
  { method: 'PUT', path: '/room_keys/keys/{roomId}', auth: 'user', handle: putKeys },
  { method: 'PUT', path: '/room_keys/keys/{roomId}/{sessionId}', auth: 'user', handle: putKeys },
  { method: 'GET', path: '/room_keys/keys', auth: 'user', handle: getKeys },
  { method: 'GET', path: '/room_keys/keys/{roomId}', auth: 'user', handle: getKeys },
  { method: 'GET', path: '/room_keys/keys/{roomId}/{sessionId}', auth: 'user', handle: getKeys },
  { method: 'DELETE', path: '/room_keys/keys', auth: 'user', handle: deleteKeys },
  { method: 'DELETE', path: '/room_keys/keys/{roomId}', auth: 'user', handle: deleteKeys },
  { method: 'DELETE', path: '/room_keys/keys/{roomId}/{sessionId}', auth: 'user', handle: deleteKeys },
];

function create(request: EndpointRequest): JsonObject {
  return { version: request.world.keyBackups.add(request.user.userId, request.json()).version };
}

function update(request: EndpointRequest): JsonObject {
  const { auth_data: authData, algorithm, version = request.param('version') } = request.json();
  if (version !== request.param('version')) throw invalidParam('Version in body does not match');
  const backup = named(request);
  if (algorithm !== backup.algorithm) throw invalidParam('Algorithm does not match');
  if (isJsonObject(authData)) backup.authData = authData;
  return {};
}

function remove(request: EndpointRequest): JsonObject {
  if (!request.world.keyBackups.delete(request.user.userId, request.param('version'))) throw unknownVersion();
  return {};
}

function putKeys(request: EndpointRequest): JsonObject {
  const asked = queried(request);
  const backup = newest(request);
  if (asked !== backup) {
    // Synapse returns the requested version, not the current one.
    const extra = { current_version: asked.version };
    throw new MatrixError(403, 'M_WRONG_ROOM_KEYS_VERSION', 'Wrong backup version.', extra);
  }
  const { roomId, sessionId } = request.params;
  const body = request.json();
  const byRoom =
    roomId === undefined
      ? objectOrEmpty(body['rooms'])
      : { [roomId]: sessionId === undefined ? body : { sessions: { [sessionId]: body } } };
  const keys = Object.entries(byRoom).flatMap(([room, of]) =>
    Object.entries(objectOrEmpty(objectOrEmpty(of)['sessions'])).map(([session, key]) => {
      const sealed = objectOrEmpty(key);
      if (typeof sealed['is_verified'] === 'boolean') return [room, session, sealed] as const;
      throw invalidParam(`is_verified must be a boolean in keys for session ${session} in room ${room}`);
    }),
  );
  backup.put(keys);
  return state(backup);
}

function getKeys(request: EndpointRequest): JsonObject {
  const backup = queried(request);
  const { roomId, sessionId } = request.params;
  if (roomId === undefined) {
    return { rooms: Object.fromEntries([...backup.rooms.keys()].map((room) => [room, backup.sessionsOf(room)])) };
  }
  if (sessionId === undefined) return backup.sessionsOf(roomId);
  const key = backup.rooms.get(roomId)?.get(sessionId);
  if (!key) throw notFound('No room_keys found');
  return key;
}

function deleteKeys(request: EndpointRequest): JsonObject {
  const backup = queried(request);
  backup.delete(request.params['roomId'], request.params['sessionId']);
  return state(backup);
}

function info(backup: KeyBackup): JsonObject {
  const { version, algorithm, authData } = backup;
  return { version, algorithm, auth_data: authData, ...state(backup) };
}

function state({ etag, count }: KeyBackup): JsonObject {
  return { etag: String(etag), count };
}

function newest({ world, user }: EndpointRequest): KeyBackup {
  const backup = world.keyBackups.newest(user.userId);
  if (!backup) throw notFound('No current backup version');
  return backup;
}

function named({ world, user, params }: EndpointRequest): KeyBackup {
  const backup = world.keyBackups.get(user.userId, params['version'] ?? '');
  if (!backup) throw unknownVersion();
  return backup;
}

function queried(request: EndpointRequest): KeyBackup {
  const { world, user } = request;
  const backup = world.keyBackups.get(user.userId, request.required('version'));
  if (!backup) throw unknownVersion();
  return backup;
}

function unknownVersion(): MatrixError {
  return notFound('Unknown backup version');
}
