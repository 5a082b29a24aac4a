import * as v from 'valibot';
import { orAborted } from '../core/abort.js';
import type { Credentials } from '../core/credentials.js';
import { invalidOptions } from '../core/errors.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { whoami } from '../http/login.js';
import { path } from '../http/path.js';
import type { Session } from '../http/session.js';

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

  /** @param signal - aborted when the manager shuts down */
  constructor(http: HomeserverHttp, session: Session, password?: string, signal?: AbortSignal) {
    this.#http = http;
    this.session = session;
    this.password = password;
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
