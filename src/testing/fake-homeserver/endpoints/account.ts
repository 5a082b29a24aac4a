import type { JsonObject } from '../json.js';
import { MatrixError, forbidden, invalidParam, notFound } from '../matrix-error.js';
import { spreadProfile } from '../rooms/membership.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import type { AccountData } from '../world/account-data.js';
import type { Device, User } from '../world/user.js';
import type { World } from '../world/world.js';

/** Longest display name that Synapse takes. */
const MAX_DISPLAY_NAME_LENGTH = 256;

/** Who one is, what one is called, and what one keeps at the homeserver. */
export const accountEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: '/account/whoami', auth: 'user', handle: whoami },
  { method: 'GET', path: '/devices', auth: 'user', handle: listDevices },
  { method: 'GET', path: '/profile/{userId}', auth: 'none', handle: getProfile },
  { method: 'GET', path: '/profile/{userId}/displayname', auth: 'none', handle: getDisplayName },
  { method: 'PUT', path: '/profile/{userId}/displayname', auth: 'user', handle: putDisplayName },
  { method: 'GET', path: '/user/{userId}/account_data/{type}', auth: 'user', handle: getAccountData },
  { method: 'PUT', path: '/user/{userId}/account_data/{type}', auth: 'user', handle: putAccountData },
  { method: 'GET', path: '/user/{userId}/rooms/{roomId}/account_data/{type}', auth: 'user', handle: getAccountData },
  { method: 'PUT', path: '/user/{userId}/rooms/{roomId}/account_data/{type}', auth: 'user', handle: putAccountData },
];

function whoami({ session }: EndpointRequest): JsonObject {
  const { userId, deviceId } = session;
  return { user_id: userId, is_guest: false, ...(deviceId !== undefined && { device_id: deviceId }) };
}

function listDevices({ user }: EndpointRequest): JsonObject {
  return { devices: [...user.devices.values()].map((device) => deviceBody(user, device)) };
}

export function deviceBody(user: User, { deviceId, displayName, lastSeenAt }: Device): JsonObject {
  return {
    user_id: user.userId,
    device_id: deviceId,
    display_name: displayName,
    last_seen_ts: lastSeenAt,
    last_seen_ip: lastSeenAt === null ? null : '127.0.0.1',
  };
}

function getProfile(request: EndpointRequest): JsonObject {
  const user = request.world.users.get(request.param('userId'));
  if (!user) throw new MatrixError(404, 'M_UNKNOWN', 'No row found (profiles)');
  if (user.displayName === undefined && user.avatarUrl === undefined) throw notFound('Profile was not found');
  return {
    ...(user.displayName !== undefined && { displayname: user.displayName }),
    ...(user.avatarUrl !== undefined && { avatar_url: user.avatarUrl }),
  };
}

function getDisplayName(request: EndpointRequest): JsonObject {
  const user = request.world.users.get(request.param('userId'));
  if (!user) throw notFound('Profile was not found');
  return user.displayName === undefined ? {} : { displayname: user.displayName };
}

function putDisplayName(request: EndpointRequest): JsonObject {
  const { displayname } = request.json();
  const { user } = request;
  if (displayname === undefined) throw new MatrixError(400, 'M_MISSING_PARAM', "Missing key 'displayname'");
  if (request.param('userId') !== user.userId) {
    throw new MatrixError(400, 'M_FORBIDDEN', "Cannot set another user's displayname");
  }
  setDisplayName(request.world, user, displayname);
  return {};
}

/** Renames a user, in their rooms too. An empty name takes the name away. */
export function setDisplayName(world: World, user: User, displayName: unknown): void {
  if (typeof displayName !== 'string') throw invalidParam("'displayname' must be a string");
  if (displayName.length > MAX_DISPLAY_NAME_LENGTH) {
    throw new MatrixError(400, 'M_UNKNOWN', `Displayname is too long (max ${MAX_DISPLAY_NAME_LENGTH})`);
  }
  user.displayName = displayName === '' ? undefined : displayName;
  spreadProfile(world, user.userId);
}

function getAccountData(request: EndpointRequest): JsonObject {
  const content = accountData(request, 'Cannot get account data for other users.').get(request.param('type'));
  if (!content) throw notFound(request.param('roomId') ? 'Room account data not found' : 'Account data not found');
  return content;
}

function putAccountData(request: EndpointRequest): JsonObject {
  const data = accountData(request, 'Cannot add account data for other users.');
  const type = request.param('type');
  if (type === 'm.fully_read') {
    throw new MatrixError(
      405,
      'M_BAD_JSON',
      'Cannot set m.fully_read through this API. Use /rooms/!roomId:server.name/read_markers',
    );
  }
  data.set(type, request.json(), request.world.stream.next());
  request.world.waiters.wake(request.user.userId);
  return {};
}

function accountData({ user, params }: EndpointRequest, refusal: string): AccountData {
  if (params['userId'] !== user.userId) throw forbidden(refusal);
  return params['roomId'] === undefined ? user.accountData : user.roomAccountData(params['roomId']);
}
