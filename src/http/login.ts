import * as v from 'valibot';
import type { Credentials } from '../core/credentials.js';
import type { HomeserverHttp } from './homeserver-http.js';
import { optionalText } from './response-parts.js';
import type { Session } from './session.js';

const accessToken = v.pipe(v.string(), v.regex(/^[\x21-\x7e]+$/)); // must be valid in a header

const loginSchema = v.object({
  user_id: v.string(),
  access_token: accessToken,
  device_id: v.pipe(v.string(), v.nonEmpty()),
  refresh_token: optionalText,
});

/**
 * Logs in with a password.
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
    // With a device id, a repeated login reuses the device. Without one it would create a second device.
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
 * Exchanges a refresh token for a new access token. Not repeatable, because a refresh token is valid only once.
 * @see https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3refresh
 */
export async function refreshSession(
  http: HomeserverHttp,
  expired: Credentials,
  signal?: AbortSignal,
): Promise<Credentials> {
  const body = await http.request(refreshSchema, {
    operation: `refreshing the session of ${expired.userId}`,
    userId: expired.userId,
    method: 'POST',
    path: '/_matrix/client/v3/refresh',
    body: { refresh_token: expired.refreshToken },
    repeatable: false,
    signal,
  });
  const refreshToken = body.refresh_token ?? expired.refreshToken;
  return { ...expired, accessToken: body.access_token, ...(refreshToken !== undefined && { refreshToken }) };
}

const whoamiSchema = v.object({ user_id: v.string(), device_id: optionalText });

/**
 * Returns the user and the device that an access token belongs to.
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
    signal,
  });
  return { userId: body.user_id, deviceId: body.device_id };
}
