import type { JsonObject } from '../json.js';
import { objectOrEmpty, requiredString } from '../json.js';
import { MatrixError, forbidden, notFound } from '../matrix-error.js';
import { changeMembership } from '../rooms/membership.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import { closeDevice } from '../world/log-in-out.js';
import type { Device, User } from '../world/user.js';
import { deviceBody } from './devices.js';
import { localUserId } from './admin-users.js';
import { deactivate } from './deactivate.js';
import { resolveRoom } from './membership.js';
import { SYNAPSE_VERSION } from './server-info.js';

/** Admin actions on accounts, such as logging in as a user. */
export const adminActionEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: '/_synapse/admin/v1/server_version', auth: 'none', handle: serverVersion },
  { method: 'POST', path: '/_synapse/admin/v1/deactivate/{userId}', auth: 'admin', handle: postDeactivate },
  { method: 'PUT', path: '/_synapse/admin/v1/suspend/{userId}', auth: 'admin', handle: suspend },
  { method: 'POST', path: '/_synapse/admin/v1/users/{userId}/login', auth: 'admin', handle: loginAs },
  { method: 'POST', path: '/_synapse/admin/v1/join/{roomIdOrAlias}', auth: 'admin', handle: joinUser },
  { method: 'GET', path: '/_synapse/admin/v2/users/{userId}/devices', auth: 'admin', handle: listDevices },
  { method: 'GET', path: '/_synapse/admin/v2/users/{userId}/devices/{deviceId}', auth: 'admin', handle: getDevice },
  {
    method: 'DELETE',
    path: '/_synapse/admin/v2/users/{userId}/devices/{deviceId}',
    auth: 'admin',
    handle: deleteDevice,
  },
];

function serverVersion(): JsonObject {
  return { server_version: SYNAPSE_VERSION };
}

function postDeactivate(request: EndpointRequest): JsonObject {
  const { erase } = request.json({ allowEmpty: true });
  const user = request.world.knownUser(localUserId(request, 'Can only deactivate local users'));
  deactivate(request.world, user, erase === true);
  return { id_server_unbind_result: 'success' };
}

function suspend(request: EndpointRequest): JsonObject {
  const { suspend: suspended } = request.json();
  const user = request.world.knownUser(localUserId(request, 'Can only suspend local users'));
  user.suspended = suspended === true;
  return { [`user_${user.userId}_suspended`]: user.suspended };
}

/** Returns a token without a device. It ends with the admin's sessions, not with the user's. */
function loginAs(request: EndpointRequest): JsonObject {
  const user = request.world.knownUser(localUserId(request, 'Only local users can be logged in as'));
  const { userId: puppetedBy } = request.session;
  if (user.userId === puppetedBy) throw new MatrixError(400, 'M_UNKNOWN', 'Cannot use admin API to login as self');
  return { access_token: request.world.sessions.open(user.userId, { puppetedBy }).accessToken };
}

function joinUser(request: EndpointRequest): JsonObject {
  const { world, session } = request;
  const userId = requiredString(request.json(), 'user_id');
  const target = world.knownUser(userId);
  const room = resolveRoom(world, request.param('roomIdOrAlias'));
  const isPublic = objectOrEmpty(room.state.current.get('m.room.join_rules')?.content)['join_rule'] === 'public';
  const join = { sender: target.userId, target: target.userId, membership: 'join' } as const;
  if (!isPublic) {
    // the admin is the inviter, so they have to be in the room
    changeMembership(world, room, { ...join, sender: session.userId, membership: 'invite' });
  } else if (room.joined.has(target.userId)) {
    throw forbidden(`${target.userId} is already in the room.`);
  }
  changeMembership(world, room, join);
  return { room_id: room.roomId };
}

function listDevices(request: EndpointRequest): JsonObject {
  const user = ownerOf(request);
  const devices = [...user.devices.values()].map((device) => adminDeviceBody(user, device));
  return { devices, total: devices.length };
}

function getDevice(request: EndpointRequest): JsonObject {
  const user = ownerOf(request);
  const device = user.devices.get(request.param('deviceId'));
  if (!device) throw notFound('No device found');
  return adminDeviceBody(user, device);
}

function adminDeviceBody(user: User, device: Device): JsonObject {
  return { ...deviceBody(user, device), last_seen_user_agent: null };
}

function deleteDevice(request: EndpointRequest): JsonObject {
  closeDevice(request.world, ownerOf(request).userId, request.param('deviceId'));
  return {};
}

function ownerOf(request: EndpointRequest): User {
  const user = request.world.users.get(localUserId(request, 'Can only lookup local users'));
  if (!user) throw notFound('Unknown user');
  return user;
}
