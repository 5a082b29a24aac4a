import PQueue from 'p-queue';
import * as v from 'valibot';
import { throwIfAborted } from '../core/abort.js';
import type { Context } from '../core/context.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { ErrorCode } from '../core/errors.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import type { HomeserverHttp, HttpRequest } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import type { OwnAdmin } from './own-admin.js';

const deactivatedSchema = v.object({ deactivated: v.union([v.boolean(), v.number()]) });

/**
 * Sends Admin API requests with the admin's token. `request()` sends at once; `runLimited()` runs at most
 * `adminConcurrency` tasks at a time. Wrap each request, or a sequence of requests, in it.
 */
export class SynapseAdminHttp {
  readonly http: HomeserverHttp;
  readonly clock: Context['clock'];
  /** The account whose session makes the calls. */
  readonly account: OwnAdmin;
  readonly #queue: PQueue;

  /** @param adminConcurrency - how many tasks of `runLimited()` may run at once */
  constructor({ http, clock }: Pick<HomeserverContext, 'http' | 'clock'>, own: OwnAdmin, adminConcurrency: number) {
    this.http = http;
    this.clock = clock;
    this.account = own;
    this.#queue = new PQueue({ concurrency: adminConcurrency });
  }

  /** Number of running and of queued tasks. */
  get counts(): { readonly running: number; readonly waiting: number } {
    return { running: this.#queue.pending, waiting: this.#queue.size };
  }

  /**
   * Runs `task` when fewer than `adminConcurrency` tasks run. When `signal` is aborted, rejects at once with `ABORTED`.
   */
  async runLimited<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await this.#queue.add(task, { ...(signal && { signal }) });
    } catch (error) {
      throwIfAborted(signal, 'an admin call');
      throw error;
    }
  }

  /** Whether the account is deactivated. Makes one request without retries; resolves to false if it fails. */
  async isDeactivated(userId: string): Promise<boolean> {
    const at = path`/_synapse/admin/v2/users/${userId}`;
    const request = { operation: 'reading', userId, method: 'GET', path: at, retry: { attempts: 1 } } as const;
    try {
      return Boolean((await this.runLimited(() => this.request(deactivatedSchema, request))).body.deactivated);
    } catch {
      return false;
    }
  }

  /** Sends at once. The caller limits the concurrency with {@link runLimited}. */
  async request<Schema extends v.GenericSchema>(
    schema: Schema,
    request: Omit<HttpRequest, 'session'>,
  ): Promise<{ status: number; body: v.InferOutput<Schema> }> {
    try {
      return await this.http.requestWithStatus(schema, { ...request, session: this.account.session, admin: true });
    } catch (error) {
      throw withRemedy(error, request);
    }
  }
}

/** Adds a remedy to errors that an operator can correct. */
function withRemedy(error: unknown, request: Omit<HttpRequest, 'session'>): unknown {
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
      error.code === 'UNSUPPORTED'
        ? ''
        : ' (or the proxy in front of it does not forward that path, see `homeserverUrl`)';
    return [
      error.code, // INVALID_RESPONSE from a proxy stays retryable
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
      `${operation} failed: the admin's access token is not valid; ` +
        'pass `admin: { userId, password }`, so that the manager can log in again',
    ];
  }
  return undefined;
}
