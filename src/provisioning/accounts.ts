import { orAborted, throwIfAborted } from '../core/abort.js';
import { assertUserId, newUserId, normalizeUsername } from '../core/ids.js';
import type { Credentials } from '../core/credentials.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { runAllSteps } from '../core/every-step.js';
import { isError } from '../core/is-error.js';
import type { Logger } from '../core/logger.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import { SingleFlight } from '../core/single-flight.js';
import { failureClass } from '../http/failure-class.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { refreshSession, whoami } from '../http/login.js';
import { Session } from '../http/session.js';
import type { Storage } from '../storage/storage.js';
import type { ApplicationCredentials } from './application-credentials.js';
import { checkedCredentials } from './checked-credentials.js';
import { onlyOnce, withPassword } from './interactive-authentication.js';
import type { AuthenticatedRequest } from './interactive-authentication.js';
import type { OwnAdmin } from './own-admin.js';
import type { ProvisionedUser, ProvisionUserOptions } from './provision-user-options.js';
import type { OpenSessionRequest, Provisioner } from './provisioner.js';

export interface AccountsOptions {
  readonly http: HomeserverHttp;
  readonly storage: Storage;
  readonly provisioner: Provisioner | undefined;
  /** The application's own store of credentials. */
  readonly application: ApplicationCredentials | undefined;
  /** The account of the option `admin`: it is never provisioned, and its credentials are not kept. */
  readonly admin: OwnAdmin | undefined;
  readonly serverName: string;
  /** What new devices are called that no call names. @default the provisioner's choice */
  readonly deviceName?: string | undefined;
  /** Asks the homeserver whether an account is deactivated; false where that cannot be told. */
  readonly isDeactivated?: ((userId: string) => Promise<boolean>) | undefined;
  /** Told of credentials that were renewed, or belong to a new device, before they are used. */
  readonly onChanged?: ((credentials: Credentials) => void) | undefined;
  readonly logger: Logger;
  /** Fires when the manager shuts down. */
  readonly signal: AbortSignal;
}

/**
 * Knows every user's credentials: makes them, finds them, checks them, renews dead ones, and forgets them.
 *
 * This file is long because all that changes a user's credentials takes turns in one queue per user; what may wait for
 * what can be seen only where it stands together.
 */
export class Accounts {
  readonly #options: AccountsOptions;
  readonly #provisions = new SingleFlight<ProvisionedUser>();
  readonly #renewals = new SingleFlight<Credentials>();
  /**
   * One flight per user at a time: two that set passwords would undo each other's login. Nothing in it may use a
   * session of the user's that renews itself: the renewal would wait in the same queue.
   */
  readonly #users = new KeyedQueue();
  /** Logouts that nobody waits for. */
  readonly #closing = new Set<Promise<void>>();

  constructor(options: AccountsOptions) {
    this.#options = options;
  }

  /**
   * The user's account and a working session on it, however many callers ask at once. Those who ask for the same share
   * a flight, others take turns.
   */
  async provision(options: ProvisionUserOptions): Promise<ProvisionedUser> {
    const { username, displayName, admin = false, deviceId, deviceName, signal } = options;
    const { normalizeUsername: normalize = false } = options;
    const userId = newUserId(normalize ? normalizeUsername(username) : username, this.#options.serverName);
    const operation = `provisioning ${userId}`;
    throwIfAborted(signal, operation);
    this.#options.application?.assertNotAsking(userId);
    const flight = this.#provisions.run(JSON.stringify([userId, deviceId, displayName, admin, deviceName]), () =>
      this.#users.run(userId, () => this.#provision(userId, options)),
    );
    // One caller's signal ends that caller's wait only: others may be waiting for the same flight.
    return orAborted(flight, signal, operation);
  }

  async #provision(userId: string, options: ProvisionUserOptions): Promise<ProvisionedUser> {
    const { signal } = this.#options;
    const { displayName, admin, deviceName } = options;
    const own = this.#ownAdmin(userId);
    if (own) {
      const credentials = await own.credentials(options.deviceId);
      if (displayName !== undefined) await own.setDisplayName(displayName);
      return { ...credentials, created: false };
    }
    const provisioner = this.#provisioner('provisionUser');
    const known = await this.#known(userId);
    if (known && (options.deviceId === undefined || options.deviceId === known.deviceId)) {
      if (await this.#isAlive(known)) return { ...known, created: false };
    }
    const ensured = provisioner.ensureUser({ userId, displayName, admin, signal });
    const user = await orAborted(ensured, signal, `provisioning ${userId}`);
    const deviceId = options.deviceId ?? known?.deviceId;
    const credentials = await this.#login(provisioner, { userId, deviceId, user, deviceName });
    await this.#keep(credentials);
    return { ...credentials, created: user.created };
  }

  /**
   * The credentials to start a client with: those given (checked to be the user's, and remembered), else those known.
   * Rejects with `CLIENT_NOT_STARTED` where there are none, and `USER_DEACTIVATED` where that is why. The manager's admin has its own, whatever token is given.
   */
  async credentialsFor(
    userId: string,
    given: { accessToken?: string | undefined; deviceId?: string | undefined } = {},
    signal?: AbortSignal,
  ): Promise<Credentials> {
    const own = this.#ownAdmin(userId);
    if (own) return own.credentials(given.deviceId, signal);
    const known = await this.#known(userId);
    const { accessToken } = given;
    if (accessToken === undefined) {
      if (known) return known;
      if (await this.#options.isDeactivated?.(userId)) throw deactivatedError(userId);
      throw new MatrixClientManagerError(
        'CLIENT_NOT_STARTED',
        `there are no credentials for ${userId}: call provisionUser(), or startClient() with an accessToken, first`,
        { userId },
      );
    }
    if (known?.accessToken === accessToken && (given.deviceId ?? known.deviceId) === known.deviceId) return known;
    const owner = await this.#whoami({ userId, accessToken, deviceId: given.deviceId ?? '' }, signal).catch(
      (error: unknown) => {
        // The caller's copy is from before a renewal that they were not told of.
        if (isManagerError(error, 'UNKNOWN_TOKEN') && known && given.deviceId === known.deviceId) return undefined;
        throw error;
      },
    );
    if (!owner) return known as Credentials;
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
    await this.#keep(credentials);
    return credentials;
  }

  /**
   * Logs the user in on a new device, whose credentials are those of the user from then on. Rejects with `UNSUPPORTED`
   * where nobody can log the user in.
   * @param logOut - whether to log the old device out: nobody can use it any more
   */
  async replaceDevice(old: Credentials, logOut: boolean): Promise<Credentials> {
    const { userId, deviceId } = old;
    return this.#users.run(userId, async () => {
      const { storage, provisioner } = this.#options;
      const stored = await storage.getCredentials(userId);
      if (stored && stored.deviceId !== deviceId) return stored; // somebody else has done it
      if (!provisioner?.capabilities.renewsSessions || this.#ownAdmin(userId)) {
        const message = `${userId} needs a new device in place of ${deviceId}: log in, and start the client with its token`;
        throw new MatrixClientManagerError('UNSUPPORTED', message, { userId });
      }
      const credentials = await this.#login(provisioner, { userId });
      await this.#keep(credentials);
      this.#options.onChanged?.(credentials);
      if (logOut) {
        const closing = this.#close(old).finally(() => this.#closing.delete(closing));
        this.#closing.add(closing);
      }
      return credentials;
    });
  }

  /**
   * Logs the user out, where there is a provisioner and `logOut` says so, and forgets their credentials, also in the
   * application's store. A logout that fails is told to the logger: the user is forgotten all the same. What still acts
   * with the session cannot renew it any more.
   */
  async forget(userId: string, logOut: boolean): Promise<void> {
    const { storage, application } = this.#options;
    const isOwnAdmin = this.#ownAdmin(userId) !== undefined;
    await this.#users.run(userId, () =>
      runAllSteps(
        [
          async () => {
            if (isOwnAdmin || !logOut) return;
            const known = await this.#known(userId).catch(() => undefined); // unusable ones are deleted all the same
            if (known) await this.#close(known);
          },
          () => storage.deleteCredentials(userId),
          () => application?.delete(userId),
        ],
        `forgetting ${userId}`,
      ),
    );
  }

  /** Deletes all that the storage has of a user who was forgotten, but for credentials that have been made since. */
  async erase(userId: string): Promise<void> {
    const { storage } = this.#options;
    await this.#users.run(userId, async () => {
      const since = await storage.getCredentials(userId);
      await storage.deleteUser(userId);
      if (since) await storage.setCredentials(since);
    });
  }

  /**
   * Makes a request that the homeserver may want to know to be the user's own; see {@link withPassword}. The user's
   * queue is held for setting the password only: the request itself may have to renew the session, in that queue.
   */
  async authenticate(userId: string, makeRequest: AuthenticatedRequest): Promise<void> {
    const { provisioner, signal } = this.#options;
    const own = this.#ownAdmin(userId);
    if (own) return withPassword(makeRequest, userId, onlyOnce(own.password));
    return withPassword(makeRequest, userId, async () => {
      if (!provisioner) return undefined;
      const ensured = this.#users.run(userId, () => provisioner.ensureUser({ userId, signal }));
      return (await orAborted(ensured, signal, `authenticating ${userId}`)).password;
    });
  }

  /** The session to act as the user with. Rejects with `CLIENT_NOT_STARTED` where there are no credentials. */
  async sessionOf(userId: string, signal?: AbortSignal): Promise<Session> {
    return this.#ownAdmin(userId)?.session ?? this.session(await this.credentialsFor(userId, {}, signal));
  }

  /** A session over `credentials` that renews itself and remembers what it got. */
  session(credentials: Credentials): Session {
    const own = this.#ownAdmin(credentials.userId);
    if (own) return own.session;
    return new Session(credentials.userId, credentials, (dead) => this.#renew(dead ?? credentials));
  }

  /** Waits for what is under way; nothing new may be asked for meanwhile. */
  async settled(): Promise<void> {
    await this.#provisions.whenIdle();
    await this.#renewals.whenIdle();
    await Promise.all(this.#closing);
  }

  #renew(dead: Credentials): Promise<Credentials> {
    const { userId, deviceId } = dead;
    return this.#renewals.run(JSON.stringify([userId, deviceId]), () =>
      this.#users.run(userId, async () => {
        const { logger, storage, isDeactivated, onChanged } = this.#options;
        const stored = await storage.getCredentials(userId);
        const { renewed, isApplications } = await this.#replacement(dead, stored).catch(async (error: unknown) => {
          const failure = unrenewable(dead, error);
          const isFinal = failure.code === 'UNKNOWN_TOKEN';
          throw isFinal && (await isDeactivated?.(userId)) ? deactivatedError(userId, error) : failure;
        });
        // The user may have another device by now: then that one is theirs, and this session goes on for what uses it.
        if (!stored || stored.deviceId === deviceId) await this.#keep(renewed, isApplications);
        if (!isApplications) onChanged?.(renewed);
        logger.info({ userId, deviceId }, 'access token renewed');
        return renewed;
      }),
    );
  }

  /** In order of gentleness: what is stored already, the refresh token, the application, a new login. */
  async #replacement(
    dead: Credentials,
    stored: Credentials | undefined,
  ): Promise<{ renewed: Credentials; isApplications?: true }> {
    const { http, provisioner, logger, signal } = this.#options;
    const { userId, deviceId } = dead;
    if (stored && (await this.#replaces(dead, stored))) return { renewed: stored, isApplications: true };
    const own = (): Promise<Credentials | undefined> =>
      this.#fromApplication(userId).catch((error: unknown) => {
        if (!isManagerError(error, 'INVALID_OPTIONS')) throw error;
        logger.warn({ userId, err: error }, 'the application has no usable credentials for a dead session');
        return undefined;
      });
    let applications = stored ? undefined : await own();
    if (!stored && !applications) {
      const message = `the access token of ${userId} is dead, and the user is not known any more`;
      throw new MatrixClientManagerError('UNKNOWN_TOKEN', message, { userId });
    }
    if (dead.refreshToken !== undefined) {
      try {
        return { renewed: await refreshSession(http, dead, signal) };
      } catch (error) {
        if (!isManagerError(error, 'UNKNOWN_TOKEN', 'FORBIDDEN', 'UNSUPPORTED')) throw error;
        logger.debug({ userId, err: error }, 'refresh token refused');
      }
    }
    applications ??= await own();
    if (applications && (await this.#replaces(dead, applications))) {
      return { renewed: applications, isApplications: true };
    }
    if (provisioner?.capabilities.renewsSessions)
      return { renewed: await this.#login(provisioner, { userId, deviceId }) };
    throw new MatrixClientManagerError(
      'UNKNOWN_TOKEN',
      `the access token of ${userId} is dead, and neither \`credentials\` nor a provisioner has another for device ${deviceId}`,
      { userId },
    );
  }

  /** Whether `found` is another session on the same device, and not as dead. */
  async #replaces(dead: Credentials, found: Credentials): Promise<boolean> {
    return found.deviceId === dead.deviceId && found.accessToken !== dead.accessToken && this.#isAlive(found);
  }

  async #login(provisioner: Provisioner, request: OpenSessionRequest): Promise<Credentials> {
    const { signal } = this.#options;
    const { userId, deviceId, deviceName = this.#options.deviceName } = request;
    const opened = provisioner.openSession({ ...request, deviceName, signal });
    const credentials = await orAborted(opened, signal, `logging in ${userId}`);
    return checkedCredentials(credentials, { userId, deviceId, source: 'the login', code: 'INVALID_RESPONSE' });
  }

  /** Logs a session out; what fails of it is told to the logger. */
  async #close(credentials: Credentials): Promise<void> {
    const { provisioner, logger, signal } = this.#options;
    const { userId, deviceId } = credentials;
    try {
      if (!provisioner) return; // the application has brought the session, and may use it elsewhere
      await orAborted(provisioner.closeSession(credentials, { signal }), signal, `logging out ${userId}`);
    } catch (error) {
      logger.warn({ userId, deviceId, err: error }, 'logging out failed; the session lives on');
    }
  }

  /** Keeps credentials before they are used; with `isApplications` the application has them already. */
  async #keep(credentials: Credentials, isApplications = false): Promise<void> {
    await this.#options.storage.setCredentials(credentials);
    if (!isApplications) await this.#options.application?.set(credentials);
  }

  async #known(userId: string): Promise<Credentials | undefined> {
    assertUserId(userId);
    const stored = await this.#options.storage.getCredentials(userId);
    return stored ?? this.#fromApplication(userId);
  }

  async #fromApplication(userId: string): Promise<Credentials | undefined> {
    return this.#options.application?.get(userId);
  }

  /** Whether the homeserver still takes the session for what it is. */
  async #isAlive(credentials: Credentials): Promise<boolean> {
    const { userId, deviceId } = credentials;
    try {
      const owner = await this.#whoami(credentials, this.#options.signal);
      return owner.userId === userId && (owner.deviceId ?? deviceId) === deviceId;
    } catch (error) {
      if (isManagerError(error, 'UNKNOWN_TOKEN')) return false;
      throw error;
    }
  }

  #whoami(
    credentials: Credentials,
    signal: AbortSignal | undefined,
  ): Promise<{ userId: string; deviceId: string | undefined }> {
    return whoami(this.#options.http, new Session(credentials.userId, credentials), signal);
  }

  /** The manager's own admin, if that is the user. */
  #ownAdmin(userId: string): OwnAdmin | undefined {
    const { admin } = this.#options;
    return admin?.userId === userId ? admin : undefined;
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
  if (isManagerError(error, 'UNKNOWN_TOKEN', 'USER_DEACTIVATED')) return error;
  if (isManagerError(error) && failureClass(error) !== 'permanent') return error;
  const why = isError(error) ? error.message : 'unknown reason';
  const message = `the access token of ${userId} is dead and its renewal was refused: ${why}`;
  return new MatrixClientManagerError('UNKNOWN_TOKEN', message, { userId, cause: error });
}

function deactivatedError(userId: string, cause?: unknown): MatrixClientManagerError {
  const message = `the account of ${userId} is deactivated; manager.admin.reactivateUser() brings it back`;
  return new MatrixClientManagerError('USER_DEACTIVATED', message, { userId, cause });
}
