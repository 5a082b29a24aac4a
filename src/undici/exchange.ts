import type { Dispatcher } from 'undici';
import { MAX_ERROR_BYTES, tooLarge } from '../http/read-text.js';
import type { TransportRequest, HttpHeaders } from '../core/ports/transport.js';

/** A response with its body still compressed. */
export interface RawResponse {
  readonly status: number;
  readonly headers: RawHeaders;
  readonly body: Buffer;
}

type RawHeaders = NonNullable<Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>[2]>;

/**
 * Sends one request and reads the complete response. Implements undici's handler directly, because undici's streams would
 * add half the cost of the request.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly response: Promise<RawResponse>;
  readonly #request: TransportRequest;
  readonly #resolve: (answer: RawResponse) => void;
  readonly #reject: (error: unknown) => void;
  readonly #chunks: Buffer[] = [];
  readonly #onAbort = (): void => this.#fail(this.#request.signal.reason);
  #controller: Dispatcher.DispatchController | undefined;
  #isFinished = false;
  #bytes = 0;
  #status = 0;
  #headers: RawHeaders = {};

  constructor(request: TransportRequest) {
    this.#request = request;
    const { promise, resolve, reject } = Promise.withResolvers<RawResponse>();
    this.response = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    const { signal } = request;
    if (signal.aborted) this.#onAbort();
    else signal.addEventListener('abort', this.#onAbort);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#isFinished) controller.abort(new Error('aborted before it was sent'));
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: RawHeaders): void {
    if (status < 200) return; // informational: the final response follows
    this.#status = status;
    this.#headers = headers;
    if (isSuccess(status) && Number(headers['content-length']) > this.#request.maxBytes)
      this.#fail(tooLarge(this.#request.maxBytes));
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.byteLength;
    const { maxBytes } = this.#request;
    if (isSuccess(this.#status) && this.#bytes > maxBytes) return this.#fail(tooLarge(maxBytes));
    this.#chunks.push(chunk);
    if (isSuccess(this.#status) || this.#bytes < MAX_ERROR_BYTES) return;
    this.onResponseEnd(); // the beginning of an error response suffices
    this.#controller?.abort(new Error('the rest of the error response is not needed'));
  }

  onResponseEnd(): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.#stopListening();
    const [first, ...more] = this.#chunks;
    const body = first && more.length === 0 ? first : Buffer.concat(this.#chunks);
    this.#resolve({ status: this.#status, headers: this.#headers, body });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: unknown): void {
    if (this.#status === 0 || isSuccess(this.#status)) this.#fail(error);
    else this.onResponseEnd(); // an incomplete error response suffices
  }

  /** Rejects immediately, even while the request waits in undici's queue. */
  #fail(error: unknown): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.#stopListening();
    this.#reject(error);
    this.#controller?.abort(new Error('no longer wanted'));
  }

  #stopListening(): void {
    this.#request.signal.removeEventListener('abort', this.#onAbort);
  }
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

/** Wraps the headers object of undici, whose names are lower-case. */
export class PlainHeaders implements HttpHeaders {
  readonly #values: Readonly<Record<string, string | string[] | undefined>>;

  constructor(values: Readonly<Record<string, string | string[] | undefined>>) {
    this.#values = values;
  }

  get(name: string): string | null {
    const key = name.toLowerCase();
    if (!Object.hasOwn(this.#values, key)) return null;
    const value = this.#values[key];
    return Array.isArray(value) ? value.join(', ') : (value ?? null);
  }

  *[Symbol.iterator](): Iterator<[string, string]> {
    for (const name of Object.keys(this.#values)) yield [name, this.get(name) ?? ''];
  }
}
