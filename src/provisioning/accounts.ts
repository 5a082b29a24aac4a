import { orAborted } from '../core/abort.js';
import { assertUserId, newUserId, normalizeUsername } from '../core/ids.js';
import type { Credentials } from '../core/credentials.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { SingleFlight } from '../core/single-flight.js';
import { failureClass } from '../http/failure-class.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { refreshSession, whoami } from '../http/login.js';
import { Session } from '../http/session.js';
import type { Storage } from '../storage/storage.js';
import type { Provisioner } from './provisioner.js';

export interface ProvisionUserOptions {
  /** The localpart of the user id, in the specification's grammar. */
  readonly username: string;
  /** Set on a new account, and on an existing one that has to be logged in anew. */
  readonly displayName?: string;
  /** Whether a new account is a homeserver admin. @default false */
  readonly admin?: boolean;
  /** The device to log in on. @default the device known already, else a new one of the homeserver's choice */
  readonly deviceId?: string;
  /** Map a name that breaks the grammar to one that does not, instead of rejecting it. @default false */
  readonly normalizeUsername?: boolean;
  readonly signal?: AbortSignal;
}

export interface ProvisionedUser extends Credentials {
  /** Whether this call made the account. */
  readonly created: boolean;
}

/** The application's own store of credentials. */
export type CredentialsSource = (userId: string) => Promise<Credentials | undefined>;

export interface AccountsOptions {
  readonly http: HomeserverHttp;
  readonly storage: Storage;
  readonly provisioner: Provisioner | undefined;
  readonly credentials: CredentialsSource | undefined;
  readonly serverName: string;
  readonly logger: Logger;
  /** Fires when the manager shuts down. */
  readonly signal: AbortSignal;
}

/** Knows every user's credentials: makes them, finds them, checks them, and renews dead ones. */
export class Accounts {
  readonly #options: AccountsOptions;
  readonly #provisions = new SingleFlight<ProvisionedUser>();
  readonly #renewals = new SingleFlight<Credentials>();

  constructor(options: AccountsOptions) {
    this.#options = options;
  }

  /** The user's account and a working session on it, however many callers ask at once. */
  async provision(options: ProvisionUserOptions): Promise<ProvisionedUser> {
    const username = options.normalizeUsername ? normalizeUsername(options.username) : options.username;
    const userId = newUserId(username, this.#options.serverName);
    // One caller's signal ends that caller's wait only: others may be waiting for the same flight.
    const flight = this.#provisions.run(userId, () => this.#provision(userId, options));
    return orAborted(flight, options.signal, `provisioning ${userId}`);
  }

  async #provision(userId: string, options: ProvisionUserOptions): Promise<ProvisionedUser> {
    const { storage, signal } = this.#options;
    const provisioner = this.#provisioner('provisionUser');
    const known = await this.#known(userId);
    if (known && (options.deviceId === undefined || options.deviceId === known.deviceId)) {
      const alive = await this.#whoami(known, signal).catch((error: unknown) => {
        if (isManagerError(error, 'UNKNOWN_TOKEN')) return undefined; // dead: log in again, on the same device
        throw error;
      });
      if (alive?.userId === userId) return { ...known, created: false };
    }
    const user = await provisioner.ensureUser({
      userId,
      displayName: options.displayName,
      admin: options.admin,
      signal,
    });
    const deviceId = options.deviceId ?? known?.deviceId;
    const credentials = ofUser(userId, await provisioner.openSession({ userId, deviceId, user, signal }));
    await storage.setCredentials(credentials);
    return { ...credentials, created: user.created };
  }

  /**
   * The credentials to start a client with: those given (checked to be the user's, and remembered), else those known.
   * Rejects with `CLIENT_NOT_STARTED` where there are none.
   */
  async resolve(
    userId: string,
    given: { accessToken?: string | undefined; deviceId?: string | undefined } = {},
    signal?: AbortSignal,
  ): Promise<Credentials> {
    const known = await this.#known(userId);
    const { accessToken } = given;
    if (accessToken === undefined) {
      if (known) return known;
      throw new MatrixClientManagerError(
        'CLIENT_NOT_STARTED',
        `there are no credentials for ${userId}: call provisionUser(), or startClient() with an accessToken, first`,
        { userId },
      );
    }
    if (known?.accessToken === accessToken && (given.deviceId ?? known.deviceId) === known.deviceId) return known;
    const owner = await this.#whoami({ userId, accessToken, deviceId: given.deviceId ?? '' }, signal);
    const deviceId = owner.deviceId ?? given.deviceId;
    if (owner.userId !== userId || deviceId === undefined || (given.deviceId ?? deviceId) !== deviceId) {
      const whose = owner.userId === userId ? `device ${deviceId ?? '(none)'}` : owner.userId;
      throw new MatrixClientManagerError(
        'INVALID_OPTIONS',
        `expected \`accessToken\` to be one of ${userId}${given.deviceId ? ` on device ${given.deviceId}` : ' on a device'}, ` +
          `but it belongs to ${whose}`,
        { userId },
      );
    }
    const credentials = { userId, accessToken, deviceId };
    await this.#options.storage.setCredentials(credentials);
    return credentials;
  }

  /** A session over `credentials` that renews itself and remembers what it got. */
  session(credentials: Credentials): Session {
    return new Session(credentials.userId, credentials, (dead) => this.#renew(dead ?? credentials));
  }

  /** Waits for what is under way; nothing new may be asked for meanwhile. */
  async settled(): Promise<void> {
    await this.#provisions.settled();
    await this.#renewals.settled();
  }

  #renew(dead: Credentials): Promise<Credentials> {
    return this.#renewals.run(dead.userId, async () => {
      const { logger, storage } = this.#options;
      const renewed = await this.#replacement(dead).catch((error: unknown) => Promise.reject(unrenewable(dead, error)));
      await storage.setCredentials(renewed);
      logger.info({ userId: dead.userId, deviceId: dead.deviceId }, 'access token renewed');
      return renewed;
    });
  }

  /** In order of gentleness: what is stored already, the refresh token, the application, a new login. */
  async #replacement(dead: Credentials): Promise<Credentials> {
    const { http, storage, provisioner, credentials: source, logger, signal } = this.#options;
    const { userId, deviceId } = dead;
    const usable = (found: Credentials | undefined): found is Credentials =>
      found !== undefined && found.deviceId === deviceId && found.accessToken !== dead.accessToken;

    const stored = await storage.getCredentials(userId);
    if (usable(stored)) return stored;
    if (dead.refreshToken !== undefined) {
      try {
        return await refreshSession(http, dead);
      } catch (error) {
        if (!isManagerError(error, 'UNKNOWN_TOKEN', 'FORBIDDEN', 'UNSUPPORTED')) throw error;
        logger.debug({ userId, err: error }, 'refresh token refused');
      }
    }
    const own = await source?.(userId).catch((error: unknown) => {
      // The application's database being down is no reason to log anybody out.
      throw new MatrixClientManagerError('NETWORK', `\`credentials\` failed for ${userId}`, { userId, cause: error });
    });
    if (usable(own)) return own;
    if (provisioner?.capabilities.renewsSessions) {
      return ofUser(userId, await provisioner.openSession({ userId, deviceId, signal }));
    }
    throw new MatrixClientManagerError(
      'UNKNOWN_TOKEN',
      `the access token of ${userId} is dead, and neither \`credentials\` nor a provisioner has another for device ${deviceId}`,
      { userId },
    );
  }

  async #known(userId: string): Promise<Credentials | undefined> {
    assertUserId(userId);
    const stored = await this.#options.storage.getCredentials(userId);
    return stored ?? this.#options.credentials?.(userId);
  }

  #whoami(
    credentials: Credentials,
    signal: AbortSignal | undefined,
  ): Promise<{ userId: string; deviceId: string | undefined }> {
    return whoami(this.#options.http, new Session(credentials.userId, credentials), signal);
  }

  #provisioner(operation: string): Provisioner {
    const { provisioner } = this.#options;
    if (provisioner) return provisioner;
    throw new MatrixClientManagerError(
      'INVALID_OPTIONS',
      `${operation} needs an \`admin\` account or a \`provisioner\` in the manager's options`,
    );
  }
}

/** A renewal that failed for now fails as it did; one that was refused means that the token stays dead. */
function unrenewable(dead: Credentials, error: unknown): MatrixClientManagerError {
  const { userId } = dead;
  if (isManagerError(error) && (error.code === 'UNKNOWN_TOKEN' || failureClass(error) !== 'permanent')) return error;
  const why = error instanceof Error ? error.message : 'unknown reason';
  const message = `the access token of ${userId} is dead and its renewal was refused: ${why}`;
  return new MatrixClientManagerError('UNKNOWN_TOKEN', message, { userId, cause: error });
}

/** A homeserver that lies about whose session it opened must not put one user's messages into another's hands. */
function ofUser(userId: string, credentials: Credentials): Credentials {
  if (credentials.userId === userId) return credentials;
  throw new MatrixClientManagerError(
    'INVALID_RESPONSE',
    `logging in ${userId} gave a session of ${credentials.userId}; it is not used`,
    { userId },
  );
}
