import { randomBytes } from 'node:crypto';
import * as v from 'valibot';
import { delay } from '../core/abort.js';
import { checkOptions, clock as clockSchema, functionOf, optionsOf, wholeNumber } from '../core/validation.js';
import { systemClock } from '../core/clock.js';
import type { Clock } from '../core/clock.js';
import { containedClock } from '../core/contain.js';
import { silentLogger } from '../core/logger.js';
import type { Credentials } from '../core/credentials.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { fetchTransport, globalFetch } from '../http/fetch-transport.js';
import { openGate } from '../core/ports/request-gate.js';
import type { Fetch } from '../core/ports/transport.js';
import { Diagnostics } from '../core/diagnostics.js';
import { HomeserverHttp, homeserverUrlSchema, MAX_RESPONSE_BYTES } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import { loginWithPassword } from '../http/login.js';
import { backoffMs } from '../http/retry.js';
import { Session } from '../http/session.js';
import type {
  EnsuredUser,
  EnsureUserRequest,
  OpenSessionRequest,
  Provisioner,
  ProvisionerCapabilities,
} from './provisioner.js';
import { adminSchema, OwnAdmin } from './own-admin.js';
import type { AdminAccount } from './own-admin.js';
import { SynapseAdminHttp } from './synapse-admin-http.js';

const userSchema = v.object({ name: v.string(), deactivated: v.nullish(v.union([v.boolean(), v.number()])) });

export interface SynapseAdminProvisionerOptions {
  /** Base URL of the homeserver's client-server API, such as `https://matrix.example.org`. */
  readonly homeserverUrl: string;
  readonly admin: AdminAccount;
  /** How many Admin API calls may run at once. @default 4 */
  readonly adminConcurrency?: number;
  /** Time-out of one request, in milliseconds. @default 30_000 */
  readonly requestTimeoutMs?: number;
  /** @default the global fetch */
  readonly fetch?: Fetch;
  /** @default systemClock */
  readonly clock?: Clock;
}

const optionsSchema = optionsOf<Required<SynapseAdminProvisionerOptions>>({
  homeserverUrl: homeserverUrlSchema,
  admin: adminSchema,
  adminConcurrency: v.nullish(wholeNumber(1), 4),
  requestTimeoutMs: v.nullish(wholeNumber(1), 30_000),
  fetch: v.optional(functionOf<Fetch>(), () => globalFetch),
  clock: v.nullish(clockSchema, systemClock),
});

/** How many times an operation is repeated after a race with another process that provisions the same user. */
const MAX_RACES = 12;
const RACE_BACKOFF = { baseDelayMs: 20, maxDelayMs: 1_000 };

/**
 * Provisions through Synapse's Admin API: `PUT /_synapse/admin/v2/users/{userId}` with a random password, then the
 * standard login with this password, which is not kept. The account of the option `admin` is not provisioned: it keeps
 * its password, and its session is that of the option.
 * @see https://element-hq.github.io/synapse/latest/admin_api/user_admin_api.html#create-or-modify-account
 */
export class SynapseAdminProvisioner implements Provisioner {
  readonly capabilities: ProvisionerCapabilities = { renewsSessions: true, deactivatesUsers: true };
  readonly #admin: SynapseAdminHttp;

  /**
   * Throws `INVALID_OPTIONS` or, for the admin, `INVALID_USER_ID`.
   * @param options - a manager that makes its own provisioner passes the connection of the admin that it already has
   */
  constructor(options: SynapseAdminProvisionerOptions | SynapseAdminHttp) {
    this.#admin = options instanceof SynapseAdminHttp ? options : connectionOf(options);
  }

  async ensureUser(request: EnsureUserRequest): Promise<EnsuredUser> {
    const { account } = this.#admin;
    if (request.userId !== account.userId) return this.#admin.runLimited(() => this.#putUser(request), request.signal);
    if (request.displayName !== undefined) await account.setDisplayName(request.displayName);
    return { created: false };
  }

  async openSession(request: OpenSessionRequest): Promise<Credentials> {
    const { account } = this.#admin;
    if (request.userId === account.userId) return account.credentials(request.deviceId, request.signal);
    // Both requests run as one call of the pool, so that fewer accounts are between the two requests at a time.
    return this.#admin.runLimited(() => this.#openSession(request), request.signal);
  }

  async closeSession(credentials: Credentials, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (credentials.userId === this.#admin.account.userId) return; // the session of the option `admin` stays valid
    const session = new Session(credentials.userId, credentials);
    await this.#admin.http
      .request(v.object({}), {
        operation: `logging out ${credentials.userId}`,
        userId: credentials.userId,
        method: 'POST',
        path: '/_matrix/client/v3/logout',
        body: {},
        session,
        repeatable: true,
        signal: options.signal,
      })
      .catch((error: unknown) => {
        if (!isManagerError(error, 'UNKNOWN_TOKEN')) throw error;
      });
  }

  async deactivateUser(userId: string, options: { erase?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    this.#admin.account.assertNotAdmin(userId, 'deactivate');
    const { erase = false, signal } = options;
    const deactivate = (): Promise<unknown> =>
      this.#admin.request(v.object({}), {
        operation: `deactivating ${userId}`,
        userId,
        method: 'POST',
        path: path`/_synapse/admin/v1/deactivate/${userId}`,
        body: { erase },
        repeatable: true,
        signal,
      });
    await this.#admin.runLimited(deactivate, signal);
  }

  async #putUser(request: EnsureUserRequest): Promise<EnsuredUser> {
    const { userId, signal } = request;
    const operation = `provisioning ${userId}`;
    const password = randomBytes(32).toString('base64url');
    const body = {
      password,
      logout_devices: false,
      ...(request.displayName !== undefined && { displayname: request.displayName }),
      ...(request.admin === true && { admin: true }),
    };
    const put = {
      operation,
      userId,
      method: 'PUT',
      path: path`/_synapse/admin/v2/users/${userId}`,
      body,
      signal,
    } as const;
    for (let races = 1; ; races++) {
      try {
        const { status, body: user } = await this.#admin.request(userSchema, put);
        if (!user.deactivated) return { created: status === 201, password };
      } catch (error) {
        // Another process was making the same user. The next PUT finds the account.
        await this.#waitAfterRace(error, isManagerError(error, 'USER_EXISTS'), races, operation, signal);
        continue;
      }
      const message = `${operation} failed: the account is deactivated; manager.admin.reactivateUser() reactivates it`;
      throw new MatrixClientManagerError('USER_DEACTIVATED', message, { userId });
    }
  }

  async #openSession(request: OpenSessionRequest): Promise<Credentials> {
    const { userId, deviceId, deviceName = 'matrix-client-manager', signal } = request;
    const operation = `logging in ${userId}`;
    let given = request.user?.password;
    for (let races = 1; ; races++) {
      const password = given ?? (await this.#putUser({ userId, signal })).password ?? '';
      given = undefined;
      try {
        return await loginWithPassword(this.#admin.http, { userId, password, deviceId, deviceName, signal });
      } catch (error) {
        // Another process may have set a password between the PUT and the login. The password is set again.
        const isRace = isManagerError(error, 'FORBIDDEN') && error.errcode === 'M_FORBIDDEN';
        await this.#waitAfterRace(error, isRace, races, operation, signal);
      }
    }
  }

  /** Waits before the next attempt if another process, which provisions the same user, may have caused the error. */
  async #waitAfterRace(
    error: unknown,
    isRace: boolean,
    races: number,
    operation: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (!isRace || races > MAX_RACES) throw error;
    await delay(this.#admin.clock, backoffMs(races, RACE_BACKOFF), signal, operation);
  }
}

/** A connection of the provisioner's own. */
function connectionOf(options: SynapseAdminProvisionerOptions): SynapseAdminHttp {
  const checked = checkOptions('SynapseAdminProvisioner', optionsSchema, options);
  const { homeserverUrl, admin, adminConcurrency, requestTimeoutMs, fetch } = checked;
  const clock = containedClock(checked.clock, silentLogger);
  const connections = fetchTransport(fetch).open();
  const limits = { requestTimeoutMs, maxResponseBytes: MAX_RESPONSE_BYTES };
  const context = { clock, diagnostics: new Diagnostics(clock), limits };
  const http = new HomeserverHttp(context, { homeserverUrl, connections, gate: openGate });
  return new SynapseAdminHttp({ clock, http }, new OwnAdmin(http, admin), adminConcurrency);
}
