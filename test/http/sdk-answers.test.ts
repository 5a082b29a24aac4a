import { MatrixError } from 'matrix-js-sdk';
import { describe, expect, it } from 'vitest';
import { openGate } from '../../src/core/ports/request-gate.js';
import type { RequestOutcome } from '../../src/core/ports/request-gate.js';
import { sdkFetch } from '../../src/http/sdk-fetch.js';
import type { Limits } from '../../src/core/context.js';
import { Session } from '../../src/http/session.js';
import type { HttpResponse, Fetch, OpenTransport, TransportRequest } from '../../src/core/ports/transport.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { advanceUntil } from '../support/advance-until.js';
import { rejection } from '../support/rejection.js';
import { testHomeserver } from '../support/context.js';

const userId = '@alice:hs';
const authorization = 'Bearer what-the-sdk-believes';
const headers = { authorization, accept: 'application/json' };
const asJson = { 'content-type': 'application/json' };
const put = { method: 'PUT', headers, body: '{}' };

/** A transport that answers what it is told: by `send` what is read to its end, by `fetch` what flows. */
function setUp(
  { answer, response }: { answer?: () => Partial<HttpResponse>; response?: () => Response },
  options: Partial<Limits & { clock: ManualClock; connections: OpenTransport; session: Session }> = {},
) {
  const clock = new ManualClock();
  const sent: TransportRequest[] = [];
  const fetched: { readonly headers: Headers; readonly text: string }[] = [];
  const outcomes: RequestOutcome[] = [];
  const { session = new Session(userId, { userId, accessToken: 'token-1', deviceId: 'D' }), ...context } = options;
  const fetch: Fetch = async (input, init) => {
    const request = new Request(input, init);
    fetched.push({ headers: request.headers, text: await request.text() });
    return response?.() ?? Response.json({});
  };
  const stop = new AbortController();
  const viaSdk = sdkFetch(
    testHomeserver({
      connections: {
        fetch,
        send: async (request) => {
          sent.push(request);
          return { status: 200, headers: new Headers(), text: '{}', ...answer?.() };
        },
        close: async () => {},
      },
      clock,
      gate: { ...openGate, record: (outcome) => void outcomes.push(outcome) },
      ...context,
    }),
    session,
    stop.signal,
  );
  return { clock, sent, fetched, outcomes, viaSdk, stop };
}

describe('a request of the SDK', () => {
  it.each([
    ['asks for JSON', 'http://hs/x', { headers }],
    ['asks for JSON among others', 'http://hs/x', { headers: { accept: 'text/html, application/json;q=0.9' } }],
    ['writes JSON', new URL('http://hs/x'), put],
    ['writes nothing', 'http://hs/x', { method: 'POST', headers, body: null }],
  ] satisfies [string, string | URL, RequestInit][])('that %s is read to its end', async (_title, input, init) => {
    const { viaSdk, sent, fetched } = setUp({});
    expect(await (await viaSdk(input, init)).json()).toEqual({});
    expect([sent.length, fetched.length]).toEqual([1, 0]);
  });

  it.each([
    ['asks for no JSON', () => ['http://hs/x', { headers: { authorization, accept: 'image/png' } }] as const],
    ['asks for nothing', () => ['http://hs/x', { headers: { authorization } }] as const],
    ['uploads a file', () => ['http://hs/x', { method: 'POST', headers, body: new Blob(['x']) }] as const],
    ['is a Request', () => [new Request('http://hs/x', { headers }), {}] as const],
  ])('that %s flows', async (_title, given) => {
    const { viaSdk, sent, fetched } = setUp({});
    const [input, init] = given();
    expect((await viaSdk(input, init)).status).toBe(200);
    expect([sent.length, fetched.length]).toEqual([0, 1]);
  });

  it('carries the token of the session, also where it flows', async () => {
    const { viaSdk, fetched } = setUp({});
    await viaSdk('http://hs/media', { headers: { authorization } });
    expect(fetched[0]?.headers.get('authorization')).toBe('Bearer token-1');
  });

  it('has no token and no renewal where the SDK sends none', async () => {
    const refusal = () => ({ status: 401, text: '{"errcode":"M_UNKNOWN_TOKEN"}' });
    const { viaSdk, sent } = setUp({ answer: refusal });
    const response = await viaSdk('http://hs/x', { method: 'PUT', headers: { accept: 'application/json' } });
    expect([response.status, sent.length, sent[0]?.headers]).toEqual([401, 1, { accept: 'application/json' }]);
  });

  it('is not sent for a client that was stopped, with a token or without', async () => {
    const { viaSdk, stop, sent, fetched, outcomes } = setUp({});
    stop.abort(new Error('stopped'));
    for (const init of [put, { headers }, {}, { method: 'PUT', headers: { accept: 'application/json' } }]) {
      await expect(viaSdk('http://hs/x', init)).rejects.toThrow('stopped');
    }
    const both = { ...put, signal: AbortSignal.abort(new Error('not wanted')) };
    await expect(viaSdk('http://hs/x', both)).rejects.toThrow('stopped');
    expect([sent.length, fetched.length, outcomes.length]).toEqual([0, 0, 0]);
  });

  it.each([
    ['writes', put],
    ['reads', { headers }],
  ])('that %s ends with the client while its user logs in', async (_title, init) => {
    const session = new Session(userId, undefined, () => new Promise(() => {}));
    const { viaSdk, stop, sent } = setUp({}, { session });
    const outcome = viaSdk('http://hs/x', init);
    outcome.catch(() => {});
    stop.abort();
    await expect(outcome).rejects.toMatchObject({ name: 'AbortError' });
    expect(sent).toEqual([]);
  });
});

describe('an upload of the SDK', () => {
  const bytes = Buffer.from('four');

  it.each([
    ['a Blob', new Blob([bytes], { type: 'image/png' }), {}, 'image/png'],
    ['a Blob of another type', new Blob([bytes], { type: 'image/png' }), { 'content-type': 'a/b' }, 'a/b'],
    ['a Buffer', bytes, { 'content-type': 'a/b' }, 'a/b'],
    ['an ArrayBuffer', Uint8Array.from(bytes).buffer, {}, null],
  ])('of %s has its length, its type and all of it', async (_title, body, own, type) => {
    const { viaSdk, fetched } = setUp({});
    await viaSdk('http://hs/upload', { method: 'POST', headers: { ...headers, ...own }, body });
    const request = fetched[0];
    expect(request?.text).toBe('four');
    expect([request?.headers.get('content-length'), request?.headers.get('content-type')]).toEqual(['4', type]);
    expect(request?.headers.get('authorization')).toBe('Bearer token-1');
  });

  it('is sent whole again when its token was dead', async () => {
    const texts: string[] = [];
    const fetch: Fetch = async (input, init) => {
      texts.push(await new Request(input, init).text());
      return texts.length === 1 ? Response.json({ errcode: 'M_UNKNOWN_TOKEN' }, { status: 401 }) : Response.json({});
    };
    const session = new Session(userId, { userId, accessToken: 'token-1', deviceId: 'D' }, async () => ({
      userId,
      accessToken: 'token-2',
      deviceId: 'D',
    }));
    const { viaSdk } = setUp({}, { session, connections: { fetch, send: fetch as never, close: async () => {} } });
    expect((await viaSdk('http://hs/upload', { method: 'POST', headers, body: bytes })).status).toBe(200);
    expect(texts).toEqual(['four', 'four']);
  });
});

describe('an answer for the SDK', () => {
  it.each([
    ['[]', true],
    [' {"a":1} \n', true],
    ['', false],
    ['{"a":', false],
    ['1', false],
    ['{]', false],
    ['<html>', false],
  ])('%j is a success: %s', async (text, succeeds) => {
    const { viaSdk } = setUp({ answer: () => ({ status: 201, text }) });
    const outcome = viaSdk('http://hs/x', put);
    if (!succeeds) {
      const error = await rejection(outcome);
      expect(error).toMatchObject({ code: 'INVALID_RESPONSE', status: 201, userId });
      expect(error.message).toContain('a request of the client got a response that is not valid Matrix (no JSON)');
      return;
    }
    const response = await outcome;
    expect([response.status, await response.text()]).toEqual([201, text]);
  });

  it.each([199, 300, 304, 399])('with the status %i is no success', async (status) => {
    const { viaSdk } = setUp({ answer: () => ({ status }) });
    expect(await rejection(viaSdk('http://hs/x', put))).toMatchObject({ code: 'INVALID_RESPONSE', status });
  });

  it.each([
    [599, 599],
    [600, 502],
    [999, 502],
  ])('with the status %i is one of %i, since a Response has no other', async (status, shown) => {
    const { viaSdk, outcomes } = setUp({ answer: () => ({ status, text: '{"errcode":"M_X"}' }) });
    const response = await viaSdk('http://hs/x', put);
    expect([response.status, await response.json()]).toEqual([shown, { errcode: 'M_X' }]);
    expect(outcomes).toMatchObject([{ failed: true }]);
  });

  it('has the headers of the homeserver, but the content type by which the SDK reads an errcode', async () => {
    const given = { 'content-type': 'text/plain', 'retry-after': '7' };
    const { viaSdk } = setUp({
      answer: () => ({ status: 429, headers: new Headers(given), text: '{"errcode":"M_LIMIT_EXCEEDED"}' }),
    });
    const refused = await viaSdk('http://hs/x', put);
    expect(Object.fromEntries(refused.headers)).toEqual({ 'content-type': 'application/json', 'retry-after': '7' });
    const granted = setUp({ answer: () => ({ headers: new Headers(given) }) });
    expect(Object.fromEntries((await granted.viaSdk('http://hs/x', put)).headers)).toEqual(given);
  });

  it.each<[string, Record<string, string>, object, number | null]>([
    ['as it is', { 'retry-after': '7' }, {}, 7_000],
    ['from the body', {}, { retry_after_ms: 6_100 }, 7_000],
    ['not for 23 days', { 'retry-after': '2000000' }, {}, 60_000],
    ['not for 23 days in the body', {}, { retry_after_ms: 2e9 }, 60_000],
    ['not until 2099', { 'retry-after': 'Thu, 01 Jan 2099 00:00:00 GMT', date: new Date(0).toUTCString() }, {}, 60_000],
    ['not at once', { 'retry-after': '0' }, {}, 1_000],
    ['not at once by the body', {}, { retry_after_ms: 0 }, 1_000],
    ['not in the past', {}, { retry_after_ms: -5 }, 1_000],
    ['only if there is one', {}, {}, null],
    ['only if it can be read', { 'retry-after': 'soon' }, {}, null],
  ])('has its Retry-After %s, because the SDK waits for any time', async (_, given, body, waitMs) => {
    const text = JSON.stringify({ errcode: 'M_LIMIT_EXCEEDED', ...body });
    for (const status of [429, 400, 408]) {
      const { viaSdk } = setUp({ answer: () => ({ status, headers: new Headers(given), text }) });
      const { headers } = await viaSdk('http://hs/x', put);
      const seen = new MatrixError(JSON.parse(text), status, undefined, undefined, headers);
      expect([seen.isRateLimitError(), seen.getRetryAfterMs()]).toEqual([true, waitMs]);
    }
  });

  it('that flows is handed on as it is, while what is JSON is read within the limit', async () => {
    const flowing = new Response('more than the limit', { headers: { 'content-type': 'image/png' } });
    const media = setUp({ response: () => flowing }, { maxResponseBytes: 9 });
    expect(await media.viaSdk('http://hs/media', { method: 'POST' })).toBe(flowing);
    for (const [text, fits] of [
      ['{"a":1}', true],
      ['{"a":1234}', false],
    ] as const) {
      const upload = { method: 'POST', headers, body: new Blob(['x']) };
      const { viaSdk } = setUp({ response: () => new Response(text, { headers: asJson }) }, { maxResponseBytes: 9 });
      const outcome = viaSdk('http://hs/upload', upload);
      if (fits) expect(await (await outcome).text()).toBe(text);
      else expect(await rejection(outcome)).toMatchObject({ code: 'INVALID_RESPONSE', userId });
    }
  });

  it('that flows ends with the client, also after it was handed on', async () => {
    const signals: (AbortSignal | null | undefined)[] = [];
    const fetch: Fetch = async (_input, init) => {
      signals.push(init?.signal);
      return new Response('flows');
    };
    const send = () => Promise.reject(new Error('not this way'));
    const { viaSdk, stop } = setUp({}, { connections: { fetch, send, close: async () => {} } });
    await viaSdk('http://hs/media', { headers: { authorization } });
    expect(signals[0]?.aborted).toBe(false);
    stop.abort(new Error('stopped'));
    expect(signals[0]?.reason).toMatchObject({ message: 'stopped' });
  });

  it('that flows and is a refusal is read, and tells the SDK its errcode', async () => {
    const refusal = () =>
      new Response('{"errcode":"M_TOO_LARGE"}', { status: 413, headers: { 'content-type': 'x/y' } });
    const { viaSdk, outcomes } = setUp({ response: refusal });
    const response = await viaSdk('http://hs/upload', { method: 'POST', headers, body: new Blob(['x']) });
    expect([response.status, response.headers.get('content-type')]).toEqual([413, 'application/json']);
    expect(await response.json()).toEqual({ errcode: 'M_TOO_LARGE' });
    expect(outcomes).toMatchObject([{ failed: false }]);
    const page = setUp({ response: () => new Response('<html>', { status: 403 }) });
    const error = await rejection(page.viaSdk('http://hs/upload', { method: 'POST', headers, body: new Blob(['x']) }));
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', status: 403 });
  });
});

describe('the time of an answer for the SDK', () => {
  const trickling = (status: number): Response =>
    new Response(new ReadableStream({ start: (controller) => controller.enqueue(Buffer.from('{')) }), {
      status,
      headers: asJson,
    });

  /** A homeserver that takes a chunk of an upload each time it is told to; `answer` ends it. */
  function slowly(body: Blob | Buffer | FormData) {
    const clock = new ManualClock();
    const taking = Promise.withResolvers<ReadableStreamDefaultReader<Uint8Array>>();
    const answered = Promise.withResolvers<Response>();
    const fetch: Fetch = (input, init) => {
      const { body: stream } = new Request(input, init);
      if (stream) taking.resolve(stream.getReader());
      init?.signal?.addEventListener('abort', () => answered.reject(init.signal?.reason));
      return answered.promise;
    };
    const send = () => Promise.reject(new Error('not this way'));
    const { viaSdk } = setUp({}, { clock, connections: { fetch, send, close: async () => {} } });
    const outcome = viaSdk('http://hs/upload', { method: 'POST', headers, body });
    outcome.catch(() => {});
    return { clock, outcome, take: async () => (await taking.promise).read(), answer: answered.resolve };
  }

  it('does not count while a file flows, and does once the answer begins', async () => {
    const { clock, outcome, take, answer } = slowly(new Blob(Array.from({ length: 9 }, () => 'x'.repeat(65_536))));
    for (let chunks = 0; !(await take()).done; chunks++) {
      expect(chunks).toBeLessThan(100);
      await clock.advance(29_000);
    }
    answer(trickling(200));
    await clock.advance(29_999);
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(1);
    expect(await rejection(outcome)).toMatchObject({
      code: 'TIMEOUT',
      message: 'a request of the client got no response within 30000 ms',
    });
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([0, 1, 5])('is over when a homeserver takes no more of a file (after %i chunks)', async (chunks) => {
    const { clock, outcome, take } = slowly(Buffer.alloc(300_000));
    for (let n = 0; n < chunks; n++) await take();
    await clock.advance(30_000);
    expect(await rejection(outcome)).toMatchObject({ code: 'TIMEOUT' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('begins with the answer where it cannot be seen whether an upload flows', async () => {
    const { clock, outcome, answer } = slowly(new FormData());
    await clock.advance(600_000);
    expect(clock.pendingTimers).toBe(0);
    answer(trickling(200));
    await clock.advance(30_000);
    expect(await rejection(outcome)).toMatchObject({ code: 'TIMEOUT' });
  });

  it('counts for the body of a refusal as well', async () => {
    const { viaSdk, clock } = setUp({ response: () => trickling(404) });
    const failure = rejection(viaSdk('http://hs/media', { method: 'POST' }));
    await clock.advance(30_000);
    expect(await failure).toMatchObject({ code: 'TIMEOUT' });
  });
});

describe('a read of the SDK that is given up', () => {
  it('shows the last failure, and no answer from before it', async () => {
    const answers: (() => Partial<HttpResponse>)[] = [
      () => ({ status: 503, text: '{"errcode":"M_X"}' }),
      () => ({ status: 503, text: '{"errcode":"M_X"}' }),
      () => ({ status: 503, text: '{"errcode":"M_X"}' }),
      () => {
        throw Object.assign(new Error('gone'), { code: 'ECONNRESET' });
      },
    ];
    const { viaSdk, clock, sent, outcomes } = setUp({ answer: () => answers.shift()?.() ?? {} });
    const error = await rejection(advanceUntil(clock, viaSdk('http://hs/x', { headers })));
    expect(error).toMatchObject({ code: 'NETWORK', cause: { code: 'ECONNRESET' } });
    expect([sent.length, outcomes.filter(({ failed }) => failed).length]).toEqual([4, 4]);
  });
});
