import { isManagerError } from '../core/errors.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import { sameOriginFetch, sendFollowing } from './redirects.js';
import type { HomeserverContext } from './homeserver-context.js';
import { toRequestError } from './request-failure.js';
import { errorFromResponse, invalidResponse, isJsonLike, isMatrixError, retryAfterMsOf } from './response-error.js';
import { defaultRetryPolicy, withRetries } from './retry.js';
import { readResponse } from './read-text.js';
import { secretsOf } from './secrets.js';
import type { Session } from './session.js';
import { withGate } from './with-gate.js';
import { withSession } from './with-session.js';
import { RequestTimeout } from './request-timeout.js';
import type { HttpResponse, Fetch } from '../core/ports/transport.js';

type SdkFetchContext = Pick<HomeserverContext, 'clock' | 'diagnostics' | 'limits' | 'http' | 'gate'>;

const OPERATION = 'a request of the client';

/**
 * The fetch function of a user's matrix-js-sdk client. Sends the session's current token, renews a rejected one without
 * the SDK noticing, follows no redirect to another origin, and retries failed GETs. The SDK sends each request once.
 * An upload ends when no data was transferred for `requestTimeoutMs`.
 * @param session - provides the token of every authorised request. The token that the SDK sets is replaced
 * @param stopSignal - aborts every request when the client is stopped
 */
export function sdkFetch(context: SdkFetchContext, session: Session, stopSignal: AbortSignal): Fetch {
  const { clock, diagnostics, limits } = context;
  const { requestTimeoutMs, maxResponseBytes } = limits;
  const { connections } = context.http;
  const fetch = sameOriginFetch(connections.fetch);
  const client = { operation: OPERATION, userId: session.userId };

  const sendInTime = async (
    input: string | URL | Request,
    init: RequestInit,
    signal: AbortSignal,
    accessToken: string | undefined,
  ): Promise<Answer> => {
    const headers = new Headers(init.headers);
    if (accessToken !== undefined) headers.set('authorization', `Bearer ${accessToken}`);
    const secrets = secretsOf(accessToken, undefined);
    const timeout = new RequestTimeout(clock, requestTimeoutMs);
    try {
      return await timeout.run(signal, () => transmit(input, { ...init, headers }, signal, secrets, timeout));
    } catch (error) {
      const homeserverUrl = urlOf(input).origin;
      const timeoutText = timeout.isOver ? `got no response within ${requestTimeoutMs} ms` : undefined;
      throw toRequestError(error, { ...client, homeserverUrl, signal, timeoutText, secrets });
    }
  };

  const transmit = async (
    input: string | URL | Request,
    init: RequestInit & { readonly headers: Headers },
    callerSignal: AbortSignal,
    secrets: readonly string[],
    timeout: RequestTimeout,
  ): Promise<Answer> => {
    const { method = 'GET', headers, body } = init;
    if (isTextBody(body)) timeout.startDeadline();
    // JSON responses are read completely. Downloads and uploads are streamed.
    if (input instanceof Request || !isTextBody(body) || !headers.get('accept')?.includes('json')) {
      const sent = { ...init, signal: AbortSignal.any([callerSignal, timeout.signal]) };
      const response = await fetch(input, isBinaryBody(body) ? uploadInit(sent, body, timeout) : sent);
      timeout.startDeadline();
      const isStreamed = response.ok && !response.headers.get('content-type')?.includes('json');
      if (isStreamed || STATUSES_WITHOUT_BODY.has(response.status)) return answerWith(response);
      const received = await readResponse(response, maxResponseBytes);
      return response.ok ? answerWith(toFetchResponse(received)) : refusalWith(received, secrets);
    }
    const { origin, pathname, search } = new URL(input);
    const received = await sendFollowing(connections, {
      method,
      origin,
      path: pathname + search,
      headers: Object.fromEntries(headers),
      body: body ?? undefined,
      lane: 'call',
      maxBytes: maxResponseBytes,
      signal: timeout.signal,
    });
    const { status, text } = received;
    if (status < 200 || status >= 300) return refusalWith(received, secrets);
    const isValid = STATUSES_WITHOUT_BODY.has(status) || isJsonLike(text);
    return answerWith(toFetchResponse(received), isValid ? undefined : invalidResponse(client, 'no JSON', status));
  };

  const refusalWith = (received: HttpResponse, secrets: readonly string[]): Answer =>
    answerWith(errorResponseForSdk(received), errorFromResponse(received, client, secrets));

  return async (input, init = {}) => {
    const signal = init.signal ? AbortSignal.any([stopSignal, init.signal]) : stopSignal;
    const { method = 'GET' } = init;
    const request = { ...client, signal, method, path: urlOf(input).pathname };
    /** The last error response. The stages get its error, and the SDK the response. */
    let refusal: Answer | undefined;
    const send = (accessToken?: string, rejection?: MatrixClientManagerError): Promise<Response> =>
      withGate(context, request, {
        send: () => sendInTime(input, init, signal, accessToken),
        read: (answer) => {
          if (!answer.error) return answer.response;
          // The first rejection of a token is not for the SDK: if the token cannot be renewed, it gets that error.
          const isFirst = accessToken !== undefined && !rejection;
          if (!isFirst || answer.error.code !== 'UNKNOWN_TOKEN') refusal = answer;
          throw answer.error;
        },
      });
    const isAuthorised = new Headers(init.headers).has('authorization');
    const attempt = (): Promise<Response> => (isAuthorised ? withSession(session, request, send) : send());
    const onRepeat = (): void => diagnostics.publish('requestRepeated', { method, path: request.path });
    try {
      if (method !== 'GET') return await attempt();
      return await withRetries(attempt, defaultRetryPolicy, clock, signal, OPERATION, { onRepeat });
    } catch (error) {
      if (signal.aborted) throw signal.reason; // the SDK recognises a stop by this reason, and would try again after any other error
      // The SDK would take a 4xx of a proxy for a permanent refusal. It tries again only after a failed fetch.
      if (refusal && refusal.error === error && !isManagerError(error, 'INVALID_RESPONSE')) return refusal.response;
      throw error;
    }
  };
}

/** The response for the SDK and, for an error response, the matching error. */
interface Answer {
  readonly status: number;
  readonly response: Response;
  readonly error: MatrixClientManagerError | undefined;
}

function answerWith(response: Response, error?: MatrixClientManagerError): Answer {
  return { status: response.status, response, error };
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

/** The shortest and the longest `Retry-After` for the SDK, in seconds. */
const [MIN_RETRY_AFTER_S, MAX_RETRY_AFTER_S] = [1, defaultRetryPolicy.maxRetryAfterMs / 1_000];

/**
 * Sets the content type by which the SDK decides whether to read an errcode from the body, and limits `Retry-After`, which
 * goes before the body: the SDK waits for any time, or repeats a request at once, and sends of the user wait for it.
 */
function errorResponseForSdk(response: HttpResponse): Response {
  const headers = new Headers([...response.headers]);
  headers.set('content-type', isMatrixError(response.text) ? 'application/json' : 'text/html');
  const retryAfterMs = retryAfterMsOf(response);
  if (retryAfterMs === undefined) headers.delete('retry-after');
  else headers.set('retry-after', String(clamp(Math.ceil(retryAfterMs / 1_000), MIN_RETRY_AFTER_S, MAX_RETRY_AFTER_S)));
  const status = response.status < 200 || response.status > 599 ? 502 : response.status; // Response accepts only these
  return new Response(STATUSES_WITHOUT_BODY.has(status) ? null : response.text, { status, headers });
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max);
}
