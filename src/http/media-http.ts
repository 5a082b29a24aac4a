import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { isError } from '../core/is-error.js';
import { failureClass } from './failure-class.js';
import { fetchDownload } from './redirects.js';
import type { HomeserverContext } from './homeserver-context.js';
import { readErrorResponse } from './read-text.js';
import { toRequestError } from './request-failure.js';
import { errorFromResponse } from './response-error.js';
import type { RequestContext } from './response-error.js';
import { defaultRetryPolicy, withRetries } from './retry.js';
import { secretsOf } from './secrets.js';
import type { Session } from './session.js';
import { withGate } from './with-gate.js';
import { withSession } from './with-session.js';
import { RequestTimeout } from './request-timeout.js';
import type { HttpResponse, Fetch } from '../core/ports/transport.js';

export interface MediaRequest extends RequestContext {
  readonly method: 'GET' | 'POST';
  /** Percent-encoded path and query, without the origin. */
  readonly path: string;
  readonly session: Session;
  readonly headers?: Readonly<Record<string, string>>;
  /** Returns the body. Called once per attempt. */
  readonly body?: () => AsyncIterable<Uint8Array>;
  /** Whether `body` can be called again after its first result was read. @default true */
  readonly repeatable?: boolean;
  /** Called just before each attempt is sent. If it rejects, the request rejects with that error, and nothing is sent. */
  readonly beforeSend?: (() => Promise<void>) | undefined;
  readonly signal: AbortSignal;
}

/** A response whose body is streamed. */
export interface MediaResponse {
  readonly headers: Headers;
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends the transfer of the body, read or not. */
  readonly cancel: () => void;
}

/**
 * Uploads and downloads. Bodies are streamed, and a request is aborted when no data was transferred for
 * `requestTimeoutMs`. Every rejection is a {@link MatrixClientManagerError}.
 */
export class MediaHttp {
  readonly #context: HomeserverContext;
  readonly #fetch: Fetch;
  readonly #baseUrl: string;

  constructor(context: HomeserverContext) {
    this.#context = context;
    this.#fetch = context.http.connections.fetch;
    this.#baseUrl = context.http.homeserverUrl;
  }

  /**
   * Resolves when the response headers have arrived. Retries after temporary failures, unless a part of a body that
   * cannot be read twice was already sent. The caller reads the response body to its end, or cancels it.
   */
  async request(request: MediaRequest): Promise<MediaResponse> {
    const { session, signal, operation, method, path, repeatable = true } = request;
    const { clock, diagnostics } = this.#context;
    let hasStarted = false;
    const markStarted = (): void => {
      hasStarted = true;
    };
    const mayRepeat = (): boolean => repeatable || !hasStarted;
    const makeBody = request.body;
    const body = makeBody && (() => notifyingStart(makeBody(), markStarted));
    const send = async (accessToken: string, rejection?: MatrixClientManagerError): Promise<MediaResponse> => {
      if (rejection && !mayRepeat()) throw rejection;
      return this.#sendOnce({ ...request, ...(body && { body }) }, accessToken);
    };
    const attempt = (): Promise<MediaResponse> => withSession(session, request, send);
    const onRepeat = (): void => diagnostics.publish('requestRepeated', { method, path: pathnameOf(path) });
    try {
      return await withRetries(attempt, defaultRetryPolicy, clock, signal, operation, { mayRepeat, onRepeat });
    } catch (error) {
      throw mayRepeat() || !isManagerError(error) || !isRetryableError(error) ? error : withStreamRemedy(error);
    }
  }

  #sendOnce(request: MediaRequest, accessToken: string): Promise<MediaResponse> {
    const { method, operation, userId, roomId, signal, beforeSend } = request;
    const { clock, limits } = this.#context;
    const secrets = secretsOf(accessToken, undefined);
    const timeout = new RequestTimeout(clock, limits.requestTimeoutMs);
    /** Where the request was sent last. A download may be redirected to another host, whose failures do not count. */
    let hop = { origin: this.#baseUrl, isForeign: false };
    const toError = (error: unknown): MatrixClientManagerError => {
      const timeoutText = timeout.isOver
        ? `timed out: no data was transferred for ${limits.requestTimeoutMs} ms`
        : undefined;
      return toRequestError(error, { ...request, homeserverUrl: hop.origin, timeoutText, secrets });
    };
    const gated = { operation, userId, roomId, signal, method, path: pathnameOf(request.path), beforeSend };
    return withGate(this.#context, gated, {
      send: async (record) => {
        const onHop = (origin: string, isForeign: boolean): void => {
          if (isForeign) record(false);
          hop = { origin: isForeign ? origin : this.#baseUrl, isForeign };
          timeout.reset();
        };
        try {
          return await timeout.run(signal, () => this.#send(request, accessToken, timeout, onHop));
        } catch (error) {
          throw toError(error);
        }
      },
      read: ({ response, errorResponse }) => {
        if (!errorResponse) {
          const body = mappingErrors(timeout.watchReading(bodyOf(response)), toError);
          return { headers: response.headers, body, cancel: () => timeout.end() };
        }
        timeout.end(); // otherwise the rest of the file would still be uploaded
        throw hop.isForeign
          ? otherHostError(errorResponse, request, hop.origin)
          : errorFromResponse(errorResponse, request, secrets);
      },
      // Other codes come from the request body, which is not the homeserver's fault.
      isFault: (error) => isManagerError(error, 'NETWORK', 'TIMEOUT'),
    });
  }

  async #send(
    { method, path, headers = {}, body, signal: callerSignal }: MediaRequest,
    accessToken: string,
    timeout: RequestTimeout,
    onHop: (origin: string, isForeign: boolean) => void,
  ): Promise<{ status: number; response: Response; errorResponse?: HttpResponse }> {
    const signal = AbortSignal.any([callerSignal, timeout.signal]);
    const url = this.#baseUrl + path;
    timeout.reset();
    const sent = { method, headers: { ...headers, authorization: `Bearer ${accessToken}` }, signal };
    const response = body
      ? await fetchUpload(this.#fetch, url, sent, timeout.watchWriting(body()))
      : await fetchDownload(this.#fetch, url, { headers, accessToken, signal }, onHop);
    const { status } = response;
    if (response.ok) return { status, response };
    timeout.startDeadline();
    return { status, response, errorResponse: await readErrorResponse(response) };
  }
}

/** Sends a streamed body. A redirect is an error, because the body cannot be sent again. */
async function fetchUpload(
  fetch: Fetch,
  url: string,
  init: RequestInit,
  body: AsyncIterable<Uint8Array>,
): Promise<Response> {
  const stream = ReadableStream.from(body);
  try {
    // In any other redirect mode, fetch would keep a copy of the body in memory.
    return await fetch(url, { ...init, redirect: 'error', body: stream, duplex: 'half' });
  } catch (error) {
    if (!(isError(error) && isError(error.cause) && error.cause.message === 'unexpected redirect')) {
      throw error;
    }
    const message =
      'the homeserver redirects an upload, which cannot be sent twice; set `homeserverUrl` to the final address';
    throw new MatrixClientManagerError('INVALID_RESPONSE', message);
  }
}

/**
 * The error for a response of a host that the homeserver redirects to. Its errcode is ignored. The code is
 * `INVALID_RESPONSE`, which is retried: the homeserver may issue a new address for each request.
 */
function otherHostError(answer: HttpResponse, request: RequestContext, origin: string): MatrixClientManagerError {
  const { status, headers } = answer;
  const { operation, userId, roomId } = request;
  const { retryAfterMs } = errorFromResponse({ status, headers, text: '' }, request);
  const message = `${operation} failed: ${origin}, to which the homeserver redirects, answered with HTTP status ${status}`;
  return new MatrixClientManagerError('INVALID_RESPONSE', message, { status, retryAfterMs, userId, roomId });
}

function pathnameOf(path: string): string {
  return path.replace(/\?.*/, '');
}

/** Whether the same request may succeed later, or with another token. */
function isRetryableError(error: MatrixClientManagerError): boolean {
  return ['rate-limited', 'transient', 'unauthorised'].includes(failureClass(error));
}

function withStreamRemedy(error: MatrixClientManagerError): MatrixClientManagerError {
  const { code, message, errcode, status, retryAfterMs, userId, roomId, cause } = error;
  const remedy = 'the file was given as a stream, which cannot be read twice: call again with a new stream or a buffer';
  const context = { errcode, status, retryAfterMs, userId, roomId, cause };
  return new MatrixClientManagerError(code, `${message}; ${remedy}`, context);
}

/**
 * The body of a response. The generator keeps a reference to the response: if that is garbage-collected before the body
 * is read, fetch cancels the body, and it appears to be empty.
 */
async function* bodyOf(response: Response): AsyncGenerator<Uint8Array> {
  if (response.body) yield* response.body as AsyncIterable<Uint8Array>;
}

/** Passes `body` on, and calls `onStart` before the first chunk is read. */
async function* notifyingStart(body: AsyncIterable<Uint8Array>, onStart: () => void): AsyncGenerator<Uint8Array> {
  onStart();
  yield* body;
}

async function* mappingErrors(
  body: AsyncIterable<Uint8Array>,
  toError: (error: unknown) => Error,
): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw toError(error);
  }
}
