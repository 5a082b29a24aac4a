import { inspect } from 'node:util';
import type { Credentials } from '../core/credentials.js';
import { invalidOptions, MatrixClientManagerError } from '../core/errors.js';

/** Obtains new credentials for the same user and device. Rejects when that is not possible. */
export type Renew = (expired: Credentials | undefined) => Promise<Credentials>;

/**
 * The access token of a user. When the homeserver rejects it, it is renewed once for all concurrent requests.
 * `util.inspect` does not show the token.
 */
export class Session {
  readonly userId: string;
  #credentials: Credentials | undefined;
  #renewal: Promise<Credentials> | undefined;
  readonly #renew: Renew | undefined;

  /**
   * Throws `INVALID_OPTIONS` for a token that is not valid in a header.
   * @param credentials - if undefined, `renew` logs in at the first use
   */
  constructor(userId: string, credentials: Credentials | undefined, renew?: Renew) {
    this.userId = userId;
    this.#credentials = credentials && withUsableToken(credentials);
    this.#renew = renew;
  }

  /** The current credentials, or undefined before the first login. */
  get current(): Credentials | undefined {
    return this.#credentials;
  }

  /** The current credentials. Logs in first if there are none yet. */
  async credentials(): Promise<Credentials> {
    return this.#credentials ?? this.#renewOnce();
  }

  /** Adds the device id that the homeserver returned for a token, unless another token has replaced that one. */
  noteDevice(accessToken: string, deviceId: string): Credentials {
    const credentials = { userId: this.userId, accessToken, deviceId };
    if (this.#credentials?.accessToken === accessToken) this.#credentials = { ...this.#credentials, ...credentials };
    return credentials;
  }

  /**
   * Resolves with credentials whose token differs from `rejectedToken`: those of a finished, running or new renewal.
   * Rejects with `cause` if the session cannot be renewed.
   */
  async replace(rejectedToken: string, cause: MatrixClientManagerError): Promise<Credentials> {
    if (this.#credentials && this.#credentials.accessToken !== rejectedToken) return this.#credentials;
    if (!this.#renew) throw cause;
    return this.#renewOnce();
  }

  #renewOnce(): Promise<Credentials> {
    if (!this.#renew) {
      const message = `there is no access token for ${this.userId}`;
      return Promise.reject(new MatrixClientManagerError('UNKNOWN_TOKEN', message, { userId: this.userId }));
    }
    this.#renewal ??= this.#renew(this.#credentials)
      .then((credentials) => (this.#credentials = withUsableToken(credentials)))
      .finally(() => (this.#renewal = undefined));
    return this.#renewal;
  }

  [inspect.custom](): string {
    return `Session(${this.userId})`;
  }
}

/** Checks the token before fetch does, because the error of fetch would contain the token. */
function withUsableToken(credentials: Credentials): Credentials {
  if (/^[\x21-\x7e]+$/.test(credentials.accessToken)) return credentials;
  const { userId } = credentials;
  const message = `expected the access token of ${userId} to consist of visible ASCII characters, without spaces or line breaks`;
  throw invalidOptions(message, { userId });
}
