import type { JsonObject } from '../json.js';
import { objectOrEmpty, requiredString } from '../json.js';
import { MatrixError, forbidden, invalidParam } from '../matrix-error.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import { closeDevice, closeUserSessions, openDevice, refreshSession } from '../world/log-in-out.js';
import type { User } from '../world/user.js';
import type { World } from '../world/world.js';

/** A rate limit for logins. Logins beyond it get 429 `M_LIMIT_EXCEEDED`. */
export interface LoginLimit {
  /** How many logins are accepted at once. */
  readonly burst: number;
  /** The `retry_after_ms` of refused logins. One more login is accepted after each such time, in milliseconds. */
  readonly retryAfterMs: number;
}

/** @see https://spec.matrix.org/v1.16/client-server-api/#login */
export function loginEndpoints(limit: LoginLimit | undefined): Endpoint[] {
  const count = loginCounter(limit);
  return [
    {
      method: 'GET',
      path: '/login',
      auth: 'none',
      handle: () => ({ flows: [{ type: 'm.login.password' }, { type: 'm.login.application_service' }] }),
    },
    {
      method: 'POST',
      path: '/login',
      auth: 'none',
      handle: (request) => {
        const body = request.json();
        count(request.world);
        return login(request, body);
      },
    },
    { method: 'POST', path: '/refresh', auth: 'none', handle: refresh },
    { method: 'POST', path: '/logout', auth: 'user', handle: logout },
    { method: 'POST', path: '/logout/all', auth: 'user', handle: logoutEverywhere },
  ];
}

function login({ world }: EndpointRequest, body: JsonObject): JsonObject {
  if (body['type'] === undefined) throw new MatrixError(400, 'M_UNKNOWN', 'Missing JSON keys.');
  if (body['type'] !== 'm.login.password') throw invalidParam('Invalid login submission');
  if (typeof body['password'] !== 'string') throw invalidParam('Bad parameter: password');
  const user = userToLogIn(world, body);
  if (!user || user.password !== body['password']) throw forbidden('Invalid username or password');
  if (user.deactivated) throw new MatrixError(403, 'M_USER_DEACTIVATED', 'This account has been deactivated');
  if (user.locked) {
    throw new MatrixError(401, 'M_USER_LOCKED', 'User account has been locked', { soft_logout: true });
  }
  const { session, refreshToken } = openDevice(world, user, {
    deviceId: typeof body['device_id'] === 'string' ? body['device_id'] : undefined,
    displayName: body['initial_device_display_name'],
    refreshable: body['refresh_token'] === true,
  });
  return {
    user_id: user.userId,
    access_token: session.accessToken,
    home_server: world.serverName,
    device_id: session.deviceId,
    ...(refreshToken !== undefined && {
      refresh_token: refreshToken,
      expires_in_ms: (session.expiresAt ?? 0) - world.clock.now(),
    }),
  };
}

function userToLogIn(world: World, body: JsonObject): User | undefined {
  const name = objectOrEmpty(body['identifier'])['user'] ?? body['user'];
  if (typeof name !== 'string') return undefined;
  return world.users.get(name.startsWith('@') ? name : `@${name}:${world.serverName}`);
}

function refresh(request: EndpointRequest): JsonObject {
  const { world } = request;
  const { session, refreshToken } = refreshSession(world, requiredString(request.json(), 'refresh_token'));
  return {
    access_token: session.accessToken,
    refresh_token: refreshToken,
    expires_in_ms: (session.expiresAt ?? 0) - world.clock.now(),
  };
}

function logout({ world, session }: EndpointRequest): JsonObject {
  if (session.deviceId === undefined) world.sessions.close(session);
  else closeDevice(world, session.userId, session.deviceId);
  return {};
}

function logoutEverywhere({ world, session }: EndpointRequest): JsonObject {
  closeUserSessions(world, session.userId);
  for (const puppet of world.sessions.puppetsOf(session.userId)) world.sessions.close(puppet);
  return {};
}

function loginCounter(limit: LoginLimit | undefined): (world: World) => void {
  let level = 0;
  let lastAt = 0;
  return ({ clock }) => {
    if (!limit) return;
    const now = clock.now();
    level = Math.max(0, level - (now - lastAt) / limit.retryAfterMs);
    lastAt = now;
    if (level > limit.burst - 1) {
      throw new MatrixError(429, 'M_LIMIT_EXCEEDED', 'Too Many Requests', { retry_after_ms: limit.retryAfterMs });
    }
    level++;
  };
}
