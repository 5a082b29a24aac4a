import * as v from 'valibot';
import { orAborted } from '../core/abort.js';
import type { Credentials } from '../core/credentials.js';
import { invalidOptions, isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { name, optionsOf, unchecked, userId } from '../core/validation.js';
import type { Schema } from '../core/validation.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { loginWithPassword, whoami } from '../http/login.js';
import { path } from '../http/path.js';
import { Session } from '../http/session.js';

/**
 * The server admin whose account makes Admin API calls. With a password, the manager logs in once, and again on the
 * same device when the token is no longer valid.
 */
export type AdminAccount =
  | { readonly userId: string; readonly accessToken: string; readonly password?: string }
  | { readonly userId: string; readonly password: string; readonly accessToken?: string };

/**
 * The schema of {@link AdminAccount}. All keys of `Credentials` are allowed, so that the result of a login can be
 * passed.
 */
export const adminSchema = v.pipe(
  optionsOf<
    Partial<Record<'accessToken' | 'password', string>> & { userId: string; deviceId?: string; refreshToken?: string }
  >({
    userId,
    accessToken: v.optional(name),
    password: v.optional(name),
    deviceId: unchecked(),
    refreshToken: unchecked(),
  }),
  v.check(
    ({ accessToken, password }) => (accessToken ?? password) !== undefined,
    'an object with a userId and an accessToken or a password, got neither',
  ),
) as Schema<AdminAccount>;

/** The admin's device at the first login. A fixed id, so that each process does not add a device. */
const ADMIN_DEVICE_ID = 'matrix-client-manager';

/**
 * The account of the option `admin`, for calls that use it as a user. It always uses the session of that option. It is
 * never provisioned, because provisioning would replace its password with a random one.
 */
export class OwnAdmin {
  readonly session: Session;
  /** Undefined if the option `admin` has only a token. */
  readonly password: string | undefined;
  readonly #http: HomeserverHttp;
  readonly #signal: AbortSignal | undefined;

  /**
   * Throws `INVALID_OPTIONS` for a token that is not valid in a header.
   * @param signal - aborted when the manager shuts down
   */
  constructor(http: HomeserverHttp, admin: AdminAccount, signal?: AbortSignal) {
    this.#http = http;
    this.session = adminSession(http, admin, signal);
    this.password = admin.password;
    this.#signal = signal;
  }

  get userId(): string {
    return this.session.userId;
  }

  /**
   * The credentials of its session with the device id, which the homeserver is asked for once. Rejects with
   * `INVALID_OPTIONS` if the token belongs to another user, to no device, or to a device other than `deviceId`.
   */
  async credentials(deviceId?: string, signal = this.#signal): Promise<Credentials> {
    const credentials = await this.#withDevice(signal);
    if (deviceId === undefined || deviceId === credentials.deviceId) return credentials;
    const { userId } = this;
    const message = `expected \`deviceId\` to be ${credentials.deviceId}, the device of the option \`admin\` (${userId})`;
    throw invalidOptions(message, { userId });
  }

  /** Whether the session belongs to that device; false for a session without a device. */
  async isLoggedInOn(deviceId: string): Promise<boolean> {
    const { session } = this;
    const known = await orAborted(session.credentials(), this.#signal, `logging in ${this.userId}`);
    if (known.deviceId !== '') return known.deviceId === deviceId;
    return (await whoami(this.#http, session, this.#signal)).deviceId === deviceId;
  }

  /** Throws `INVALID_OPTIONS` if `userId` is the admin itself, which the operation would lock out. */
  assertNotAdmin(userId: string, doing: string): void {
    if (userId !== this.userId) return;
    const message = `${userId} is the account of the option \`admin\`: to ${doing} it would lock this manager out`;
    throw invalidOptions(message, { userId });
  }

  /** Sets the admin's display name with the client-server API, which leaves the password unchanged. */
  async setDisplayName(displayName: string): Promise<void> {
    const { session, userId } = this;
    await this.#http.request(v.unknown(), {
      operation: `renaming ${userId}`,
      userId,
      method: 'PUT',
      path: path`/_matrix/client/v3/profile/${userId}/displayname`,
      body: { displayname: displayName },
      session,
      signal: this.#signal,
    });
  }

  async #withDevice(signal: AbortSignal | undefined): Promise<Credentials> {
    const { session, userId } = this;
    const known = await orAborted(session.credentials(), signal, `logging in ${userId}`);
    if (known.deviceId !== '') return known;
    const owner = await whoami(this.#http, session, signal);
    const now = session.current ?? known;
    if (now.deviceId !== '') return now; // the token was renewed meanwhile, by a login that set the device
    if (owner.userId !== userId) {
      const message = `expected \`admin.accessToken\` to be one of ${userId}, but it belongs to ${owner.userId}`;
      throw invalidOptions(message, { userId });
    }
    if (!owner.deviceId) {
      const message =
        `the access token of \`admin\` belongs to no device, which a client of ${userId} needs: ` +
        'pass the token of a login, or the password';
      throw invalidOptions(message, { userId });
    }
    return session.noteDevice(now.accessToken, owner.deviceId);
  }
}

/**
 * The session of an admin, by token or password. With a password it logs in at the first use, and again whenever the
 * token is no longer valid.
 * @param signal - aborts a running login
 */
function adminSession(http: HomeserverHttp, admin: AdminAccount, signal?: AbortSignal): Session {
  const { userId, accessToken, password } = admin;
  const credentials = accessToken === undefined ? undefined : { userId, accessToken, deviceId: '' };
  if (password === undefined) return new Session(userId, credentials);
  const deviceName = 'matrix-client-manager (admin)';
  return new Session(userId, credentials, async (dead) => {
    // A running client continues with the new token, so the login has to use the same device.
    const deviceId = dead?.deviceId || ADMIN_DEVICE_ID;
    try {
      return await loginWithPassword(http, { userId, password, deviceId, deviceName, signal });
    } catch (error) {
      throw isManagerError(error, 'FORBIDDEN') ? wrongPassword(error) : error;
    }
  });
}

function wrongPassword(error: MatrixClientManagerError): MatrixClientManagerError {
  const { code, errcode, status, userId } = error;
  const message = `${error.message}. The password of \`admin\` is wrong, or the account may not log in with a password`;
  return new MatrixClientManagerError(code, message, { errcode, status, userId, cause: error });
}
