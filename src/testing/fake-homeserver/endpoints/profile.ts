import type { JsonObject } from '../json.js';
import { MatrixError, invalidParam, notFound } from '../matrix-error.js';
import { spreadProfile } from '../rooms/membership.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import type { User } from '../world/user.js';
import type { World } from '../world/world.js';

/** The longest display name that Synapse accepts. */
const MAX_DISPLAY_NAME_LENGTH = 256;

/** Display names and avatars. */
export const profileEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: '/profile/{userId}', auth: 'none', handle: getProfile },
  { method: 'GET', path: '/profile/{userId}/displayname', auth: 'none', handle: getDisplayName },
  { method: 'PUT', path: '/profile/{userId}/displayname', auth: 'user', handle: putDisplayName },
  { method: 'GET', path: '/profile/{userId}/avatar_url', auth: 'none', handle: getAvatarUrl },
  { method: 'PUT', path: '/profile/{userId}/avatar_url', auth: 'user', handle: putAvatarUrl },
];

function getProfile(request: EndpointRequest): JsonObject {
  const user = request.world.users.get(request.param('userId'));
  if (!user) throw new MatrixError(404, 'M_UNKNOWN', 'No row found (profiles)');
  const profile = { ...displayNameBody(user), ...avatarUrlBody(user) };
  if (Object.keys(profile).length === 0) throw notFound('Profile was not found');
  return profile;
}

function getDisplayName(request: EndpointRequest): JsonObject {
  return displayNameBody(profileOwner(request));
}

function getAvatarUrl(request: EndpointRequest): JsonObject {
  return avatarUrlBody(profileOwner(request));
}

function displayNameBody({ displayName }: User): JsonObject {
  return displayName === undefined ? {} : { displayname: displayName };
}

function avatarUrlBody({ avatarUrl }: User): JsonObject {
  return avatarUrl === undefined ? {} : { avatar_url: avatarUrl };
}

function profileOwner(request: EndpointRequest): User {
  const user = request.world.users.get(request.param('userId'));
  if (!user) throw notFound('Profile was not found');
  return user;
}

function putDisplayName(request: EndpointRequest): JsonObject {
  setDisplayName(request.world, request.user, ownValue(request, 'displayname'));
  return {};
}

function putAvatarUrl(request: EndpointRequest): JsonObject {
  const value = ownValue(request, 'avatar_url');
  if (typeof value !== 'string') throw invalidParam("'avatar_url' must be a string");
  request.user.avatarUrl = value === '' ? undefined : value;
  spreadProfile(request.world, request.user.userId);
  return {};
}

/** The value under `key` in the body. Throws 403 for another user's profile. */
function ownValue(request: EndpointRequest, key: string): unknown {
  const value = request.json()[key];
  if (value === undefined) throw new MatrixError(400, 'M_MISSING_PARAM', `Missing key '${key}'`);
  if (request.param('userId') !== request.user.userId) {
    throw new MatrixError(400, 'M_FORBIDDEN', `Cannot set another user's ${key}`);
  }
  return value;
}

/** Sets a user's display name, in their rooms too. An empty name removes it. */
export function setDisplayName(world: World, user: User, displayName: unknown): void {
  if (typeof displayName !== 'string') throw invalidParam("'displayname' must be a string");
  if (displayName.length > MAX_DISPLAY_NAME_LENGTH) {
    throw new MatrixError(400, 'M_UNKNOWN', `Displayname is too long (max ${MAX_DISPLAY_NAME_LENGTH})`);
  }
  user.displayName = displayName === '' ? undefined : displayName;
  spreadProfile(world, user.userId);
}
