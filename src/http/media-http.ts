import { abortedError, orAborted, throwIfAborted, timeoutReason } from '../core/abort.js';
import type { TimerHandle } from '../core/clock.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { openGate } from '../core/request-gate.js';
import { noTelemetry } from '../core/telemetry.js';
import { classOfStatus, failureClass } from './failure-class.js';
import { sameOriginFetch } from './fetch.js';
import type { Fetch } from './fetch.js';
import type { HomeserverHttpOptions } from './homeserver-http.js';
import { networkFailure } from './network-failure.js';
import { readText } from './read-text.js';
import { errorFromAnswer } from './response-error.js';
import type { Subject } from './response-error.js';
import { secretsOf } from './secrets.js';
import type { Session } from './session.js';

export interface MediaRequest extends Subject {
  readonly method: 'GET' | 'POST';
  /** From the origin on, percent-encoded, with the query. */
  readonly path: string;
  readonly session: Session;
  readonly headers?: Readonly<Record<string, string>>;
  /** Makes the body; called again where the request may be repeated. */
  readonly body?: () => AsyncIterable<Uint8Array>;
  /** Whether `body` can be called twice. @default true */
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

  /** Sends once, and again where the token had to be renewed. The caller reads the body to its end, or cancels it. */
  async request(request: MediaRequest): Promise<MediaAnswer> {
    const { session, signal, operation, repeatable = true } = request;
    throwIfAborted(signal, operation);
    const { accessToken } = await orAborted(session.credentials(), signal, operation);
    try {
      return await this.#exchange(request, accessToken);
    } catch (error) {
      if (!isManagerError(error, 'UNKNOWN_TOKEN')) throw error;
      const renewed = await orAborted(session.replace(accessToken, error), signal, operation);
      if (!repeatable) throw error;
      return this.#exchange(request, renewed.accessToken);
    }
  }

  async #exchange(request: MediaRequest, accessToken: string): Promise<MediaAnswer> {
    const { gate = openGate, telemetry = noTelemetry, clock } = this.#options;
    const { method, path, body, headers, operation, userId, roomId, signal } = request;
    const watch = telemetry.request(method, path.replace(/\?.*/, ''));
    const silence = new Silence(this.#options);
    const cancelled = new AbortController();
    const ended = AbortSignal.any([signal, silence.signal, cancelled.signal]);
    const fail = (error: unknown): MatrixClientManagerError => {
      silence.end();
      if (signal.aborted) return abortedError(operation, signal.reason);
      if (silence.signal.aborted) {
        const message = `${operation} was given up: nothing has flowed for ${this.#options.requestTimeoutMs} ms`;
        return new MatrixClientManagerError('TIMEOUT', message, { userId, roomId });
      }
      const own = ownError(error);
      if (own) return own;
      const { reason, cause } = networkFailure(error, secretsOf(accessToken, undefined));
      const message = `${operation} failed: the connection to ${this.#baseUrl} broke (${reason})`;
      return new MatrixClientManagerError('NETWORK', message, { userId, roomId, cause });
    };
    try {
      await gate.enter({ operation, userId, roomId, signal });
      watch.sent();
      silence.broken();
      const outcome = { userId, isSync: false, sentAt: clock.now() };
      const response = await orAborted(
        (body ? this.#fetch : sameOriginFetch(this.#fetch))(this.#baseUrl + path, {
          method,
          redirect: 'error', // else fetch keeps a copy of the body, to be sent again
          headers: { ...headers, authorization: `Bearer ${accessToken}` },
          signal: ended,
          ...(body && { body: ReadableStream.from(silence.watchWriting(body())), duplex: 'half' }),
        }),
        ended,
        operation,
      );
      silence.end();
      gate.record({ ...outcome, failed: response.status >= 500 });
      if (!response.ok) {
        const text = await orAborted(readText(response, MAX_ERROR_BYTES), ended, operation);
        const answer = { status: response.status, headers: response.headers, text };
        throw errorFromAnswer(answer, request, secretsOf(accessToken, undefined));
      }
      watch.ended(classOfStatus(response.status), response.status);
      const flowing = silence.watchReading((response.body ?? ReadableStream.from([])) as AsyncIterable<Uint8Array>);
      const cancel = (): void => {
        silence.end();
        cancelled.abort();
      };
      return { headers: response.headers, body: failingWith(flowing, fail), cancel };
    } catch (error) {
      const failure = fail(error);
      watch.ended(signal.aborted ? 'aborted' : failureClass(failure), failure.status);
      throw failure;
    }
  }
}

/** What the body of a request failed with, which fetch wraps. */
function ownError(error: unknown): MatrixClientManagerError | undefined {
  for (let at = error; at instanceof Error; at = at.cause) if (isManagerError(at)) return at;
  return undefined;
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

/** Fires when nothing has flowed for the time of a request. */
class Silence {
  readonly #controller = new AbortController();
  readonly #options: HomeserverHttpOptions;
  #timer: TimerHandle;

  constructor(options: HomeserverHttpOptions) {
    this.#options = options;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something has flowed, or begins to. */
  broken(): void {
    const { clock, requestTimeoutMs } = this.#options;
    this.end();
    this.#timer = clock.setTimeout(() => this.#controller.abort(timeoutReason()), requestTimeoutMs);
  }

  end(): void {
    this.#options.clock.clearTimeout(this.#timer);
  }

  /** Counts while the network is waited for, and not while whoever reads is busy. */
  async *watchReading(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      this.broken();
      for await (const chunk of body) {
        this.end();
        yield chunk;
        this.broken();
      }
    } finally {
      this.end();
    }
  }

  /** Counts while the network takes what is written, then until the answer; not while the file is read. */
  async *watchWriting(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    this.end();
    for await (const chunk of body) {
      this.broken();
      yield chunk;
      this.end();
    }
    this.broken();
  }
}
