import { orAborted } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import { openGate } from '../core/ports/request-gate.js';
import type { RequestGate } from '../core/ports/request-gate.js';
import { noTelemetry } from '../core/telemetry.js';
import type { RequestWatch, Telemetry } from '../core/telemetry.js';
import { failureClass } from './failure-class.js';
import { sameOriginFetch } from './fetch.js';
import { failureOf } from './request-failure.js';
import { errorFromResponse, invalidResponse, isJsonLike, isMatrixError } from './response-error.js';
import { defaultRetryPolicy, withRetries } from './retry.js';
import { readAnswer } from './read-text.js';
import { secretsOf } from './secrets.js';
import { sendFollowing } from './send-following.js';
import type { Session } from './session.js';
import { BodyIdleTimeout } from './body-idle-timeout.js';
import type { HttpResponse, OpenTransport, Fetch } from '../core/ports/transport.js';

export interface SdkFetchOptions {
  readonly connections: OpenTransport;
  readonly clock: Clock;
  /** Whose token every authorised request carries, whatever the SDK believes it to be. */
  readonly session: Session;
  /** Ends every request of the client when it is stopped. */
  readonly signal: AbortSignal;
  /** What requests have to pass. @default nothing */
  readonly gate?: RequestGate;
  /**
   * Time for one attempt, its body included where that is JSON, in milliseconds. An upload ends when nothing has flowed
   * for so long. @default 30_000
   */
  readonly requestTimeoutMs?: number;
  /** How large a JSON answer may be, in bytes. @default 256 MiB */
  readonly maxResponseBytes?: number;
  /** @default none */
  readonly telemetry?: Telemetry;
}

const OPERATION = 'a request of the client';

/**
 * The fetch that a user's matrix-js-sdk client gets: it sends the session's current token and renews a dead one
 * unseen, follows no redirect to another origin, and repeats failed GETs. The SDK itself makes one attempt only.
 */
export function sdkFetch(options: SdkFetchOptions): Fetch {
  const { connections, session, clock, signal: stopped, gate = openGate, telemetry = noTelemetry } = options;
  const { requestTimeoutMs = 30_000, maxResponseBytes = 268_435_456 } = options;
  const fetch = sameOriginFetch(connections.fetch);
  const subject = { operation: OPERATION, userId: session.userId };

  const send = async (input: string | URL | Request, init: RequestInit, token?: string): Promise<Outcome> => {
    const signal = init.signal as AbortSignal;
    const headers = new Headers(init.headers);
    if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
    const watch = telemetry.request(init.method ?? 'GET', urlOf(input).pathname);
    try {
      await gate.enter({ ...subject, signal });
      watch.sent();
      return await answered(input, { ...init, headers }, token, watch);
    } catch (error) {
      watch.ended(signal.aborted ? 'aborted' : failureClass(error));
      throw error;
    }
  };

  const answered = async (
    input: string | URL | Request,
    init: RequestInit,
    token: string | undefined,
    watch: RequestWatch,
  ): Promise<Outcome> => {
    const stop = init.signal as AbortSignal;
    const outcome = { userId: session.userId, isSync: false, sentAt: clock.now() };
    const silence = new BodyIdleTimeout(clock, requestTimeoutMs);
    const signal = AbortSignal.any([stop, silence.signal]);
    const secrets = secretsOf(token, undefined);
    try {
      // Not left to fetch alone: not every one ends with its signal, and a stop waits for this.
      const result = await orAborted(transmit(input, { ...init, signal }, secrets, silence), signal, OPERATION);
      gate.record({ ...outcome, failed: result.response.status >= 500 });
      watch.ended(result.error ? failureClass(result.error) : 'ok', result.response.status);
      return result;
    } catch (error) {
      if (!stop.aborted) gate.record({ ...outcome, failed: true });
      throw failureOf(error, {
        ...subject,
        homeserverUrl: urlOf(input).origin,
        signal: stop,
        late: silence.signal.aborted ? `got no answer within ${requestTimeoutMs} ms` : undefined,
        secrets,
      });
    } finally {
      silence.stopWriting();
    }
  };

  const transmit = async (
    input: string | URL | Request,
    init: RequestInit,
    secrets: readonly string[],
    silence: BodyIdleTimeout,
  ): Promise<Outcome> => {
    const { method = 'GET', body, signal } = init;
    const headers = new Headers(init.headers);
    if (isText(body)) silence.startDeadline();
    // What asks for JSON is read to its end; media flow, and so do uploads.
    if (input instanceof Request || !isText(body) || !headers.get('accept')?.includes('json')) {
      const response = await fetch(input, isFile(body) ? watchedUpload(init, body, silence) : init);
      silence.startDeadline();
      const flows = response.ok && !response.headers.get('content-type')?.includes('json');
      if (flows || EMPTY.has(response.status)) return { response };
      const answer = await readAnswer(response, maxResponseBytes);
      return response.ok ? { response: responseOf(answer) } : refusalOf(answer, secrets);
    }
    const { origin, pathname, search } = new URL(input);
    const answer = await sendFollowing(connections, {
      method,
      origin,
      path: pathname + search,
      headers: Object.fromEntries(headers),
      body: body ?? undefined,
      lane: 'call',
      maxBytes: maxResponseBytes,
      signal: signal as AbortSignal,
    });
    if (answer.status < 200 || answer.status >= 300) return refusalOf(answer, secrets);
    if (EMPTY.has(answer.status) || isJsonLike(answer.text)) return { response: responseOf(answer) };
    return { response: responseOf(answer), error: invalidResponse(subject, 'no JSON', answer.status) };
  };

  const refusalOf = (answer: HttpResponse, secrets: readonly string[]): Outcome => {
    const error = errorFromResponse(answer, subject, secrets);
    return { response: refusalForSdk(answer), error };
  };

  const once = async (input: string | URL | Request, init: RequestInit): Promise<Outcome> => {
    const signal = init.signal as AbortSignal;
    if (!new Headers(init.headers).has('authorization')) return send(input, init);
    const { accessToken } = await orAborted(session.credentials(), signal, OPERATION);
    const outcome = await send(input, init, accessToken);
    if (outcome.error?.code !== 'UNKNOWN_TOKEN') return outcome;
    const renewed = await orAborted(session.replace(accessToken, outcome.error), signal, OPERATION);
    return send(input, init, renewed.accessToken);
  };

  const repeated = async (input: string | URL | Request, init: RequestInit): Promise<Outcome> => {
    const signal = init.signal as AbortSignal;
    let last: Outcome | undefined;
    let attempts = 0;
    const attempt = async (): Promise<Outcome> => {
      last = undefined;
      if (attempts++ > 0) telemetry.requestRepeated('GET', urlOf(input).pathname);
      last = await once(input, init);
      if (last.error) throw last.error;
      return last;
    };
    try {
      return await withRetries(attempt, defaultRetryPolicy, clock, signal, OPERATION);
    } catch (error) {
      if (last && !signal.aborted) return last;
      throw error;
    }
  };

  return async (input, init = {}) => {
    if (stopped.aborted) throw stopped.reason; // what the SDK knows an end by; anything else it would try again
    const signal = init.signal ? AbortSignal.any([init.signal, stopped]) : stopped;
    const exchange = (init.method ?? 'GET') === 'GET' ? repeated : once;
    try {
      const { response, error } = await exchange(input, { ...init, signal });
      // The SDK takes any 4xx for a refusal by the homeserver. A failed fetch is what it tries again.
      if (error?.code === 'INVALID_RESPONSE') throw error;
      return response;
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    }
  };
}

/** What came of a request: a response for the SDK and, where that is a refusal, the same as an error. */
interface Outcome {
  readonly response: Response;
  readonly error?: MatrixClientManagerError;
}

function urlOf(input: string | URL | Request): URL {
  return new URL(input instanceof Request ? input.url : input);
}

function isText(body: RequestInit['body']): body is string | null | undefined {
  return body === undefined || body === null || typeof body === 'string';
}

type File = Blob | ArrayBuffer | NodeJS.ArrayBufferView;

function isFile(body: RequestInit['body']): body is File {
  return body instanceof Blob || body instanceof ArrayBuffer || ArrayBuffer.isView(body);
}

/** An upload takes as long as it is large, so that it ends only when nothing of it has flowed for a time. */
function watchedUpload(init: RequestInit, file: File, silence: BodyIdleTimeout): RequestInit {
  silence.reset();
  const { body, headers } = new Response(file); // with the content type of a Blob
  const length = file instanceof Blob ? file.size : file.byteLength;
  for (const [name, value] of new Headers(init.headers)) headers.set(name, value);
  headers.set('content-length', String(length)); // which homeservers insist on
  return {
    ...init,
    headers,
    body: ReadableStream.from(silence.watchWriting(body as AsyncIterable<Uint8Array>)),
    duplex: 'half',
  };
}

/** Statuses of answers that have no body. */
const EMPTY = new Set([204, 205, 304]);

function responseOf({ status, headers, text }: HttpResponse): Response {
  return new Response(EMPTY.has(status) ? null : text, { status, headers: [...headers] });
}

/** With the content type that the SDK reads an errcode by, or with one whose body it leaves alone. */
function refusalForSdk(answer: HttpResponse): Response {
  const headers = new Headers([...answer.headers]);
  headers.set('content-type', isMatrixError(answer.text) ? 'application/json' : 'text/html');
  const status = answer.status < 200 || answer.status > 599 ? 502 : answer.status; // a Response takes no others
  return new Response(EMPTY.has(status) ? null : answer.text, { status, headers });
}
