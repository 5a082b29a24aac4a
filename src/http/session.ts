import { inspect } from 'node:util';
import type { Credentials } from '../core/credentials.js';
import { MatrixClientManagerError } from '../core/errors.js';

/** Makes new credentials for the same user and device, or rejects when that cannot be done. */
export type Renew = (dead: Credentials | undefined) => Promise<Credentials>;

/**
 * An access token in use, renewed once for everybody who waits when it turns out to be dead. Its printed form shows
 * no token.
 */
export class Session {
  readonly userId: string;
  #credentials: Credentials | undefined;
  #renewal: Promise<Credentials> | undefined;
  readonly #renew: Renew | undefined;

  /**
   * Throws `INVALID_OPTIONS` for a token that no request can carry.
   * @param credentials - undefined to log in with `renew` at the first use
   */
  constructor(userId: string, credentials: Credentials | undefined, renew?: Renew) {
    this.userId = userId;
    this.#credentials = credentials && usable(credentials);
    this.#renew = renew;
  }

  /** The credentials to use now; undefined where there are none yet. */
  get known(): Credentials | undefined {
    return this.#credentials;
  }

  /** {@link known}; logs in when there are none yet. */
  async credentials(): Promise<Credentials> {
    return this.#credentials ?? this.#renewOnce();
  }

  /** Notes the device that the homeserver named for a token; nothing is changed where another token is in use by now. */
  noteDevice(accessToken: string, deviceId: string): Credentials {
    const credentials = { userId: this.userId, accessToken, deviceId };
    if (this.#credentials?.accessToken === accessToken) this.#credentials = { ...this.#credentials, ...credentials };
    return credentials;
  }

  /**
   * Called with a token that the homeserver called unknown. Resolves with credentials that hold another one: those of
   * a renewal that is under way or over already, or of a new one. Rejects with `cause` where nothing can renew.
   */
  async replace(deadToken: string, cause: MatrixClientManagerError): Promise<Credentials> {
    if (this.#credentials && this.#credentials.accessToken !== deadToken) return this.#credentials;
    if (!this.#renew) throw cause;
    return this.#renewOnce();
  }

  #renewOnce(): Promise<Credentials> {
    if (!this.#renew) {
      const message = `there is no access token for ${this.userId}`;
      return Promise.reject(new MatrixClientManagerError('UNKNOWN_TOKEN', message, { userId: this.userId }));
    }
    this.#renewal ??= this.#renew(this.#credentials)
      .then((credentials) => (this.#credentials = usable(credentials)))
      .finally(() => (this.#renewal = undefined));
    return this.#renewal;
  }

  [inspect.custom](): string {
    return `Session(${this.userId})`;
  }
}

/** Refuses what cannot stand in a header here: fetch refuses it as well, and prints it. */
function usable(credentials: Credentials): Credentials {
  if (/^[\x21-\x7e]+$/.test(credentials.accessToken)) return credentials;
  const { userId } = credentials;
  const message = `expected the access token of ${userId} to be of visible ASCII characters only, without a line break`;
  throw new MatrixClientManagerError('INVALID_OPTIONS', message, { userId });
}
