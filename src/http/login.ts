import * as v from 'valibot';
import type { Credentials } from '../core/credentials.js';
import type { HomeserverHttp } from './homeserver-http.js';
import type { Session } from './session.js';

const accessToken = v.pipe(v.string(), v.regex(/^[\x21-\x7e]+$/)); // a header has to hold it

/** What is of another type is not there. */
const optionalText = v.pipe(
  v.fallback(v.nullish(v.string()), undefined),
  v.transform((text) => text ?? undefined),
);

const loginSchema = v.object({
  user_id: v.string(),
  access_token: accessToken,
  device_id: v.pipe(v.string(), v.nonEmpty()),
  refresh_token: optionalText,
});

/**
 * The standard password login.
 * @see https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3login
 */
export async function loginWithPassword(
  http: HomeserverHttp,
  login: {
    userId: string;
    password: string;
    deviceId?: string | undefined;
    deviceName: string;
    signal?: AbortSignal | undefined;
  },
): Promise<Credentials> {
  const body = await http.request(loginSchema, {
    operation: `logging in ${login.userId}`,
    userId: login.userId,
    method: 'POST',
    path: '/_matrix/client/v3/login',
    body: {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: login.userId },
      password: login.password,
      device_id: login.deviceId,
      initial_device_display_name: login.deviceName,
    },
    // With a device id a second login replaces the first; without one it would leave a stray device behind.
    repeatable: login.deviceId !== undefined,
    priority: 'send',
    signal: login.signal,
  });
  return {
    userId: body.user_id,
    accessToken: body.access_token,
    deviceId: body.device_id,
    ...(body.refresh_token !== undefined && { refreshToken: body.refresh_token }),
  };
}

const refreshSchema = v.object({
  access_token: accessToken,
  refresh_token: optionalText,
});

/**
 * Trades a refresh token for a new access token. Not repeatable: a token once used is dead.
 * @see https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3refresh
 */
export async function refreshSession(
  http: HomeserverHttp,
  dead: Credentials,
  signal?: AbortSignal,
): Promise<Credentials> {
  const body = await http.request(refreshSchema, {
    operation: `refreshing the session of ${dead.userId}`,
    userId: dead.userId,
    method: 'POST',
    path: '/_matrix/client/v3/refresh',
    body: { refresh_token: dead.refreshToken },
    repeatable: false,
    signal,
  });
  const refreshToken = body.refresh_token ?? dead.refreshToken;
  return { ...dead, accessToken: body.access_token, ...(refreshToken !== undefined && { refreshToken }) };
}

const whoamiSchema = v.object({ user_id: v.string(), device_id: optionalText });

/**
 * Whose token, and which device, an access token stands for.
 * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3accountwhoami
 */
export async function whoami(
  http: HomeserverHttp,
  session: Session,
  signal?: AbortSignal,
): Promise<{ userId: string; deviceId: string | undefined }> {
  const body = await http.request(whoamiSchema, {
    operation: `checking the session of ${session.userId}`,
    userId: session.userId,
    method: 'GET',
    path: '/_matrix/client/v3/account/whoami',
    session,
    repeatable: true,
    signal,
  });
  return { userId: body.user_id, deviceId: body.device_id };
}
