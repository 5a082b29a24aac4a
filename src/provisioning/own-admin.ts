import * as v from 'valibot';
import { orAborted } from '../core/abort.js';
import type { Credentials } from '../core/credentials.js';
import { MatrixClientManagerError } from '../core/errors.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { whoami } from '../http/login.js';
import { path } from '../http/path.js';
import type { Session } from '../http/session.js';

/**
 * The manager's own admin as a user. It acts with the session of the option `admin` and no other: were its account
 * provisioned like that of a user, a random password would replace its own, and nobody could log it in again.
 */
export class OwnAdmin {
  readonly session: Session;
  /** Undefined where the manager was given a token only. */
  readonly password: string | undefined;
  readonly #http: HomeserverHttp;
  readonly #signal: AbortSignal | undefined;

  /** @param signal - fires when the manager shuts down */
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
   * Its session with the device, which the homeserver is asked for once. Rejects with `INVALID_OPTIONS` where the token
   * is somebody else's, belongs to no device, or to another one than `deviceId`.
   */
  async credentials(deviceId?: string, signal = this.#signal): Promise<Credentials> {
    const credentials = await this.#withDevice(signal);
    if (deviceId === undefined || deviceId === credentials.deviceId) return credentials;
    const { userId } = this;
    const message = `expected \`deviceId\` to be ${credentials.deviceId}, on which the option \`admin\` has logged ${userId} in`;
    throw new MatrixClientManagerError('INVALID_OPTIONS', message, { userId });
  }

  /** Whether the session is one on that device; a session without a device is on none. */
  async isOn(deviceId: string): Promise<boolean> {
    const { session } = this;
    const known = await orAborted(session.credentials(), this.#signal, `logging in ${this.userId}`);
    if (known.deviceId !== '') return known.deviceId === deviceId;
    return (await whoami(this.#http, session, this.#signal)).deviceId === deviceId;
  }

  /** Throws `INVALID_OPTIONS` for the admin itself, who would be locked out by what is to be done. */
  assertOther(userId: string, doing: string): void {
    if (userId !== this.userId) return;
    const message = `${userId} is the account of the option \`admin\`: to ${doing} it would lock this manager out`;
    throw new MatrixClientManagerError('INVALID_OPTIONS', message, { userId });
  }

  /** Renames the admin in their own name; no password is needed, and none is changed. */
  async setDisplayName(displayName: string): Promise<void> {
    const { session, userId } = this;
    await this.#http.request(v.unknown(), {
      operation: `renaming ${userId}`,
      userId,
      method: 'PUT',
      path: path`/_matrix/client/v3/profile/${userId}/displayname`,
      body: { displayname: displayName },
      session,
      repeatable: true,
      signal: this.#signal,
    });
  }

  async #withDevice(signal: AbortSignal | undefined): Promise<Credentials> {
    const { session, userId } = this;
    const known = await orAborted(session.credentials(), signal, `logging in ${userId}`);
    if (known.deviceId !== '') return known;
    const owner = await whoami(this.#http, session, signal);
    const now = session.current ?? known;
    if (now.deviceId !== '') return now; // its token has died, and was renewed
    if (owner.userId !== userId) {
      const message = `expected \`admin.accessToken\` to be one of ${userId}, but it belongs to ${owner.userId}`;
      throw new MatrixClientManagerError('INVALID_OPTIONS', message, { userId });
    }
    if (!owner.deviceId) {
      const message =
        `the access token of \`admin\` belongs to no device, and a client of ${userId} needs one: ` +
        'give the token of a login, or the password';
      throw new MatrixClientManagerError('INVALID_OPTIONS', message, { userId });
    }
    return session.noteDevice(now.accessToken, owner.deviceId);
  }
}
