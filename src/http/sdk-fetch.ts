import type { Clock } from '../core/clock.js';
import { orAborted, timeoutReason } from '../core/abort.js';
import { openGate } from '../core/request-gate.js';
import type { RequestGate } from '../core/request-gate.js';
import { noTelemetry } from '../core/telemetry.js';
import type { RequestWatch, Telemetry } from '../core/telemetry.js';
import { classOfStatus, failureClass } from './failure-class.js';
import { sameOriginFetch } from './fetch.js';
import type { Fetch } from './fetch.js';
import { failureOf } from './request-failure.js';
import { errorFromAnswer } from './response-error.js';
import { defaultRetryPolicy, withRetries } from './retry.js';
import { readText } from './read-text.js';
import { secretsOf } from './secrets.js';
import { sendFollowing } from './send-following.js';
import type { Session } from './session.js';
import type { Answer, Connections } from './transport.js';

export interface SdkFetchOptions {
  readonly connections: Connections;
  readonly clock: Clock;
  /** Whose token every authorised request carries, whatever the SDK believes it to be. */
  readonly session: Session;
  /** Ends every request of the client when it is stopped. */
  readonly signal: AbortSignal;
  /** What requests have to pass. @default nothing */
  readonly gate?: RequestGate;
  /** Time for one attempt, its body included where that is JSON, in milliseconds. @default 30_000 */
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

  const send = async (input: string | URL | Request, init: RequestInit, token?: string): Promise<Response> => {
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
  ): Promise<Response> => {
    const stop = init.signal as AbortSignal;
    const outcome = { userId: session.userId, isSync: false, sentAt: clock.now() };
    const deadline = new AbortController();
    // Not for uploads, which take as long as they are large.
    const timer = isText(init.body)
      ? clock.setTimeout(() => deadline.abort(timeoutReason()), requestTimeoutMs)
      : undefined;
    const signal = AbortSignal.any([stop, deadline.signal]);
    try {
      // Not left to fetch alone: not every one ends with its signal, and a stop waits for this.
      const response = await orAborted(transmit(input, { ...init, signal }), signal, OPERATION);
      gate.record({ ...outcome, failed: response.status >= 500 });
      watch.ended(classOfStatus(response.status), response.status);
      return response;
    } catch (error) {
      if (!stop.aborted) gate.record({ ...outcome, failed: true });
      throw failureOf(error, {
        ...subject,
        homeserverUrl: urlOf(input).origin,
        signal: stop,
        late: deadline.signal.aborted ? `got no answer within ${requestTimeoutMs} ms` : undefined,
        secrets: secretsOf(token, undefined),
      });
    } finally {
      clock.clearTimeout(timer);
    }
  };

  const transmit = async (input: string | URL | Request, init: RequestInit): Promise<Response> => {
    const { method = 'GET', body, signal } = init;
    const headers = new Headers(init.headers);
    // What asks for JSON is read to its end; media flow, and so do uploads.
    if (input instanceof Request || !isText(body) || !headers.get('accept')?.includes('json')) {
      return whole(await fetch(input, init), maxResponseBytes);
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
    return responseOf(answer);
  };

  const once = async (input: string | URL | Request, init: RequestInit): Promise<Response> => {
    const signal = init.signal as AbortSignal;
    if (!new Headers(init.headers).has('authorization')) return send(input, init);
    const { accessToken } = await orAborted(session.credentials(), signal, OPERATION);
    const response = await send(input, init, accessToken);
    if (response.status !== 401) return response;
    const answer = await read(response);
    const error = errorFromAnswer(answer, subject, secretsOf(accessToken, undefined));
    if (error.code !== 'UNKNOWN_TOKEN') return responseOf(answer);
    const renewed = await orAborted(session.replace(accessToken, error), signal, OPERATION);
    return send(input, init, renewed.accessToken);
  };

  const repeated = async (input: string | URL | Request, init: RequestInit): Promise<Response> => {
    let last: Answer | undefined;
    let attempts = 0;
    const attempt = async (): Promise<Response> => {
      last = undefined;
      if (attempts++ > 0) telemetry.requestRepeated('GET', urlOf(input).pathname);
      const response = await once(input, init);
      if (response.ok || response.status < 429) return response;
      last = await read(response);
      throw errorFromAnswer(last, subject);
    };
    try {
      return await withRetries(attempt, defaultRetryPolicy, clock, init.signal as AbortSignal, OPERATION);
    } catch (error) {
      if (last && !init.signal?.aborted) return responseOf(last); // the SDK reads the homeserver's own words
      throw error;
    }
  };

  return async (input, init = {}) => {
    if (stopped.aborted) throw stopped.reason; // what the SDK knows an end by; anything else it would try again
    const signal = init.signal ? AbortSignal.any([init.signal, stopped]) : stopped;
    const exchange = (init.method ?? 'GET') === 'GET' ? repeated : once;
    try {
      return await exchange(input, { ...init, signal });
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    }
  };
}

function urlOf(input: string | URL | Request): URL {
  return new URL(input instanceof Request ? input.url : input);
}

function isText(body: RequestInit['body']): body is string | null | undefined {
  return body === undefined || body === null || typeof body === 'string';
}

/** Statuses of answers that have no body. */
const EMPTY = new Set([204, 205, 304]);

/** The response with its body read, where it is JSON; media are left to flow. */
async function whole(response: Response, maxBytes: number): Promise<Response> {
  const { status, headers } = response;
  if (EMPTY.has(status) || !headers.get('content-type')?.includes('json')) return response;
  return new Response(await readText(response, maxBytes), { status, headers });
}

async function read(response: Response): Promise<Answer> {
  return { status: response.status, headers: response.headers, text: await response.text() };
}

function responseOf({ status, headers, text }: Answer): Response {
  return new Response(EMPTY.has(status) ? null : text, { status, headers: [...headers] });
}
