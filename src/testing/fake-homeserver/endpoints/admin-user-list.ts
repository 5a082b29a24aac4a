import type { JsonObject } from '../json.js';
import { MatrixError } from '../matrix-error.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import type { User } from '../world/user.js';
import { lastSeenAt } from './admin-users.js';
import { assertUsername } from './username.js';

const ORDERS = [
  'name',
  'displayname',
  'is_guest',
  'admin',
  'deactivated',
  'user_type',
  'avatar_url',
  'shadow_banned',
  'creation_ts',
  'last_seen_ts',
  'locked',
] as const;

/** The admin API's list of accounts. */
export const adminUserListEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: '/_synapse/admin/v2/users', auth: 'admin', handle: listUsers },
  { method: 'GET', path: '/_synapse/admin/v3/users', auth: 'admin', handle: listUsers },
  { method: 'GET', path: '/_synapse/admin/v1/username_available', auth: 'admin', handle: isUsernameAvailable },
];

function listUsers(request: EndpointRequest): JsonObject {
  const { world, path } = request;
  const from = request.integer('from', 0);
  const limit = request.integer('limit', 100);
  request.oneOf('order_by', ORDERS, 'name');
  const backwards = request.oneOf('dir', ['b', 'f'] as const, 'f') === 'b';
  const found = [...world.users.values()].filter(searchOf(request, path.includes('/v3/')));
  found.sort((a, b) => (a.userId < b.userId ? -1 : 1) * (backwards ? -1 : 1));
  const page = found.slice(from, from + limit);
  const next = from + page.length;
  return {
    users: page.map((user) => listBody(user)),
    total: found.length,
    ...(next < found.length && { next_token: String(next) }),
  };
}

function searchOf(request: EndpointRequest, isV3: boolean): (user: User) => boolean {
  const { query } = request;
  const name = query.get('name')?.toLowerCase();
  const userId = query.get('user_id')?.toLowerCase();
  const deactivated = request.boolean('deactivated', false);
  const any = isV3 ? !query.has('deactivated') : deactivated;
  const admins = query.has('admins') ? request.boolean('admins', false) : undefined;
  return (user) => {
    if (!any && user.deactivated !== (isV3 && deactivated)) return false;
    if (admins !== undefined && user.admin !== admins) return false;
    if (userId !== undefined && !user.userId.includes(userId)) return false;
    return name === undefined || [user.localpart, user.displayName?.toLowerCase()].some((text) => text?.includes(name));
  };
}

function listBody(user: User): JsonObject {
  return {
    name: user.userId,
    user_type: null,
    is_guest: false,
    admin: user.admin,
    deactivated: user.deactivated,
    shadow_banned: false,
    displayname: user.displayName ?? null,
    avatar_url: user.avatarUrl ?? null,
    creation_ts: user.createdAt,
    erased: user.erased,
    last_seen_ts: lastSeenAt(user),
    locked: user.locked,
    approved: true,
  };
}

function isUsernameAvailable({ world, query }: EndpointRequest): JsonObject {
  const username = query.get('username');
  if (username === null) throw new MatrixError(400, 'M_MISSING_PARAM', "Missing string query parameter 'username'");
  assertUsername(username, world.serverName);
  if (world.users.has(`@${username}:${world.serverName}`)) {
    throw new MatrixError(400, 'M_USER_IN_USE', 'User ID already taken.');
  }
  return { available: true };
}
