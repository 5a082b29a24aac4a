import * as v from 'valibot';
import { onAbort, orAborted, throwIfAborted, timeoutReason } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { openGate } from '../core/ports/request-gate.js';
import type { Priority, RequestGate } from '../core/ports/request-gate.js';
import { noTelemetry } from '../core/telemetry.js';
import type { RequestWatch, Telemetry } from '../core/telemetry.js';
import { failureClass } from './failure-class.js';
import { wasNeverSent } from './network-failure.js';
import { failureOf } from './request-failure.js';
import { errorFromResponse, invalidResponse } from './response-error.js';
import type { RequestContext } from './response-error.js';
import { defaultRetryPolicy, withRetries } from './retry.js';
import type { RetryPolicy } from './retry.js';
import { secretsOf } from './secrets.js';
import { sendFollowing } from './send-following.js';
import type { Session } from './session.js';
import type { HttpResponse, OpenTransport, ConnectionPool } from '../core/ports/transport.js';

export type Method = 'GET' | 'PUT' | 'POST' | 'DELETE';

export interface HttpRequest extends RequestContext {
  readonly method: Method;
  /** From the origin on, percent-encoded, such as `/_matrix/client/v3/sync`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  /** Whose access token to send; a dead one is renewed once, and the request repeated. */
  readonly session?: Session;
  /** Whether the request may be sent again after a failure in which it may have been carried out. */
  readonly repeatable: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Time for one attempt, body included, in milliseconds. */
  readonly timeoutMs?: number;
  readonly retry?: Partial<RetryPolicy>;
  /** @default 'call' */
  readonly priority?: Priority;
  /** Whether it is an Admin API call: those have a rate limit of their own. @default false */
  readonly admin?: boolean;
  /** With what it shares connections. @default by `admin` and `priority` */
  readonly lane?: ConnectionPool;
  /** Whether to give the request up when the homeserver goes down: nobody is there to end a long poll. @default false */
  readonly endsWithOutage?: boolean;
}

export interface HomeserverHttpOptions {
  readonly homeserverUrl: string;
  readonly connections: OpenTransport;
  readonly clock: Clock;
  /** Time for one attempt, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** How large an answer may be, in bytes. @default 256 MiB */
  readonly maxResponseBytes?: number;
  /** What requests have to pass. @default nothing */
  readonly gate?: RequestGate;
  /** @default none */
  readonly telemetry?: Telemetry;
}

const MAX_RESPONSE_BYTES = 268_435_456;

/**
 * Every request of the library to the homeserver: sent with a deadline, classified once, repeated where that is safe.
 * Rejects with a {@link MatrixClientManagerError} and nothing else.
 */
export class HomeserverHttp {
  readonly homeserverUrl: string;
  readonly connections: OpenTransport;
  readonly #origin: string;
  readonly #basePath: string;
  readonly #options: HomeserverHttpOptions;
  readonly #telemetry: Telemetry;

  constructor(options: HomeserverHttpOptions) {
    this.#options = options;
    this.#telemetry = options.telemetry ?? noTelemetry;
    this.homeserverUrl = options.homeserverUrl.replace(/\/+$/, '');
    this.connections = options.connections;
    const { origin, pathname } = new URL(this.homeserverUrl);
    this.#origin = origin;
    this.#basePath = pathname === '/' ? '' : pathname;
  }

  /** Sends `request` and returns the answer's body, checked against `schema`. */
  async request<Schema extends v.GenericSchema>(schema: Schema, request: HttpRequest): Promise<v.InferOutput<Schema>> {
    return (await this.requestWithStatus(schema, request)).body;
  }

  /** {@link request} for endpoints whose status says more than "done", such as 201 for a new account. */
  async requestWithStatus<Schema extends v.GenericSchema>(
    schema: Schema,
    request: HttpRequest,
  ): Promise<{ status: number; body: v.InferOutput<Schema> }> {
    let attempts = 0;
    const attempt = (): Promise<{ status: number; body: v.InferOutput<Schema> }> => {
      if (attempts++ > 0) this.#telemetry.requestRepeated(request.method, request.path);
      return this.#authorised(schema, request);
    };
    // A rate limit and a refusal to connect say that nothing was done, but a lost answer does not.
    const policy = { ...defaultRetryPolicy, ...request.retry };
    const mayRepeat = request.repeatable ? undefined : isUndone;
    return withRetries(attempt, policy, this.#options.clock, request.signal, request.operation, mayRepeat);
  }

  /** Counts parts of an answer that its reader had to leave out. */
  malformed(parts: number): void {
    if (parts > 0) this.#telemetry.malformed(parts);
  }

  /** Sends once (twice when the token had to be renewed) and returns the answer of a success. */
  async #authorised<Schema extends v.GenericSchema>(
    schema: Schema,
    request: HttpRequest,
  ): Promise<{ status: number; body: v.InferOutput<Schema> }> {
    const { session, signal, operation } = request;
    if (!session) return this.#success(schema, request, undefined);
    throwIfAborted(signal, operation);
    const { accessToken } = session.known ?? (await orAborted(session.credentials(), signal, operation));
    try {
      return await this.#success(schema, request, accessToken);
    } catch (error) {
      if (!isManagerError(error, 'UNKNOWN_TOKEN')) throw error;
      const renewed = await orAborted(session.replace(accessToken, error), signal, operation);
      return this.#success(schema, request, renewed.accessToken);
    }
  }

  async #success<Schema extends v.GenericSchema>(
    schema: Schema,
    request: HttpRequest,
    accessToken: string | undefined,
  ): Promise<{ status: number; body: v.InferOutput<Schema> }> {
    const watch = this.#telemetry.request(request.method, request.path);
    try {
      const answer = await this.#exchange(request, accessToken, watch);
      const { status } = answer;
      if (status < 200 || status >= 300) throw errorFromResponse(answer, request, secretsOf(accessToken, request.body));
      const body = parseBody(schema, answer, request);
      watch.ended('ok', status);
      return { status, body };
    } catch (error) {
      watch.ended(failureClass(error), isManagerError(error) ? error.status : undefined);
      throw error;
    }
  }

  async #exchange(request: HttpRequest, accessToken: string | undefined, watch: RequestWatch): Promise<HttpResponse> {
    const { operation, signal, userId, roomId } = request;
    throwIfAborted(signal, operation);
    const gate = this.#options.gate ?? openGate;
    await gate.enter(request);
    throwIfAborted(signal, operation);
    watch.sent();
    const outcome = { userId, isSync: request.priority === 'sync', sentAt: this.#options.clock.now() };
    const controller = new AbortController();
    const { promise: answered, resolve, reject } = Promise.withResolvers<HttpResponse>();
    // Not left to the transport alone: not every fetch ends with its signal, nor does every body.
    const end = (reason?: unknown): void => {
      reject(reason);
      controller.abort(reason);
    };
    const timeoutMs = request.timeoutMs ?? this.#options.requestTimeoutMs;
    let timedOut = false;
    const timer = this.#options.clock.setTimeout(() => {
      timedOut = true;
      end(timeoutReason());
    }, timeoutMs);
    const ignoreAbort = signal && onAbort(signal, () => end());
    let overtaken = false;
    const ignoreOutage = request.endsWithOutage
      ? gate.onceDown(() => {
          overtaken = true;
          end();
        })
      : undefined;
    try {
      this.#send(request, accessToken, controller.signal).then(resolve, reject);
      const answer = await answered;
      gate.record({ ...outcome, failed: answer.status >= 500 });
      return answer;
    } catch (error) {
      if (overtaken && !signal?.aborted) {
        const message = `${operation} was given up: the homeserver is down`;
        throw new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', message, { userId, roomId });
      }
      if (!signal?.aborted) gate.record({ ...outcome, failed: true });
      throw failureOf(error, {
        operation,
        userId,
        roomId,
        homeserverUrl: this.homeserverUrl,
        signal,
        late: timedOut ? `got no answer within ${timeoutMs} ms` : undefined,
        secrets: secretsOf(accessToken, request.body),
      });
    } finally {
      this.#options.clock.clearTimeout(timer);
      ignoreAbort?.();
      ignoreOutage?.();
    }
  }

  #send(request: HttpRequest, accessToken: string | undefined, signal: AbortSignal): Promise<HttpResponse> {
    const body = request.body === undefined ? undefined : JSON.stringify(request.body);
    return sendFollowing(this.connections, {
      method: request.method,
      origin: this.#origin,
      path: this.#basePath + request.path + search(request.query),
      headers: {
        ...(accessToken !== undefined && { authorization: `Bearer ${accessToken}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      body,
      lane: laneOf(request),
      maxBytes: this.#options.maxResponseBytes ?? MAX_RESPONSE_BYTES,
      signal,
    });
  }
}

function search(query: HttpRequest['query'] = {}): string {
  const params: string[] = [];
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined)
      params.push(`${encodeURIComponent(name)}=${encodeURIComponent(String(value).toWellFormed())}`);
  }
  return params.length === 0 ? '' : `?${params.join('&')}`;
}

function laneOf({ lane, admin, priority }: HttpRequest): ConnectionPool {
  if (lane) return lane;
  if (admin) return 'admin';
  return priority === 'sync' ? 'poll' : 'call';
}

function isUndone(error: unknown): boolean {
  return isManagerError(error, 'RATE_LIMITED') || (isManagerError(error, 'NETWORK') && wasNeverSent(error.cause));
}

function parseBody<Schema extends v.GenericSchema>(
  schema: Schema,
  answer: HttpResponse,
  subject: RequestContext,
): v.InferOutput<Schema> {
  let body: unknown;
  try {
    body = JSON.parse(answer.text);
  } catch {
    throw invalidResponse(subject, answer.text.trimStart().startsWith('<') ? 'HTML' : 'no whole JSON', answer.status);
  }
  // To valibot an array is an object, and one without any of its optional parts.
  if (Array.isArray(body) && schema.type !== 'array' && schema.type !== 'unknown') {
    throw invalidResponse(subject, 'an array', answer.status);
  }
  const parsed = v.safeParse(schema, body, { abortEarly: true });
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  // What came instead is not told: it may be a token or a message.
  const why = issue.kind === 'schema' ? `expected ${issue.expected}` : issue.type;
  throw invalidResponse(subject, `${v.getDotPath(issue) ?? 'the body'}: ${why}`, answer.status);
}
