import { fetchTransport } from '../../src/http/fetch-transport.js';
import type { OpenTransport, Fetch } from '../../src/core/ports/transport.js';

/** A request as a scripted fetch saw it. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly authorization: string | null;
  readonly body: unknown;
  readonly signal: AbortSignal;
}

type Answer = Response | Error | ((request: SeenRequest) => Response | Promise<Response>);

/** A fetch that gives one answer after the other, and fails loudly when it has none left. */
export class ScriptedFetch {
  readonly requests: SeenRequest[] = [];
  readonly #answers: Answer[];
  /** A Request that is collected no longer aborts its signal. */
  readonly #kept: unknown[] = [];

  constructor(...answers: Answer[]) {
    this.#answers = answers;
  }

  /** The same, as what carries requests. */
  get connections(): OpenTransport {
    return fetchTransport(this.fetch).open();
  }

  readonly fetch: Fetch = async (input, init) => {
    const request = new Request(input, init);
    this.#kept.push(input, request);
    const text = await request.clone().text();
    const seen: SeenRequest = {
      method: request.method,
      url: request.url,
      authorization: request.headers.get('authorization'),
      body: text === '' ? undefined : JSON.parse(text),
      signal: request.signal,
    };
    this.requests.push(seen);
    const answer = this.#answers.shift();
    if (answer === undefined) throw new Error(`no answer is scripted for ${request.method} ${request.url}`);
    if (answer instanceof Error) throw answer;
    return typeof answer === 'function' ? answer(seen) : answer;
  };
}

export function json(body: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json', ...headers } });
}

export function matrixError(status: number, errcode: string, error = 'no', extra: object = {}): Response {
  return json({ errcode, error, ...extra }, status);
}

/** The error with which the global fetch rejects when a connection fails. */
export function fetchFailed(code: string, syscall = 'connect'): TypeError {
  const cause = Object.assign(new Error(`${syscall} ${code} 127.0.0.1:1`), { code, syscall });
  return new TypeError('fetch failed', { cause });
}

/** An answer that never comes; it ends with the request's signal, as the global fetch does. */
export function hang({ signal }: SeenRequest): Promise<Response> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** An answer that never comes, from a fetch that knows no signals. */
export function hangForEver(): Promise<Response> {
  return new Promise(() => {});
}

/** An answer whose headers come, and half of its body. */
export function halfBody(): Response {
  const body = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode('{"half":')),
  });
  return new Response(body, { status: 200 });
}
