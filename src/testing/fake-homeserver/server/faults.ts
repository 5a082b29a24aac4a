import type { Clock } from '../../../core/clock.js';
import { delay } from '../../../core/abort.js';
import { ConnectionDropped } from './connection-dropped.js';
import { CutResponse } from './cut-response.js';
import type { FaultMatch } from './fault-match.js';
import { FaultMatcher } from './fault-match.js';
import type { ReceivedRequest } from './received-request.js';

const WITHOUT_BODY = new Set([204, 205, 304]);

type Answer = () => Promise<Response>;
type Fault = (request: ReceivedRequest, answer: Answer) => Promise<Response>;

/** Ends the fault that the call began. */
export type Disposer = () => void;

/**
 * What can go wrong between a client and its homeserver. Every method returns a disposer. Faults are tried in the
 * order in which they were set; a latency lets later ones follow, the others answer in the homeserver's place.
 */
export class Faults {
  readonly #clock: Clock;
  readonly #assertEndpoint: (endpoint: string) => void;
  readonly #faults = new Set<{ matcher: FaultMatcher; fault: Fault }>();

  /** @param assertEndpoint - throws when no endpoint goes by that name */
  constructor(clock: Clock, assertEndpoint: (endpoint: string) => void) {
    this.#clock = clock;
    this.#assertEndpoint = assertEndpoint;
  }

  /** Answers later, by `ms` on the homeserver's clock. */
  latency(match: FaultMatch, ms: number): Disposer {
    return this.#add(match, async ({ signal }, answer) => {
      await delay(this.#clock, ms, signal, 'a delayed answer');
      return answer();
    });
  }

  /** Answers 429. @param options - whether the wait stands in the `Retry-After` header and in the body; both by default */
  rateLimit(match: FaultMatch, options: { retryAfterMs: number; header?: boolean; body?: boolean }): Disposer {
    const { retryAfterMs, header = true, body = true } = options;
    return this.status(match, {
      status: 429,
      headers: header ? { 'Retry-After': String(Math.ceil(retryAfterMs / 1000)) } : {},
      body: {
        errcode: 'M_LIMIT_EXCEEDED',
        error: 'Too Many Requests',
        ...(body && { retry_after_ms: retryAfterMs }),
      },
    });
  }

  /** Answers with a status. @param options - `body` goes out as JSON, or as it is when it is a string */
  status(
    match: FaultMatch,
    options: { status: number; body?: unknown; headers?: Record<string, string>; errcode?: string },
  ): Disposer {
    const { status, headers = {}, errcode = 'M_UNKNOWN' } = options;
    const body = options.body ?? { errcode, error: `Fault: ${status}` };
    return this.#add(match, async () => {
      if (WITHOUT_BODY.has(status)) return new Response(null, { status, headers });
      if (typeof body === 'string') return new Response(body, { status, headers });
      return new Response(JSON.stringify(body), {
        status,
        headers: { 'Content-Type': 'application/json', ...headers },
      });
    });
  }

  /** Answers with a web page, as a proxy or a captive portal does. @param status - 200 by default */
  html(match: FaultMatch, status = 200): Disposer {
    const body = '<!DOCTYPE html><html><head><title>Gateway</title></head><body><h1>Gateway</h1></body></html>';
    return this.status(match, { status, body, headers: { 'Content-Type': 'text/html; charset=utf-8' } });
  }

  /** Answers the request, but with only the first half of the body. */
  truncatedJson(match: FaultMatch): Disposer {
    return this.#add(match, async (_request, answer) => {
      const response = await answer();
      const text = await response.text();
      const headers = { 'Content-Type': 'application/json' };
      return new Response(text.slice(0, Math.max(1, text.length >> 1)), { status: response.status, headers });
    });
  }

  /** Answers the request, and ends the connection in the middle of the body. */
  cutBody(match: FaultMatch): Disposer {
    return this.#add(match, async (_request, answer) => {
      const response = await answer();
      return new CutResponse(new Uint8Array(await response.arrayBuffer()), response);
    });
  }

  /** Answers 200 with JSON that is not what the endpoint returns. */
  wrongTypes(match: FaultMatch, body: unknown): Disposer {
    return this.#add(match, async () => Response.json(body));
  }

  /** Answers the request, with what `change` makes of the JSON that it would have answered with. */
  rewrite(match: FaultMatch, change: (body: unknown) => unknown): Disposer {
    return this.#add(match, async (_request, answer) => {
      const response = await answer();
      const body = JSON.stringify(change(await response.json()));
      return new Response(body, { status: response.status, headers: { 'Content-Type': 'application/json' } });
    });
  }

  /** Ends the connection without looking at the request. */
  drop(match: FaultMatch): Disposer {
    return this.#add(match, async () => {
      throw new ConnectionDropped();
    });
  }

  /** Does what the request asks, then ends the connection before the answer. */
  dropAfter(match: FaultMatch): Disposer {
    return this.#add(match, async (_request, answer) => {
      await answer();
      throw new ConnectionDropped();
    });
  }

  /** Never answers: the request ends when the client gives up or the homeserver closes. */
  hang(match: FaultMatch): Disposer {
    return this.#add(match, ({ signal }) => untilAborted(signal));
  }

  /** Answers a sync at once with nothing and the `since` it came with, which makes careless clients spin. */
  sameNextBatch(match: FaultMatch): Disposer {
    return this.#add({ endpoint: '/sync', ...match }, async ({ query }, answer) => {
      const since = query.get('since');
      return since === null ? answer() : Response.json({ next_batch: since });
    });
  }

  /** Sends the client elsewhere. */
  redirect(match: FaultMatch, options: { status?: number; location: string }): Disposer {
    const { status = 302, location } = options;
    return this.#add(match, async () => new Response(null, { status, headers: { Location: location } }));
  }

  /** Ends every fault. */
  clear(): void {
    this.#faults.clear();
  }

  /** Answers a request through the faults that befall it. */
  apply(request: ReceivedRequest, answer: Answer): Promise<Response> {
    const hits = [...this.#faults].filter(({ matcher }) => matcher.matches(request));
    return hits.reduceRight<Answer>(
      (next, { fault }) =>
        () =>
          fault(request, next),
      answer,
    )();
  }

  #add(match: FaultMatch, fault: Fault): Disposer {
    if (match.endpoint !== undefined) this.#assertEndpoint(match.endpoint);
    const entry = { matcher: new FaultMatcher(match), fault };
    this.#faults.add(entry);
    return () => {
      this.#faults.delete(entry);
    };
  }
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const onAbort = (): void => reject(new ConnectionDropped());
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}
