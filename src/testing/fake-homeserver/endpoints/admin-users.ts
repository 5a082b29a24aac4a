import { setImmediate as nextTurn } from 'node:timers/promises';
import type { JsonObject } from '../json.js';
import { MatrixError, invalidParam, notFound } from '../matrix-error.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import { Reply } from '../server/endpoint.js';
import { closeUserSessions } from '../world/log-in-out.js';
import type { User } from '../world/user.js';
import type { World } from '../world/world.js';
import { setDisplayName } from './profile.js';
import { deactivate } from './deactivate.js';
import { assertUsername } from './username.js';

const MAX_PASSWORD_LENGTH = 512;

/** Synapse's Admin API for accounts. @see https://element-hq.github.io/synapse/latest/admin_api/user_admin_api.html */
export const adminUserEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: '/_synapse/admin/v2/users/{userId}', auth: 'admin', handle: getUser },
  { method: 'PUT', path: '/_synapse/admin/v2/users/{userId}', auth: 'admin', handle: putUser },
];

function getUser(request: EndpointRequest): JsonObject {
  const userId = localUserId(request, 'Can only look up local users');
  const user = request.world.users.get(userId);
  if (!user) throw notFound('User not found');
  return accountBody(user);
}

/** Creates an account or changes one: 201 or 200. */
async function putUser(request: EndpointRequest): Promise<Reply> {
  const { world } = request;
  const userId = localUserId(request, 'This endpoint can only be used with local users');
  const change = request.json();
  checkChange(change);
  const existing = world.users.get(userId);
  if (!existing) assertUsername(userId.slice(1, userId.indexOf(':')), world.serverName);
  const user = existing ?? (await createUser(world, userId));
  applyChange(world, user, change, existing === undefined);
  return new Reply(existing ? 200 : 201, accountBody(user));
}

/** Waits a moment, as Synapse does, so that concurrent requests for the same account conflict. */
async function createUser(world: World, userId: string): Promise<User> {
  await nextTurn();
  if (world.users.has(userId)) throw new MatrixError(400, 'M_USER_IN_USE', 'User ID already taken.');
  return world.addUser(userId);
}

function applyChange(world: World, user: User, change: JsonObject, isNew: boolean): void {
  const { displayname, password, admin, deactivated, locked } = change;
  if (typeof displayname === 'string') {
    // Synapse checks the length of a name only for existing accounts
    if (isNew) user.displayName = displayname;
    else setDisplayName(world, user, displayname);
  }
  if (typeof change['avatar_url'] === 'string') user.avatarUrl = change['avatar_url'];
  if (typeof admin === 'boolean') user.admin = admin;
  if (typeof locked === 'boolean') user.locked = locked;
  if (deactivated === true && !user.deactivated) deactivate(world, user, false);
  if (deactivated === false) user.deactivated = false;
  if (typeof password === 'string') {
    user.password = password;
    if (!isNew && change['logout_devices'] !== false) closeUserSessions(world, user.userId);
  }
}

function checkChange(change: JsonObject): void {
  const { password, displayname, user_type: userType } = change;
  if (password !== undefined && (typeof password !== 'string' || password.length > MAX_PASSWORD_LENGTH)) {
    throw new MatrixError(400, 'M_UNKNOWN', 'Invalid password');
  }
  if (displayname !== undefined && displayname !== null && typeof displayname !== 'string') {
    throw invalidParam("'displayname' must be a string");
  }
  if (isNonBoolean(change['admin'])) {
    throw new MatrixError(400, 'M_BAD_JSON', "Param 'admin' must be a boolean, if given");
  }
  for (const key of ['deactivated', 'logout_devices', 'locked']) {
    if (isNonBoolean(change[key])) {
      throw new MatrixError(400, 'M_UNKNOWN', `'${key}' parameter is not of type boolean`);
    }
  }
  if (userType !== undefined && userType !== null && userType !== 'support' && userType !== 'bot') {
    throw new MatrixError(400, 'M_UNKNOWN', 'Invalid user type');
  }
}

function isNonBoolean(value: unknown): boolean {
  return value !== undefined && typeof value !== 'boolean';
}

/** The user id in the path. Throws 400 unless it belongs to this homeserver. */
export function localUserId({ world, params }: EndpointRequest, refusal: string): string {
  const userId = params['userId'] ?? '';
  if (!userId.startsWith('@')) throw invalidParam("Expected UserID string to start with '@'");
  if (!userId.includes(':')) throw invalidParam("Expected UserID of the form '@localname:domain'");
  if (userId.slice(userId.indexOf(':') + 1) !== world.serverName) throw new MatrixError(400, 'M_UNKNOWN', refusal);
  return userId;
}

function accountBody(user: User): JsonObject {
  return {
    name: user.userId,
    admin: user.admin,
    deactivated: user.deactivated,
    locked: user.locked,
    shadow_banned: false,
    creation_ts: Math.floor(user.createdAt / 1000),
    appservice_id: null,
    consent_server_notice_sent: null,
    consent_version: null,
    consent_ts: null,
    user_type: null,
    is_guest: false,
    suspended: user.suspended,
    displayname: user.displayName ?? null,
    avatar_url: user.avatarUrl ?? null,
    threepids: [],
    external_ids: [],
    erased: user.erased,
    last_seen_ts: lastSeenAt(user),
  };
}

/** When any of the user's devices was last used. */
export function lastSeenAt(user: User): number | null {
  const times = [...user.devices.values()].flatMap((device) => device.lastSeenAt ?? []);
  return times.length > 0 ? Math.max(...times) : null;
}
