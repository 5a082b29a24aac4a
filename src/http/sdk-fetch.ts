import type { Clock } from '../core/clock.js';
import type { Credentials } from '../core/credentials.js';
import { isManagerError } from '../core/errors.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import { openGate } from '../core/ports/request-gate.js';
import type { RequestGate } from '../core/ports/request-gate.js';
import { noTelemetry } from '../core/telemetry.js';
import type { RequestWatch, Telemetry } from '../core/telemetry.js';
import { failureClass } from './failure-class.js';
import { sameOriginFetch } from './fetch.js';
import { toRequestError } from './request-failure.js';
import { errorFromResponse, invalidResponse, isJsonLike, isMatrixError } from './response-error.js';
import { defaultRetryPolicy, withRetries } from './retry.js';
import { readResponse } from './read-text.js';
import { secretsOf } from './secrets.js';
import { sendFollowing } from './send-following.js';
import type { Session } from './session.js';
import { withSession } from './with-session.js';
import { RequestTimeout } from './request-timeout.js';
import type { HttpResponse, OpenTransport, Fetch } from '../core/ports/transport.js';

export interface SdkFetchOptions {
  readonly connections: OpenTransport;
  readonly clock: Clock;
  /** Provides the token of every authorised request. The token that the SDK sets is replaced. */
  readonly session: Session;
  /** Aborts every request when the client is stopped. */
  readonly signal: AbortSignal;
  /** Admits requests, and records how they end. @default admits every request */
  readonly gate?: RequestGate;
  /**
   * Time for one attempt including a JSON body, in milliseconds. An upload ends when no data was transferred for this
   * long. @default 30_000
   */
  readonly requestTimeoutMs?: number;
  /** Maximum size of a JSON response, in bytes. @default 256 MiB */
  readonly maxResponseBytes?: number;
  /** @default none */
  readonly telemetry?: Telemetry;
}

const OPERATION = 'a request of the client';

/**
 * The fetch function of a user's matrix-js-sdk client. Sends the session's current token, renews a rejected one without
 * the SDK noticing, follows no redirect to another origin, and retries failed GETs. The SDK sends each request once.
 */
export function sdkFetch(options: SdkFetchOptions): Fetch {
  const { connections, session, clock, signal: stopSignal, gate = openGate, telemetry = noTelemetry } = options;
  const { requestTimeoutMs = 30_000, maxResponseBytes = 268_435_456 } = options;
  const fetch = sameOriginFetch(connections.fetch);
  const context = { operation: OPERATION, userId: session.userId };

  const sendAdmitted = async (input: string | URL | Request, init: RequestInit, token?: string): Promise<Outcome> => {
    const signal = init.signal as AbortSignal;
    const headers = new Headers(init.headers);
    if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
    const watch = telemetry.request(init.method ?? 'GET', urlOf(input).pathname);
    try {
      await gate.enter({ ...context, signal });
      watch.sent();
      return await sendWithTimeout(input, { ...init, headers }, token, watch);
    } catch (error) {
      watch.ended(signal.aborted ? 'aborted' : failureClass(error));
      throw error;
    }
  };

  const sendWithTimeout = async (
    input: string | URL | Request,
    init: RequestInit,
    token: string | undefined,
    watch: RequestWatch,
  ): Promise<Outcome> => {
    const signal = init.signal as AbortSignal;
    const outcome = { userId: session.userId, isSync: false, sentAt: clock.now() };
    const timeout = new RequestTimeout(clock, requestTimeoutMs);
    const secrets = secretsOf(token, undefined);
    try {
      const result = await timeout.run(signal, () => transmit(input, init, secrets, timeout));
      gate.record({ ...outcome, failed: result.response.status >= 500 });
      watch.ended(result.error ? failureClass(result.error) : 'ok', result.response.status);
      return result;
    } catch (error) {
      if (!signal.aborted) gate.record({ ...outcome, failed: true });
      throw toRequestError(error, {
        ...context,
        homeserverUrl: urlOf(input).origin,
        signal,
        timeoutText: timeout.isOver ? `got no response within ${requestTimeoutMs} ms` : undefined,
        secrets,
      });
    }
  };

  const transmit = async (
    input: string | URL | Request,
    init: RequestInit,
    secrets: readonly string[],
    timeout: RequestTimeout,
  ): Promise<Outcome> => {
    const { method = 'GET', body } = init;
    const headers = new Headers(init.headers);
    if (isTextBody(body)) timeout.startDeadline();
    // JSON responses are read completely. Downloads and uploads are streamed.
    if (input instanceof Request || !isTextBody(body) || !headers.get('accept')?.includes('json')) {
      const signal = AbortSignal.any([init.signal as AbortSignal, timeout.signal]);
      const sent = { ...init, signal };
      const response = await fetch(input, isBinaryBody(body) ? uploadInit(sent, body, timeout) : sent);
      timeout.startDeadline();
      const isStreamed = response.ok && !response.headers.get('content-type')?.includes('json');
      if (isStreamed || STATUSES_WITHOUT_BODY.has(response.status)) return { response };
      const httpResponse = await readResponse(response, maxResponseBytes);
      return response.ok ? { response: toFetchResponse(httpResponse) } : errorOutcome(httpResponse, secrets);
    }
    const { origin, pathname, search } = new URL(input);
    const response = await sendFollowing(connections, {
      method,
      origin,
      path: pathname + search,
      headers: Object.fromEntries(headers),
      body: body ?? undefined,
      lane: 'call',
      maxBytes: maxResponseBytes,
      signal: timeout.signal,
    });
    if (response.status < 200 || response.status >= 300) return errorOutcome(response, secrets);
    if (STATUSES_WITHOUT_BODY.has(response.status) || isJsonLike(response.text))
      return { response: toFetchResponse(response) };
    return { response: toFetchResponse(response), error: invalidResponse(context, 'no JSON', response.status) };
  };

  const errorOutcome = (response: HttpResponse, secrets: readonly string[]): Outcome => {
    const error = errorFromResponse(response, context, secrets);
    return { response: errorResponseForSdk(response), error };
  };

  return async (input, init = {}) => {
    if (stopSignal.aborted) throw stopSignal.reason; // the SDK recognises a stop by this reason, and would try again after any other error
    const signal = init.signal ? AbortSignal.any([init.signal, stopSignal]) : stopSignal;
    const isAuthorised = new Headers(init.headers).has('authorization');
    /** The last error response. The stages get its error, and the SDK the response. */
    let refusal: Outcome | undefined;
    const send = async (accessToken?: string): Promise<Response> => {
      const outcome = await sendAdmitted(input, { ...init, signal }, accessToken);
      if (!outcome.error) return outcome.response;
      refusal = outcome;
      throw outcome.error;
    };
    const replace = (rejectedToken: string, cause: MatrixClientManagerError): Promise<Credentials> => {
      refusal = undefined; // if the token cannot be renewed, the SDK gets the error
      return session.replace(rejectedToken, cause);
    };
    const attempt = (): Promise<Response> =>
      isAuthorised ? withSession(session, { operation: OPERATION, signal }, send, replace) : send();
    const onRepeat = (): void => telemetry.requestRepeated('GET', urlOf(input).pathname);
    try {
      if ((init.method ?? 'GET') !== 'GET') return await attempt();
      return await withRetries(attempt, defaultRetryPolicy, clock, signal, OPERATION, { onRepeat });
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      // The SDK would take a 4xx of a proxy for a permanent refusal. It tries again only after a failed fetch.
      const isRefusal = refusal?.error === error && !isManagerError(error, 'INVALID_RESPONSE');
      if (refusal && isRefusal) return refusal.response;
      throw error;
    }
  };
}

/** The result of a request: the response for the SDK and, for an error response, the matching error. */
interface Outcome {
  readonly response: Response;
  readonly error?: MatrixClientManagerError;
}

function urlOf(input: string | URL | Request): URL {
  return new URL(input instanceof Request ? input.url : input);
}

function isTextBody(body: RequestInit['body']): body is string | null | undefined {
  return body === undefined || body === null || typeof body === 'string';
}

type BinaryBody = Blob | ArrayBuffer | NodeJS.ArrayBufferView;

function isBinaryBody(body: RequestInit['body']): body is BinaryBody {
  return body instanceof Blob || body instanceof ArrayBuffer || ArrayBuffer.isView(body);
}

/** The request init of an upload. It has no total time limit, only a limit for the time without any data transferred. */
function uploadInit(init: RequestInit, file: BinaryBody, timeout: RequestTimeout): RequestInit {
  timeout.reset();
  const { body, headers } = new Response(file); // with the content type of a Blob
  const length = file instanceof Blob ? file.size : file.byteLength;
  for (const [name, value] of new Headers(init.headers)) headers.set(name, value);
  headers.set('content-length', String(length)); // required by homeservers
  return {
    ...init,
    headers,
    body: ReadableStream.from(timeout.watchWriting(body as AsyncIterable<Uint8Array>)),
    duplex: 'half',
  };
}

/** HTTP statuses of responses without a body. */
const STATUSES_WITHOUT_BODY = new Set([204, 205, 304]);

function toFetchResponse({ status, headers, text }: HttpResponse): Response {
  return new Response(STATUSES_WITHOUT_BODY.has(status) ? null : text, { status, headers: [...headers] });
}

/** Sets the content type by which the SDK decides whether to read an errcode from the body. */
function errorResponseForSdk(response: HttpResponse): Response {
  const headers = new Headers([...response.headers]);
  headers.set('content-type', isMatrixError(response.text) ? 'application/json' : 'text/html');
  const status = response.status < 200 || response.status > 599 ? 502 : response.status; // Response accepts only these
  return new Response(STATUSES_WITHOUT_BODY.has(status) ? null : response.text, { status, headers });
}
