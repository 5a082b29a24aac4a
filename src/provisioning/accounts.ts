import { randomInt } from 'node:crypto';
import { orAborted, throwIfAborted } from '../core/abort.js';
import { assertUserId, newUserId, normalizeUsername } from '../core/ids.js';
import type { Credentials } from '../core/credentials.js';
import { invalidOptions, isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { runAllSteps } from '../core/run-all-steps.js';
import { isError } from '../core/is-error.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import { SingleFlight } from '../core/single-flight.js';
import { failureClass } from '../http/failure-class.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import { refreshSession, whoami } from '../http/login.js';
import { Session } from '../http/session.js';
import type { Storage } from '../storage/storage.js';
import type { ApplicationCredentials } from './application-credentials.js';
import { checkedCredentials } from './checked-credentials.js';
import { onlyOnce, withPassword } from './interactive-authentication.js';
import type { AuthenticatedRequest } from './interactive-authentication.js';
import type { OpenSessionOptions } from './open-session-options.js';
import type { OwnAdmin } from './own-admin.js';
import type { ProvisionedUser, ProvisionUserOptions } from './provision-user-options.js';
import type { OpenSessionRequest, Provisioner } from './provisioner.js';

export interface AccountsOptions {
  readonly storage: Storage;
  readonly provisioner: Provisioner | undefined;
  /** The application's own store of credentials. */
  readonly application: ApplicationCredentials | undefined;
  /** The account of the option `admin`. It is never provisioned, and its credentials are not stored. */
  readonly admin: OwnAdmin | undefined;
  readonly serverName: string;
  /** Display name of new devices, unless the call has one. @default the provisioner's choice */
  readonly deviceName?: string | undefined;
  /** Asks the homeserver whether an account is deactivated; false if unknown. */
  readonly isDeactivated?: ((userId: string) => Promise<boolean>) | undefined;
  /** Called with renewed credentials, or those of a new device, before they are used. */
  readonly onChanged?: ((credentials: Credentials) => void) | undefined;
  /** Aborted when the manager shuts down. */
  readonly signal: AbortSignal;
}

/**
 * Owns the users' credentials: makes, finds, checks, renews and deletes them.
 *
 * This file is long because every change of a user's credentials runs in one queue per user. Kept in one file, it is
 * visible which operations may wait for each other.
 */
export class Accounts {
  readonly #context: Pick<HomeserverContext, 'http' | 'logger'>;
  readonly #options: AccountsOptions;
  readonly #provisionFlights = new SingleFlight<ProvisionedUser>();
  readonly #renewalFlights = new SingleFlight<Credentials>();
  /**
   * One operation per user at a time: of two concurrent ones, each would replace the password before the other's login.
   * An operation must not use a self-renewing session of the user: the renewal would wait in the same queue.
   */
  readonly #userQueue = new KeyedQueue();
  /** Logouts running in the background. */
  readonly #pendingLogouts = new Set<Promise<void>>();

  constructor(context: Pick<HomeserverContext, 'http' | 'logger'>, options: AccountsOptions) {
    this.#context = context;
    this.#options = options;
  }

  /**
   * Makes the user's account and a session, if they do not exist. Concurrent calls with equal options share one run;
   * calls with different options run one after the other.
   */
  async provision(options: ProvisionUserOptions): Promise<ProvisionedUser> {
    const { username, displayName, admin = false, deviceId, deviceName, signal } = options;
    const { normalizeUsername: normalize = false } = options;
    const userId = newUserId(normalize ? normalizeUsername(username) : username, this.#options.serverName);
    const operation = `provisioning ${userId}`;
    throwIfAborted(signal, operation);
    this.#options.application?.assertNotInsideGet(userId);
    const flight = this.#provisionFlights.run(JSON.stringify([userId, deviceId, displayName, admin, deviceName]), () =>
      this.#userQueue.run(userId, () => this.#provision(userId, options)),
    );
    // The signal ends this caller's wait only, because other callers may share the run.
    return orAborted(flight, signal, operation);
  }

  async #provision(userId: string, options: ProvisionUserOptions): Promise<ProvisionedUser> {
    const { provisioner, signal } = this.#options;
    const { displayName, admin, deviceName } = options;
    const adminAccount = this.#ownAdmin(userId);
    if (adminAccount) {
      const credentials = await adminAccount.credentials(options.deviceId);
      if (displayName !== undefined) await adminAccount.setDisplayName(displayName);
      return { ...credentials, created: false };
    }
    if (!provisioner) {
      const message = "provisionUser needs an `admin` account or a `provisioner` in the manager's options";
      throw invalidOptions(message);
    }
    const known = await this.#findCredentials(userId);
    if (known && (options.deviceId === undefined || options.deviceId === known.deviceId)) {
      if (await this.#isValid(known)) return { ...known, created: false };
    }
    const ensured = provisioner.ensureUser({ userId, displayName, admin, signal });
    const user = await orAborted(ensured, signal, `provisioning ${userId}`);
    const deviceId = options.deviceId ?? known?.deviceId;
    const credentials = await this.#login(provisioner, { userId, deviceId, user, deviceName });
    await this.#store(credentials);
    return { ...credentials, created: user.created };
  }

  /**
   * The credentials to start a client with: the passed ones, after a check that they are the user's, else the stored
   * ones. The account of the option `admin` always uses its own session. Rejects with `CLIENT_NOT_STARTED` without
   * credentials, or with `USER_DEACTIVATED` if the account is deactivated.
   */
  async credentialsFor(
    userId: string,
    passed: { accessToken?: string | undefined; deviceId?: string | undefined } = {},
    signal?: AbortSignal,
  ): Promise<Credentials> {
    const adminAccount = this.#ownAdmin(userId);
    if (adminAccount) return adminAccount.credentials(passed.deviceId, signal);
    const known = await this.#findCredentials(userId);
    const { accessToken } = passed;
    if (accessToken === undefined) {
      if (known) return known;
      if (await this.#options.isDeactivated?.(userId)) throw deactivatedError(userId);
      throw new MatrixClientManagerError(
        'CLIENT_NOT_STARTED',
        `there are no credentials for ${userId}: first call provisionUser(), or startClient() with an accessToken`,
        { userId },
      );
    }
    if (known?.accessToken === accessToken && (passed.deviceId ?? known.deviceId) === known.deviceId) return known;
    const owner = await this.#whoami({ userId, accessToken, deviceId: passed.deviceId ?? '' }, signal).catch(
      (error: unknown) => {
        // The passed token was valid before a renewal; the renewed credentials are used.
        if (isManagerError(error, 'UNKNOWN_TOKEN') && known && passed.deviceId === known.deviceId) return undefined;
        throw error;
      },
    );
    if (!owner) return known as Credentials;
    const deviceId = owner.deviceId ?? passed.deviceId;
    if (owner.userId !== userId || deviceId === undefined || (passed.deviceId ?? deviceId) !== deviceId) {
      const actualOwner = owner.userId === userId ? `device ${deviceId ?? '(none)'}` : owner.userId;
      throw invalidOptions(
        `expected \`accessToken\` to be one of ${userId}${passed.deviceId ? ` on device ${passed.deviceId}` : ' on a device'}, ` +
          `but it belongs to ${actualOwner}`,
        { userId },
      );
    }
    const credentials = { userId, accessToken, deviceId };
    await this.#store(credentials);
    return credentials;
  }

  /**
   * Logs the user in on a new device, and stores its credentials as the user's. Rejects with `UNSUPPORTED` if no
   * provisioner can log the user in.
   * @param logOut - whether to log the old device out in the background
   */
  async replaceDevice(old: Credentials, logOut: boolean): Promise<Credentials> {
    const { userId, deviceId } = old;
    return this.#userQueue.run(userId, async () => {
      const { storage, provisioner } = this.#options;
      const stored = await storage.getCredentials(userId);
      if (stored && stored.deviceId !== deviceId) return stored; // the device has already been replaced
      if (!provisioner?.capabilities.renewsSessions || this.#ownAdmin(userId)) {
        const message =
          `${userId} needs a new device in place of ${deviceId}, and the manager cannot log in: ` +
          'log the user in on a new device, and call startClient() with its accessToken';
        throw new MatrixClientManagerError('UNSUPPORTED', message, { userId });
      }
      const credentials = await this.#login(provisioner, { userId });
      await this.#store(credentials);
      this.#options.onChanged?.(credentials);
      if (logOut) this.#inBackground(this.#logOut(old, this.#options.signal));
      return credentials;
    });
  }

  /**
   * Logs the user in on a new device, for the application alone: the session is neither stored nor renewed. If `signal`
   * fires, the session is logged out as soon as it is there. Rejects with `CLIENT_NOT_STARTED` for a user without
   * credentials, and with `UNSUPPORTED` if no provisioner can log the user in.
   */
  async openSession({ userId, deviceName, signal }: OpenSessionOptions): Promise<Credentials> {
    const operation = `opening a session of ${userId}`;
    throwIfAborted(signal, operation);
    const opened = this.#userQueue.run(userId, async () => {
      throwIfAborted(signal, operation);
      const provisioner = this.#provisionerFor(userId, 'open a session of');
      await this.credentialsFor(userId, {}, signal); // rejects for a user without an account
      throwIfAborted(signal, operation);
      // With a device id of our choice, a login whose response was lost is repeated on the same device.
      const request = { userId, deviceId: newDeviceId(), deviceName: deviceName ?? this.#options.deviceName };
      const credentials = await provisioner.openSession({ ...request, signal: this.#options.signal });
      return checkedCredentials(credentials, { ...request, source: 'the login', code: 'INVALID_RESPONSE' });
    });
    const logOutIfAborted = async (): Promise<void> => {
      const credentials = await opened.catch(() => undefined);
      // Also at a shutdown, which waits for it.
      if (credentials && signal?.aborted) await this.#logOut(credentials, undefined);
    };
    this.#inBackground(logOutIfAborted());
    return orAborted(opened, signal, operation);
  }

  /**
   * Logs a session of {@link openSession} out and removes its device; resolves also if it has already ended. Rejects with
   * `INVALID_OPTIONS` for the device that the manager uses.
   */
  async closeSession(credentials: Credentials, signal: AbortSignal): Promise<void> {
    const { userId, deviceId } = credentials;
    const provisioner = this.#provisionerFor(userId, 'close a session of');
    const managed = await this.#findCredentials(userId);
    if (managed?.deviceId === deviceId || managed?.accessToken === credentials.accessToken) {
      throw invalidOptions(
        `expected a session of openSession(), got that of the device ${deviceId}, which the manager uses: see forgetUser()`,
        { userId },
      );
    }
    const closing = provisioner.closeSession(credentials, { signal });
    await orAborted(closing, signal, `closing a session of ${userId}`);
  }

  /**
   * Deletes the user's credentials, also in the application's store. Before that, with `logOut` and a provisioner, logs
   * the session out; a failed logout is logged, and the credentials are deleted nevertheless. Calls that still use the
   * session can no longer renew it.
   */
  async deleteCredentials(userId: string, logOut: boolean): Promise<void> {
    const { storage, application } = this.#options;
    const isOwnAdmin = this.#ownAdmin(userId) !== undefined;
    await this.#userQueue.run(userId, () =>
      runAllSteps(
        [
          async () => {
            if (isOwnAdmin || !logOut) return;
            const known = await this.#findCredentials(userId).catch(() => undefined); // invalid stored credentials do not prevent the deletion
            if (known) await this.#logOut(known, this.#options.signal);
          },
          () => storage.deleteCredentials(userId),
          () => application?.delete(userId),
        ],
        `forgetting ${userId}`,
      ),
    );
  }

  /** Deletes all stored data of a forgotten user, except credentials that were stored after `deleteCredentials`. */
  async deleteStoredData(userId: string): Promise<void> {
    const { storage } = this.#options;
    await this.#userQueue.run(userId, async () => {
      const newer = await storage.getCredentials(userId);
      await storage.deleteUser(userId);
      if (newer) await storage.setCredentials(newer);
    });
  }

  /**
   * Makes a request that may need user-interactive authentication; see {@link withPassword}. Only the setting of a
   * temporary password runs in the user's queue, because the request itself may renew the session in that queue.
   */
  async authenticate(userId: string, makeRequest: AuthenticatedRequest): Promise<void> {
    const { provisioner, signal } = this.#options;
    const adminAccount = this.#ownAdmin(userId);
    if (adminAccount) return withPassword(makeRequest, userId, onlyOnce(adminAccount.password));
    return withPassword(makeRequest, userId, async () => {
      if (!provisioner) return undefined;
      const ensured = this.#userQueue.run(userId, () => provisioner.ensureUser({ userId, signal }));
      return (await orAborted(ensured, signal, `authenticating ${userId}`)).password;
    });
  }

  /** The user's session. Rejects with `CLIENT_NOT_STARTED` if there are no credentials. */
  async sessionOf(userId: string, signal?: AbortSignal): Promise<Session> {
    return this.#ownAdmin(userId)?.session ?? this.session(await this.credentialsFor(userId, {}, signal));
  }

  /** A session with `credentials` that renews itself and stores the renewed credentials. */
  session(credentials: Credentials): Session {
    const adminAccount = this.#ownAdmin(credentials.userId);
    if (adminAccount) return adminAccount.session;
    return new Session(credentials.userId, credentials, (invalid) => this.#renew(invalid ?? credentials));
  }

  /** Resolves when all running operations have ended. No new one may be started meanwhile. */
  async settled(): Promise<void> {
    await this.#provisionFlights.whenIdle();
    await this.#renewalFlights.whenIdle();
    await Promise.all(this.#pendingLogouts);
  }

  #renew(invalid: Credentials): Promise<Credentials> {
    const { userId, deviceId } = invalid;
    return this.#renewalFlights.run(JSON.stringify([userId, deviceId]), () =>
      this.#userQueue.run(userId, async () => {
        const { storage, isDeactivated, onChanged } = this.#options;
        const stored = await storage.getCredentials(userId);
        const { renewed, isKnownToApplication } = await this.#findReplacement(invalid, stored).catch(
          async (error: unknown) => {
            const failure = renewalError(invalid, error);
            const isFinal = failure.code === 'UNKNOWN_TOKEN';
            throw isFinal && (await isDeactivated?.(userId)) ? deactivatedError(userId, error) : failure;
          },
        );
        // If the user has a newer device, its credentials stay stored; the renewed ones are used by this session only.
        if (!stored || stored.deviceId === deviceId) await this.#store(renewed, isKnownToApplication);
        if (!isKnownToApplication) onChanged?.(renewed);
        this.#context.logger.info({ userId, deviceId }, 'access token renewed');
        return renewed;
      }),
    );
  }

  /** Tries, in order: stored credentials, the refresh token, the application's credentials, a new login. */
  async #findReplacement(
    invalid: Credentials,
    stored: Credentials | undefined,
  ): Promise<{ renewed: Credentials; isKnownToApplication?: true }> {
    const { http, logger } = this.#context;
    const { application, provisioner, signal } = this.#options;
    const { userId, deviceId } = invalid;
    if (stored && (await this.#isValidReplacement(invalid, stored)))
      return { renewed: stored, isKnownToApplication: true };
    const readApplication = async (): Promise<Credentials | undefined> => {
      try {
        return await application?.get(userId);
      } catch (error) {
        if (!isManagerError(error, 'INVALID_OPTIONS')) throw error;
        logger.warn({ userId, err: error }, "the application's credentials cannot replace an invalid session");
        return undefined;
      }
    };
    let fromApplication = stored ? undefined : await readApplication();
    if (!stored && !fromApplication) {
      const message = `the access token of ${userId} is no longer valid, and there are no stored credentials: call provisionUser()`;
      throw new MatrixClientManagerError('UNKNOWN_TOKEN', message, { userId });
    }
    if (invalid.refreshToken !== undefined) {
      try {
        return { renewed: await refreshSession(http, invalid, signal) };
      } catch (error) {
        if (!isManagerError(error, 'UNKNOWN_TOKEN', 'FORBIDDEN', 'UNSUPPORTED')) throw error;
        logger.debug({ userId, err: error }, 'refresh token refused');
      }
    }
    fromApplication ??= await readApplication();
    if (fromApplication && (await this.#isValidReplacement(invalid, fromApplication))) {
      return { renewed: fromApplication, isKnownToApplication: true };
    }
    if (provisioner?.capabilities.renewsSessions)
      return { renewed: await this.#login(provisioner, { userId, deviceId }) };
    throw new MatrixClientManagerError(
      'UNKNOWN_TOKEN',
      `the access token of ${userId} is no longer valid, and neither \`credentials\` nor a provisioner has another one for device ${deviceId}`,
      { userId },
    );
  }

  /** Whether `found` is a different, valid session on the same device. */
  async #isValidReplacement(invalid: Credentials, found: Credentials): Promise<boolean> {
    return found.deviceId === invalid.deviceId && found.accessToken !== invalid.accessToken && this.#isValid(found);
  }

  async #login(provisioner: Provisioner, request: OpenSessionRequest): Promise<Credentials> {
    const { signal } = this.#options;
    const { userId, deviceId, deviceName = this.#options.deviceName } = request;
    const opened = provisioner.openSession({ ...request, deviceName, signal });
    const credentials = await orAborted(opened, signal, `logging in ${userId}`);
    return checkedCredentials(credentials, { userId, deviceId, source: 'the login', code: 'INVALID_RESPONSE' });
  }

  /** Logs a session out; a failure is logged. */
  async #logOut(credentials: Credentials, signal: AbortSignal | undefined): Promise<void> {
    const { provisioner } = this.#options;
    const { userId, deviceId } = credentials;
    try {
      if (!provisioner) return; // the application supplied the session, and may use it elsewhere
      await orAborted(provisioner.closeSession(credentials, signal ? { signal } : {}), signal, `logging out ${userId}`);
    } catch (error) {
      this.#context.logger.warn({ userId, deviceId, err: error }, 'logging out failed; the session stays valid');
    }
  }

  /** `settled` waits for the logout. */
  #inBackground(logout: Promise<void>): void {
    const pending = logout.finally(() => this.#pendingLogouts.delete(pending));
    this.#pendingLogouts.add(pending);
  }

  /** The provisioner, if it can log this user in on further devices. */
  #provisionerFor(userId: string, what: string): Provisioner {
    const { provisioner } = this.#options;
    if (this.#ownAdmin(userId)) {
      throw invalidOptions(`the manager does not ${what} ${userId}, the account of the option \`admin\``, { userId });
    }
    if (provisioner?.capabilities.renewsSessions) return provisioner;
    const message = `the manager cannot ${what} ${userId}: it has no provisioner that logs users in`;
    throw new MatrixClientManagerError('UNSUPPORTED', message, { userId });
  }

  /** Stores credentials before they are used. With `isKnownToApplication`, the application already has them. */
  async #store(credentials: Credentials, isKnownToApplication = false): Promise<void> {
    await this.#options.storage.setCredentials(credentials);
    if (!isKnownToApplication) await this.#options.application?.set(credentials);
  }

  async #findCredentials(userId: string): Promise<Credentials | undefined> {
    assertUserId(userId);
    const stored = await this.#options.storage.getCredentials(userId);
    return stored ?? this.#options.application?.get(userId);
  }

  /** Whether the homeserver accepts the token, for this user and device. */
  async #isValid(credentials: Credentials): Promise<boolean> {
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
    return whoami(this.#context.http, new Session(credentials.userId, credentials), signal);
  }

  /** The account of the option `admin`, if it is this user. */
  #ownAdmin(userId: string): OwnAdmin | undefined {
    const { admin } = this.#options;
    return admin?.userId === userId ? admin : undefined;
  }
}

/** As Synapse chooses them: ten capital letters. */
function newDeviceId(): string {
  return Array.from({ length: 10 }, () => String.fromCodePoint(65 + randomInt(26))).join('');
}

/** The error of a failed renewal: a temporary failure unchanged, a refusal as `UNKNOWN_TOKEN`. */
function renewalError(invalid: Credentials, error: unknown): MatrixClientManagerError {
  const { userId } = invalid;
  if (isManagerError(error, 'UNKNOWN_TOKEN', 'USER_DEACTIVATED')) return error;
  if (isManagerError(error) && failureClass(error) !== 'permanent') return error;
  const why = isError(error) ? error.message : 'unknown reason';
  const message = `the access token of ${userId} is no longer valid, and its renewal was refused: ${why}`;
  return new MatrixClientManagerError('UNKNOWN_TOKEN', message, { userId, cause: error });
}

function deactivatedError(userId: string, cause?: unknown): MatrixClientManagerError {
  const message = `the account of ${userId} is deactivated; manager.admin.reactivateUser() reactivates it`;
  return new MatrixClientManagerError('USER_DEACTIVATED', message, { userId, cause });
}
