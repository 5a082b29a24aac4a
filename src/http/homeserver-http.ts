import * as v from 'valibot';
import type { Context, Limits } from '../core/context.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { checkedAs } from '../core/validation.js';
import type { Priority, RequestGate } from '../core/ports/request-gate.js';
import { toRequestError, wasNeverSent } from './request-failure.js';
import { RequestTimeout } from './request-timeout.js';
import { errorFromResponse, invalidResponse } from './response-error.js';
import type { RequestContext } from './response-error.js';
import { defaultRetryPolicy, withRetries } from './retry.js';
import type { RetryPolicy } from './retry.js';
import { secretsOf } from './secrets.js';
import { sendFollowing } from './redirects.js';
import type { Session } from './session.js';
import { withGate } from './with-gate.js';
import { withSession } from './with-session.js';
import type { HttpResponse, OpenTransport, ConnectionPool } from '../core/ports/transport.js';

export type Method = 'GET' | 'PUT' | 'POST' | 'DELETE';

/** The value of a query parameter. A list repeats the parameter. */
export type QueryValue = string | number | boolean | readonly (string | number | boolean)[];

export interface HttpRequest extends RequestContext {
  readonly method: Method;
  /** Percent-encoded path without origin and query, such as `/_matrix/client/v3/sync`. */
  readonly path: string;
  /** Template of the path, the label of metrics for an endpoint that the library does not know. @default none */
  readonly template?: string | undefined;
  readonly query?: Readonly<Record<string, QueryValue | undefined>>;
  readonly body?: unknown;
  /** Session whose access token is sent. If the homeserver rejects the token, it is renewed once and the request resent. */
  readonly session?: Session;
  /**
   * Whether the request may be sent again although the homeserver may already have carried it out.
   * @default unless it is a POST
   */
  readonly repeatable?: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Time for one attempt, body included, in milliseconds. @default the option requestTimeoutMs */
  readonly timeoutMs?: number;
  readonly retry?: Partial<RetryPolicy>;
  /** @default 'call' */
  readonly priority?: Priority;
  /** Whether this is an Admin API call, which has its own rate limit. @default false */
  readonly admin?: boolean;
  /** The connection pool to use. @default derived from `admin` and `priority` */
  readonly lane?: ConnectionPool;
  /** Whether to abort the request when the homeserver goes down. For long polls, which would wait for nothing. @default false */
  readonly abortOnOutage?: boolean;
  /** Called just before each attempt is sent. If it rejects, the request rejects with that error, and nothing is sent. */
  readonly beforeSend?: () => Promise<void>;
}

interface StatusAndBody<Schema extends v.GenericSchema> {
  readonly status: number;
  readonly body: v.InferOutput<Schema>;
}

/** The default of the option `maxResponseBytes`. */
export const MAX_RESPONSE_BYTES = 268_435_456;

/** What of the context the requests need. */
export interface HttpContext extends Pick<Context, 'clock' | 'diagnostics'> {
  readonly limits: Pick<Limits, 'requestTimeoutMs' | 'maxResponseBytes'>;
}

export interface HomeserverHttpOptions {
  readonly homeserverUrl: string;
  readonly connections: OpenTransport;
  /** Admits requests, and records how they end. */
  readonly gate: RequestGate;
}

/**
 * Sends the library's JSON requests to the homeserver: applies the timeout, turns failures into error codes, and retries
 * where that is safe. Every rejection is a {@link MatrixClientManagerError}.
 */
export class HomeserverHttp {
  readonly homeserverUrl: string;
  readonly connections: OpenTransport;
  /** Time for one attempt, in milliseconds, unless the request has another. */
  readonly requestTimeoutMs: number;
  readonly #origin: string;
  readonly #basePath: string;
  readonly #context: HttpContext & { readonly gate: RequestGate };

  constructor(context: HttpContext, { homeserverUrl, connections, gate }: HomeserverHttpOptions) {
    this.#context = { ...context, gate };
    this.homeserverUrl = homeserverUrl.replace(/\/+$/, '');
    this.connections = connections;
    this.requestTimeoutMs = context.limits.requestTimeoutMs;
    const { origin, pathname } = new URL(this.homeserverUrl);
    this.#origin = origin;
    this.#basePath = pathname === '/' ? '' : pathname;
  }

  /** Sends `request` and returns the response body, checked against `schema`. */
  async request<Schema extends v.GenericSchema>(schema: Schema, request: HttpRequest): Promise<v.InferOutput<Schema>> {
    return (await this.requestWithStatus(schema, request)).body;
  }

  /** Like {@link request}, for endpoints whose status carries information, such as 201 for a new account. */
  async requestWithStatus<Schema extends v.GenericSchema>(
    schema: Schema,
    request: HttpRequest,
  ): Promise<StatusAndBody<Schema>> {
    const { session, signal, operation, method, path, template, repeatable = method !== 'POST' } = request;
    const send = (accessToken?: string): Promise<StatusAndBody<Schema>> => this.#sendOnce(schema, request, accessToken);
    const attempt = (): ReturnType<typeof send> => (session ? withSession(session, request, send) : send());
    return withRetries(attempt, { ...defaultRetryPolicy, ...request.retry }, this.#context.clock, signal, operation, {
      // After a rate limit or a refused connection the homeserver has done nothing. After a lost response it may have.
      ...(!repeatable && { mayRepeat: wasNotCarriedOut }),
      onRepeat: () => this.#context.diagnostics.publish('requestRepeated', { method, path, template }),
    });
  }

  /** Counts the malformed parts of a response that its parser skipped. */
  countMalformed(parts: number): void {
    if (parts > 0) this.#context.diagnostics.publish('malformed', { parts });
  }

  #sendOnce<Schema extends v.GenericSchema>(
    schema: Schema,
    request: HttpRequest,
    accessToken: string | undefined,
  ): Promise<StatusAndBody<Schema>> {
    return withGate(this.#context, request, {
      send: () => this.#sendInTime(request, accessToken),
      read: (response) => {
        const { status } = response;
        if (status < 200 || status >= 300)
          throw errorFromResponse(response, request, secretsOf(accessToken, request.body));
        return { status, body: parseBody(schema, response, request) };
      },
    });
  }

  async #sendInTime(request: HttpRequest, accessToken: string | undefined): Promise<HttpResponse> {
    const { operation, signal, userId, roomId, abortOnOutage, timeoutMs = this.requestTimeoutMs } = request;
    const { clock, gate } = this.#context;
    const timeout = new RequestTimeout(clock, timeoutMs);
    timeout.startDeadline();
    let outage: MatrixClientManagerError | undefined;
    const onOutage = (): void => {
      const message = `${operation} was ended because the homeserver is down`;
      outage = new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', message, { userId, roomId });
      timeout.end();
    };
    const ignoreOutage = abortOnOutage ? gate.onceDown(onOutage) : undefined;
    try {
      return await timeout.run(signal, (ending) => this.#send(request, accessToken, ending));
    } catch (error) {
      if (outage && !signal?.aborted) throw outage;
      const timeoutText = timeout.isOver ? `got no response within ${timeoutMs} ms` : undefined;
      const secrets = secretsOf(accessToken, request.body);
      throw toRequestError(error, { ...request, homeserverUrl: this.homeserverUrl, timeoutText, secrets });
    } finally {
      ignoreOutage?.();
    }
  }

  #send(request: HttpRequest, accessToken: string | undefined, signal: AbortSignal): Promise<HttpResponse> {
    const body = request.body === undefined ? undefined : JSON.stringify(request.body);
    return sendFollowing(this.connections, {
      method: request.method,
      origin: this.#origin,
      path: this.#basePath + request.path + queryString(request.query),
      headers: {
        ...(accessToken !== undefined && { authorization: `Bearer ${accessToken}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      body,
      lane: poolFor(request),
      maxBytes: this.#context.limits.maxResponseBytes,
      signal,
    });
  }
}

/** The schema of the option `homeserverUrl`. Removes slashes at its end. The error does not print it: it may contain a password. */
export const homeserverUrlSchema = v.pipe(
  checkedAs<string>('an http or https URL without user, query and fragment', isHomeserverUrl),
  v.transform((url) => new URL(url).href.replace(/\/+$/, '')),
);

function isHomeserverUrl(value: unknown): boolean {
  if (typeof value !== 'string' || !URL.canParse(value)) return false;
  const { protocol, username, password, search, hash } = new URL(value);
  return /^https?:$/.test(protocol) && username + password + search + hash === '';
}

function queryString(query: HttpRequest['query'] = {}): string {
  const params: string[] = [];
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) {
      if (one !== undefined)
        params.push(`${encodeURIComponent(name)}=${encodeURIComponent(String(one).toWellFormed())}`);
    }
  }
  return params.length === 0 ? '' : `?${params.join('&')}`;
}

function poolFor({ lane, admin, priority }: HttpRequest): ConnectionPool {
  if (lane) return lane;
  if (admin) return 'admin';
  return priority === 'sync' ? 'poll' : 'call';
}

function wasNotCarriedOut(error: unknown): boolean {
  return isManagerError(error, 'RATE_LIMITED') || (isManagerError(error, 'NETWORK') && wasNeverSent(error.cause));
}

function parseBody<Schema extends v.GenericSchema>(
  schema: Schema,
  response: HttpResponse,
  context: RequestContext,
): v.InferOutput<Schema> {
  let body: unknown;
  try {
    body = JSON.parse(response.text);
  } catch {
    throw invalidResponse(
      context,
      response.text.trimStart().startsWith('<') ? 'HTML' : 'incomplete JSON',
      response.status,
    );
  }
  // valibot accepts an array where it expects an object whose entries are all optional.
  if (Array.isArray(body) && schema.type !== 'array' && schema.type !== 'unknown') {
    throw invalidResponse(context, 'an array', response.status);
  }
  const parsed = v.safeParse(schema, body, { abortEarly: true });
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  // The received value is left out of the error: it may be a token or a message.
  const why = issue.kind === 'schema' ? `expected ${issue.expected}` : issue.type;
  throw invalidResponse(context, `${v.getDotPath(issue) ?? 'the body'}: ${why}`, response.status);
}
