import { orAborted, throwIfAborted } from '../core/abort.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { isError } from '../core/is-error.js';
import { openGate } from '../core/ports/request-gate.js';
import type { RequestGate } from '../core/ports/request-gate.js';
import { noTelemetry } from '../core/telemetry.js';
import { failureClass } from './failure-class.js';
import { fetchDownload } from './fetch-download.js';
import type { HomeserverHttpOptions } from './homeserver-http.js';
import { readRefusal } from './read-text.js';
import { failureOf } from './request-failure.js';
import { errorFromResponse } from './response-error.js';
import type { RequestContext } from './response-error.js';
import { defaultRetryPolicy, withRetries } from './retry.js';
import { secretsOf } from './secrets.js';
import type { Session } from './session.js';
import { BodyIdleTimeout } from './body-idle-timeout.js';
import type { HttpResponse, Fetch } from '../core/ports/transport.js';

export interface MediaRequest extends RequestContext {
  readonly method: 'GET' | 'POST';
  /** From the origin on, percent-encoded, with the query. */
  readonly path: string;
  readonly session: Session;
  readonly headers?: Readonly<Record<string, string>>;
  /** Makes the body; called again for each time that the request is sent. */
  readonly body?: () => AsyncIterable<Uint8Array>;
  /** Whether what `body` makes can be read twice. @default true */
  readonly repeatable?: boolean;
  readonly signal: AbortSignal;
}

/** An answer whose body flows. */
export interface MediaResponse {
  readonly headers: Headers;
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends it, read or not. */
  readonly cancel: () => void;
}

/**
 * Requests whose bodies are as large as files: they flow in both directions, and are given up when nothing has flowed
 * for `requestTimeoutMs`. Rejects with a {@link MatrixClientManagerError} and nothing else.
 */
export class MediaHttp {
  readonly #options: HomeserverHttpOptions;
  readonly #fetch: Fetch;
  readonly #baseUrl: string;

  constructor(options: HomeserverHttpOptions) {
    this.#options = options;
    this.#fetch = options.connections.fetch;
    this.#baseUrl = options.homeserverUrl.replace(/\/+$/, '');
  }

  /**
   * Sends until there is an answer whose body begins to flow: again after what passes, as long as no part of a body
   * that flows once is gone. The caller reads the body to its end, or cancels it.
   */
  async request(request: MediaRequest): Promise<MediaResponse> {
    const { signal, operation, method, path, repeatable = true } = request;
    const { clock, telemetry = noTelemetry } = this.#options;
    throwIfAborted(signal, operation);
    let [attempts, begun] = [0, false];
    const begin = (): void => {
      begun = true;
    };
    const mayRepeat = (): boolean => repeatable || !begun;
    const make = request.body;
    const body = make && (() => onceBegun(make(), begin));
    const attempt = (): Promise<MediaResponse> => {
      if (attempts++ > 0) telemetry.requestRepeated(method, pathnameOf(path));
      return this.#authorised({ ...request, ...(body && { body }) }, mayRepeat);
    };
    try {
      return await withRetries(attempt, defaultRetryPolicy, clock, signal, operation, mayRepeat);
    } catch (error) {
      throw mayRepeat() || !isManagerError(error) || !isRetryableError(error) ? error : notRepeated(error);
    }
  }

  /** Sends once, and again where the token had to be renewed. */
  async #authorised(request: MediaRequest, mayRepeat: () => boolean): Promise<MediaResponse> {
    const { session, signal, operation } = request;
    const { accessToken } = await orAborted(session.credentials(), signal, operation);
    try {
      return await this.#watched(request, accessToken);
    } catch (error) {
      if (!isManagerError(error, 'UNKNOWN_TOKEN')) throw error;
      const renewed = await orAborted(session.replace(accessToken, error), signal, operation);
      if (!mayRepeat()) throw error;
      return this.#watched(request, renewed.accessToken);
    }
  }

  async #watched(request: MediaRequest, accessToken: string): Promise<MediaResponse> {
    const { gate = openGate, telemetry = noTelemetry } = this.#options;
    const { method, path, operation, userId, roomId, signal } = request;
    const watch = telemetry.request(method, pathnameOf(path));
    try {
      await gate.enter({ operation, userId, roomId, signal });
      watch.sent();
      const { status, answer } = await this.#exchange(request, accessToken, gate);
      watch.ended('ok', status);
      return answer;
    } catch (error) {
      watch.ended(signal.aborted ? 'aborted' : failureClass(error), isManagerError(error) ? error.status : undefined);
      throw error;
    }
  }

  async #exchange(
    request: MediaRequest,
    accessToken: string,
    gate: RequestGate,
  ): Promise<{ status: number; answer: MediaResponse }> {
    const { method, path, body, headers, operation, userId, roomId, signal } = request;
    const { clock, requestTimeoutMs } = this.#options;
    const secrets = secretsOf(accessToken, undefined);
    const silence = new BodyIdleTimeout(clock, requestTimeoutMs);
    const cancelled = new AbortController();
    const ended = AbortSignal.any([signal, silence.signal, cancelled.signal]);
    const outcome = { userId, isSync: false, sentAt: clock.now() };
    const url = this.#baseUrl + path;
    /** Where the request is: a redirect takes a download to other hosts, whose failures are not the homeserver's. */
    let at = { origin: this.#baseUrl, isForeign: false };
    const fail = (error: unknown): MatrixClientManagerError => {
      silence.stopWriting();
      const late = silence.signal.aborted ? `was given up: nothing has flowed for ${requestTimeoutMs} ms` : undefined;
      return failureOf(error, { operation, userId, roomId, homeserverUrl: at.origin, signal, late, secrets });
    };
    const begin = async (): Promise<Response> => {
      silence.reset();
      if (body) {
        const sent = { method, headers: { ...headers, authorization: `Bearer ${accessToken}` }, signal: ended };
        return fetchUpload(this.#fetch, url, sent, silence.watchWriting(body()));
      }
      const onHop = (origin: string, isForeign: boolean): void => {
        if (isForeign && !at.isForeign) gate.record({ ...outcome, failed: false });
        at = { origin: isForeign ? origin : this.#baseUrl, isForeign };
        silence.reset();
      };
      return fetchDownload(this.#fetch, url, { headers: headers ?? {}, accessToken, signal: ended }, onHop);
    };
    const send = async (): Promise<{ response: Response; refusal?: HttpResponse }> => {
      const response = await begin();
      if (response.ok) return { response };
      silence.startDeadline();
      return { response, refusal: await readRefusal(response) };
    };
    const { response, refusal } = await orAborted(send(), ended, operation).catch((error: unknown) => {
      const failure = fail(error);
      // What the body fails with is no fault of the homeserver.
      if (isManagerError(failure, 'NETWORK', 'TIMEOUT') && !at.isForeign) gate.record({ ...outcome, failed: true });
      throw failure;
    });
    silence.stopWriting();
    const { status } = response;
    if (!at.isForeign) gate.record({ ...outcome, failed: status >= 500 });
    if (refusal) {
      cancelled.abort(); // or what is left of the file would be sent for nothing
      throw at.isForeign ? errorOfOtherHost(refusal, request, at.origin) : errorFromResponse(refusal, request, secrets);
    }
    const flowing = silence.watchReading(bodyOf(response));
    const cancel = (): void => {
      silence.pause();
      cancelled.abort();
    };
    return { status, answer: { headers: response.headers, body: failingWith(flowing, fail), cancel } };
  }
}

/** Sends a body that flows. A redirect is an error: the body cannot be sent again. */
async function fetchUpload(
  fetch: Fetch,
  url: string,
  init: RequestInit,
  body: AsyncIterable<Uint8Array>,
): Promise<Response> {
  const stream = ReadableStream.from(body);
  try {
    // In another mode than `error`, fetch would keep a copy of the body for a redirect.
    return await fetch(url, { ...init, redirect: 'error', body: stream, duplex: 'half' });
  } catch (error) {
    if (!(isError(error) && isError(error.cause) && error.cause.message === 'unexpected redirect')) {
      throw error;
    }
    const message =
      'the homeserver redirects an upload, which is not sent twice; set `homeserverUrl` to the final address';
    throw new MatrixClientManagerError('INVALID_RESPONSE', message);
  }
}

/** What another host says of a token or a file is not the homeserver's word. It may pass: its address is made anew. */
function errorOfOtherHost(answer: HttpResponse, request: RequestContext, origin: string): MatrixClientManagerError {
  const { status, headers } = answer;
  const { operation, userId, roomId } = request;
  const { retryAfterMs } = errorFromResponse({ status, headers, text: '' }, request);
  const message = `${operation} failed: ${origin}, to which the homeserver redirects, answered with HTTP status ${status}`;
  return new MatrixClientManagerError('INVALID_RESPONSE', message, { status, retryAfterMs, userId, roomId });
}

function pathnameOf(path: string): string {
  return path.replace(/\?.*/, '');
}

/** Whether the same request could be answered at another time, or with another token. */
function isRetryableError(error: MatrixClientManagerError): boolean {
  return ['rate-limited', 'transient', 'unauthorised'].includes(failureClass(error));
}

function notRepeated(error: MatrixClientManagerError): MatrixClientManagerError {
  const { code, message, errcode, status, retryAfterMs, userId, roomId, cause } = error;
  const remedy = 'the file came as a stream, which cannot be read twice: call again with a new one, or with a buffer';
  const context = { errcode, status, retryAfterMs, userId, roomId, cause };
  return new MatrixClientManagerError(code, `${message}; ${remedy}`, context);
}

/**
 * The body of a response. Holds the response until it is read: where that is collected as garbage, fetch cancels a body
 * that nobody has begun to read, which then looks like an empty one.
 */
async function* bodyOf(response: Response): AsyncGenerator<Uint8Array> {
  if (response.body) yield* response.body as AsyncIterable<Uint8Array>;
}

/** The same, and `begin` before anything of it is read. */
async function* onceBegun(body: AsyncIterable<Uint8Array>, begin: () => void): AsyncGenerator<Uint8Array> {
  begin();
  yield* body;
}

async function* failingWith(
  body: AsyncIterable<Uint8Array>,
  toError: (error: unknown) => Error,
): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw toError(error);
  }
}
