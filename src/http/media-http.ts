import { orAborted, throwIfAborted } from '../core/abort.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { openGate } from '../core/request-gate.js';
import type { RequestGate } from '../core/request-gate.js';
import { noTelemetry } from '../core/telemetry.js';
import { classOfStatus, failureClass } from './failure-class.js';
import { sameOriginFetch } from './fetch.js';
import type { Fetch } from './fetch.js';
import type { HomeserverHttpOptions } from './homeserver-http.js';
import { readText } from './read-text.js';
import { failureOf } from './request-failure.js';
import { errorFromAnswer } from './response-error.js';
import type { Subject } from './response-error.js';
import { defaultRetryPolicy, withRetries } from './retry.js';
import { secretsOf } from './secrets.js';
import type { Session } from './session.js';
import { Silence } from './silence.js';

export interface MediaRequest extends Subject {
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
export interface MediaAnswer {
  readonly headers: Headers;
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends it, read or not. */
  readonly cancel: () => void;
}

const MAX_ERROR_BYTES = 65_536;

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
  async request(request: MediaRequest): Promise<MediaAnswer> {
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
    const attempt = (): Promise<MediaAnswer> => {
      if (attempts++ > 0) telemetry.requestRepeated(method, pathnameOf(path));
      return this.#authorised({ ...request, ...(body && { body }) }, mayRepeat);
    };
    try {
      return await withRetries(attempt, defaultRetryPolicy, clock, signal, operation, mayRepeat);
    } catch (error) {
      throw mayRepeat() || !isManagerError(error) || !wouldPass(error) ? error : notRepeated(error);
    }
  }

  /** Sends once, and again where the token had to be renewed. */
  async #authorised(request: MediaRequest, mayRepeat: () => boolean): Promise<MediaAnswer> {
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

  async #watched(request: MediaRequest, accessToken: string): Promise<MediaAnswer> {
    const { gate = openGate, telemetry = noTelemetry } = this.#options;
    const { method, path, operation, userId, roomId, signal } = request;
    const watch = telemetry.request(method, pathnameOf(path));
    try {
      await gate.enter({ operation, userId, roomId, signal });
      watch.sent();
      const { status, answer } = await this.#exchange(request, accessToken, gate);
      watch.ended(classOfStatus(status), status);
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
  ): Promise<{ status: number; answer: MediaAnswer }> {
    const { method, path, body, headers, operation, userId, roomId, signal } = request;
    const { clock, requestTimeoutMs } = this.#options;
    const secrets = secretsOf(accessToken, undefined);
    const silence = new Silence(clock, requestTimeoutMs);
    const cancelled = new AbortController();
    const ended = AbortSignal.any([signal, silence.signal, cancelled.signal]);
    const fail = (error: unknown): MatrixClientManagerError => {
      silence.written();
      const late = silence.signal.aborted ? `was given up: nothing has flowed for ${requestTimeoutMs} ms` : undefined;
      return failureOf(error, { operation, userId, roomId, homeserverUrl: this.#baseUrl, signal, late, secrets });
    };
    const outcome = { userId, isSync: false, sentAt: clock.now() };
    const send = async (): Promise<{ response: Response; refusal?: string }> => {
      silence.broken();
      const response = await (body ? this.#fetch : sameOriginFetch(this.#fetch))(this.#baseUrl + path, {
        method,
        redirect: 'error', // else fetch keeps a copy of the body, to be sent again
        headers: { ...headers, authorization: `Bearer ${accessToken}` },
        signal: ended,
        ...(body && { body: ReadableStream.from(silence.watchWriting(body())), duplex: 'half' }),
      });
      return response.ok ? { response } : { response, refusal: await readText(response, MAX_ERROR_BYTES) };
    };
    const { response, refusal } = await orAborted(send(), ended, operation).catch((error: unknown) => {
      const failure = fail(error);
      // What the body fails with is no fault of the homeserver.
      if (isManagerError(failure, 'NETWORK', 'TIMEOUT')) gate.record({ ...outcome, failed: true });
      throw failure;
    });
    silence.written();
    const { status } = response;
    gate.record({ ...outcome, failed: status >= 500 });
    if (refusal !== undefined) {
      cancelled.abort(); // or what is left of the file would be sent for nothing
      throw errorFromAnswer({ status, headers: response.headers, text: refusal }, request, secrets);
    }
    const flowing = silence.watchReading((response.body ?? ReadableStream.from([])) as AsyncIterable<Uint8Array>);
    const cancel = (): void => {
      silence.end();
      cancelled.abort();
    };
    return { status, answer: { headers: response.headers, body: failingWith(flowing, fail), cancel } };
  }
}

function pathnameOf(path: string): string {
  return path.replace(/\?.*/, '');
}

/** Whether the same request could be answered at another time, or with another token. */
function wouldPass(error: MatrixClientManagerError): boolean {
  return ['rate-limited', 'transient', 'unauthorised'].includes(failureClass(error));
}

function notRepeated(error: MatrixClientManagerError): MatrixClientManagerError {
  const { code, message, errcode, status, retryAfterMs, userId, roomId, cause } = error;
  const remedy = 'the file came as a stream, which cannot be read twice: call again with a new one, or with a buffer';
  const context = { errcode, status, retryAfterMs, userId, roomId, cause };
  return new MatrixClientManagerError(code, `${message}; ${remedy}`, context);
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
