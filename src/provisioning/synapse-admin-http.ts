import PQueue from 'p-queue';
import * as v from 'valibot';
import { throwIfAborted } from '../core/abort.js';
import { assertKnownOptions } from '../core/call-options.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { ErrorCode } from '../core/errors.js';
import type { HomeserverHttp, HttpRequest } from '../http/homeserver-http.js';
import { assertUserId } from '../core/ids.js';
import { isObject } from '../core/raw-event.js';
import { loginWithPassword } from '../http/login.js';
import { path } from '../http/path.js';
import { Session } from '../http/session.js';
import { OwnAdmin } from './own-admin.js';

/**
 * The account that Admin API calls are made with: a server admin. With a password it is logged in once, on one device,
 * and again when the token is not valid any more.
 */
export type AdminAccount =
  | { readonly userId: string; readonly accessToken: string; readonly password?: string }
  | { readonly userId: string; readonly password: string; readonly accessToken?: string };

/** Throws `INVALID_OPTIONS` for what no account has. Credentials as they come from a login pass as a whole. */
export function assertKnownAdmin(admin: object): void {
  const names = ['userId', 'accessToken', 'password', 'deviceId', 'refreshToken'] as const;
  assertKnownOptions<Partial<Record<(typeof names)[number], unknown>>>('`admin`', admin, names);
}

const deactivatedSchema = v.object({ deactivated: v.union([v.boolean(), v.number()]) });

/** The admin's device at a first login: always the same one, so that logins leave no trail of devices. */
const ADMIN_DEVICE_ID = 'matrix-client-manager';

/**
 * The account of `admin`, with its {@link adminSession}. Throws as that does.
 * @param signal - fires when the manager shuts down
 */
export function ownAdmin(http: HomeserverHttp, admin: AdminAccount, signal?: AbortSignal): OwnAdmin {
  return new OwnAdmin(http, adminSession(http, admin, signal), admin.password, signal);
}

/**
 * The session of an admin: by token, or by password, which logs in once and again whenever the token has died.
 * Throws `INVALID_OPTIONS` and `INVALID_USER_ID`.
 * @param signal - ends a login that is under way
 */
function adminSession(http: HomeserverHttp, admin: AdminAccount, signal?: AbortSignal): Session {
  checkAccount(admin);
  const { userId, accessToken, password } = admin;
  const credentials = accessToken === undefined ? undefined : { userId, accessToken, deviceId: '' };
  if (password === undefined) return new Session(userId, credentials);
  const deviceName = 'matrix-client-manager (admin)';
  return new Session(userId, credentials, async (dead) => {
    // A client that runs with the dead token goes on with the new one, so it has to be of the same device.
    const deviceId = dead?.deviceId || ADMIN_DEVICE_ID;
    try {
      return await loginWithPassword(http, { userId, password, deviceId, deviceName, signal });
    } catch (error) {
      throw isManagerError(error, 'FORBIDDEN') ? wrongPassword(error) : error;
    }
  });
}

function checkAccount(admin: unknown): void {
  const { userId, accessToken, password }: Readonly<Record<string, unknown>> = isObject(admin) ? admin : {};
  const secrets = [accessToken, password].filter((secret) => secret !== undefined);
  if (
    !isObject(admin) ||
    secrets.length === 0 ||
    secrets.some((secret) => typeof secret !== 'string' || secret === '')
  ) {
    const message = 'expected `admin` to be an object with a userId and an accessToken or a password';
    throw new MatrixClientManagerError('INVALID_OPTIONS', message);
  }
  assertKnownAdmin(admin);
  assertUserId(userId);
}

function wrongPassword(error: MatrixClientManagerError): MatrixClientManagerError {
  const { code, errcode, status, userId } = error;
  const message = `${error.message}. The password of \`admin\` is not right, or the account may not log in with one`;
  return new MatrixClientManagerError(code, message, { errcode, status, userId, cause: error });
}

/** Sends Admin API calls with the admin's token, through a pool of their own. */
export class SynapseAdminHttp {
  readonly #http: HomeserverHttp;
  /** The account that calls are made with. */
  readonly own: OwnAdmin;
  readonly #pool: PQueue;

  /** @param adminConcurrency - how many calls may be under way at once */
  constructor(http: HomeserverHttp, own: OwnAdmin, adminConcurrency: number) {
    this.#http = http;
    this.own = own;
    this.#pool = new PQueue({ concurrency: adminConcurrency });
  }

  get http(): HomeserverHttp {
    return this.#http;
  }

  /** The admin's own session. */
  get session(): Session {
    return this.own.session;
  }

  /** Calls under way, and calls that wait for a place. */
  get load(): { readonly running: number; readonly waiting: number } {
    return { running: this.#pool.pending, waiting: this.#pool.size };
  }

  /** Runs `task` in a place of the pool. Rejects with `ABORTED` as soon as `signal` fires, also while it waits for one. */
  async pooled<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await this.#pool.add(task, { ...(signal && { signal }) });
    } catch (error) {
      throwIfAborted(signal, 'an admin call');
      throw error;
    }
  }

  /** Whether the account is known to be deactivated: asked once, and false where that does not tell. */
  async isDeactivated(userId: string): Promise<boolean> {
    const at = path`/_synapse/admin/v2/users/${userId}`;
    const request = { operation: 'reading', userId, method: 'GET', path: at, repeatable: false } as const;
    try {
      return Boolean((await this.pooled(() => this.request(deactivatedSchema, request))).body.deactivated);
    } catch {
      return false;
    }
  }

  async request<Schema extends v.GenericSchema>(
    schema: Schema,
    request: Omit<HttpRequest, 'session'>,
  ): Promise<{ status: number; body: v.InferOutput<Schema> }> {
    try {
      return await this.#http.requestWithStatus(schema, { ...request, session: this.session, admin: true });
    } catch (error) {
      throw explain(error, request);
    }
  }
}

/** Says what an admin needs to know where the homeserver's own words do not. */
function explain(error: unknown, request: Omit<HttpRequest, 'session'>): unknown {
  if (!isManagerError(error)) return error;
  const remedy = remedyFor(error, request);
  if (remedy === undefined) return error;
  const { errcode, status, retryAfterMs, userId, roomId } = error;
  const context = { errcode, status, retryAfterMs, userId, roomId, cause: error };
  const [code, message] = remedy;
  return new MatrixClientManagerError(code, message, context);
}

function remedyFor(
  error: MatrixClientManagerError,
  { operation, path }: Omit<HttpRequest, 'session'>,
): [ErrorCode, string] | undefined {
  const isMissing = error.code === 'UNSUPPORTED' || (error.code === 'INVALID_RESPONSE' && error.status === 404);
  if (isMissing && path.startsWith('/_synapse/')) {
    const proxy =
      error.code === 'UNSUPPORTED' ? '' : ' (or the proxy before it does not pass that path on, see `homeserverUrl`)';
    return [
      error.code, // what a proxy answers may pass
      `${operation} failed: this homeserver has no Synapse Admin API at ${path.split('/').slice(0, 4).join('/')}${proxy}. ` +
        'Synapse serves it, so do Tuwunel and in part Palpo; Synapse behind MAS, Dendrite and Conduit do not. ' +
        'For those, pass a `provisioner` of your own (interface Provisioner), for instance one on an application service',
    ];
  }
  if (error.code === 'FORBIDDEN' && /server admin/i.test(error.message)) {
    return ['FORBIDDEN', `${error.message}. The user of \`admin\` has to be a server admin`];
  }
  if (error.code === 'UNKNOWN_TOKEN') {
    return [
      'UNKNOWN_TOKEN',
      `${operation} failed: the admin's access token is not valid (any more); ` +
        'pass `admin: { userId, password }` and it is renewed when it dies',
    ];
  }
  return undefined;
}
