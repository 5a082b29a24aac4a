import { getEventListeners } from 'node:events';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import type { HttpRequest } from '../../src/http/homeserver-http.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { advanceUntil } from '../support/advance-until.js';
import { rejection } from '../support/rejection.js';
import {
  fetchFailed,
  halfBody,
  hang,
  hangForEver,
  json,
  matrixError,
  ScriptedFetch,
} from '../support/scripted-fetch.js';
import { testHomeserver } from '../support/context.js';

const done = v.object({ done: v.boolean() });
const get: HttpRequest = {
  operation: 'looking',
  method: 'GET',
  path: '/look',
  repeatable: true,
  userId: '@a:x',
  roomId: '!r:x',
};
const post: HttpRequest = { operation: 'doing', method: 'POST', path: '/do', body: { a: 1 }, repeatable: false };
const once = { retry: { attempts: 1 } };

function setUp(...answers: ConstructorParameters<typeof ScriptedFetch>) {
  const clock = new ManualClock();
  const script = new ScriptedFetch(...answers);
  const http = testHomeserver({
    homeserverUrl: 'http://hs',
    connections: script.connections,
    clock,
    requestTimeoutMs: 10_000,
  }).http;
  return { clock, script, http, requests: script.requests };
}

describe('a request', () => {
  it.each([
    ['GET', 2],
    ['PUT', 2],
    ['DELETE', 2],
    ['POST', 1],
  ] as const)('%s is sent %i times at most after a 5xx response, unless it says otherwise', async (method, times) => {
    const { http, requests, clock } = setUp(matrixError(500, 'M_UNKNOWN'), json({ done: true }));
    const outcome = http.request(done, { operation: 'doing', method, path: '/do', retry: { attempts: 2 } });
    outcome.catch(() => {});
    await clock.advance(10_000);
    expect(requests).toHaveLength(times);
    if (times === 1) await expect(outcome).rejects.toMatchObject({ code: 'HOMESERVER_UNAVAILABLE' });
    else expect(await outcome).toEqual({ done: true });
  });

  it('gives the body as the schema has it, with its status', async () => {
    const { http, requests, clock } = setUp(json({ done: true, more: 1 }, 201));
    const request = {
      ...get,
      method: 'PUT',
      body: { a: 1 },
      query: { x: 1, y: undefined, z: 'a b&c', f: false },
    } as const;
    expect(await http.requestWithStatus(done, request)).toEqual({ status: 201, body: { done: true } });
    expect(requests).toMatchObject([
      { method: 'PUT', url: 'http://hs/look?x=1&z=a%20b%26c&f=false', body: { a: 1 }, authorization: null },
    ]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('that is to end with an outage is sent as well where nobody watches for one', async () => {
    const { http } = setUp(json({ done: true }));
    expect(await http.request(done, { ...get, abortOnOutage: true })).toEqual({ done: true });
  });

  it('goes below the path of the homeserver URL', async () => {
    const script = new ScriptedFetch(json({ done: true }));
    const options = { connections: script.connections, clock: new ManualClock(), requestTimeoutMs: 1 };
    await testHomeserver({ homeserverUrl: 'http://hs/matrix//', ...options }).http.request(done, get);
    expect(script.requests[0]?.url).toBe('http://hs/matrix/look');
  });

  it.each([
    ['<html>hello</html>', 'HTML'],
    ['\n <html>hello</html>', 'HTML'],
    ['', 'incomplete JSON'],
    ['{"done":tr', 'incomplete JSON'],
    ['null', 'the body: expected Object'],
    ['[]', 'an array'],
    ['[{"done":true}]', 'an array'],
    ['{}', 'done: expected "done"'],
    ['{"done":"yes"}', 'done: expected boolean'],
    ['{"done":1}', 'done: expected boolean'],
  ])('with a 200 that says %j fails as INVALID_RESPONSE', async (text, why) => {
    const { http, clock } = setUp(new Response(text));
    const error = await rejection(http.request(done, { ...get, ...once }));
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', status: 200, userId: '@a:x', roomId: '!r:x' });
    expect(error.message).toContain(`looking got a response that is not valid Matrix (${why})`);
    expect(clock.pendingTimers).toBe(0);
  });

  it('takes an array for none of the objects whose parts are all optional, whatever the content type', async () => {
    const lenient = v.looseObject({ limit: v.optional(v.number()) });
    const { http } = setUp(json([]), new Response('{"limit":1}', { headers: { 'content-type': 'text/html' } }));
    expect(await rejection(http.request(lenient, { ...get, ...once }))).toMatchObject({ code: 'INVALID_RESPONSE' });
    expect(await http.request(lenient, { ...get, ...once })).toEqual({ limit: 1 });
  });

  it('may have an array for an answer where the endpoint has one, and anything where nothing is expected', async () => {
    const { http } = setUp(json(['a']), json(['a']));
    expect(await http.request(v.array(v.string()), get)).toEqual(['a']);
    expect(await http.request(v.unknown(), get)).toEqual(['a']);
  });

  it('says which rule a part of the answer breaks, and not what came instead', async () => {
    const { http } = setUp(json({ token: 'x' }));
    const schema = v.object({ token: v.pipe(v.string(), v.minLength(9)) });
    const error = await rejection(http.request(schema, { ...get, ...once }));
    expect(error.message).toContain('(token: min_length)');
  });

  it.each([
    [199, false],
    [200, true],
    [299, true],
    [300, false],
  ])('with the status %i has succeeded: %s', async (status, succeeded) => {
    const { script, clock } = setUp();
    const answer = { status, headers: new Headers(), text: '{"done":true}' };
    const connections = { ...script.connections, send: async () => answer };
    const http = testHomeserver({ homeserverUrl: 'http://hs', connections, clock, requestTimeoutMs: 1 }).http;
    const outcome = await http.request(done, { ...get, ...once }).then(
      () => 'succeeded',
      ({ code }: { code: string }) => code,
    );
    expect(outcome).toBe(succeeded ? 'succeeded' : 'INVALID_RESPONSE');
  });

  it('is repeated after an answer that is not Matrix, and after a failure of the homeserver', async () => {
    const { http, clock, requests } = setUp(
      new Response('<html>'),
      matrixError(502, 'M_UNKNOWN'),
      json({ done: true }),
    );
    await expect(advanceUntil(clock, http.request(done, get))).resolves.toEqual({ done: true });
    expect(requests).toHaveLength(3);
    expect(clock.pendingTimers).toBe(0);
  });

  it('fails with NETWORK, its code and the address when nothing answers', async () => {
    const { http } = setUp(fetchFailed('ENOTFOUND'));
    const error = await rejection(http.request(done, { ...get, ...once }));
    expect(error).toMatchObject({ code: 'NETWORK', cause: { code: 'ENOTFOUND' }, userId: '@a:x', roomId: '!r:x' });
    expect(error.message).toBe('looking failed: no connection to http://hs (ENOTFOUND)');
  });

  it('fails with NETWORK whatever the fetch function throws', async () => {
    for (const thrown of ['text', undefined, null, { an: 'object' }, new Error('odd')]) {
      const clock = new ManualClock();
      const connections = fetchTransport(() => Promise.reject(thrown)).open();
      const http = testHomeserver({ homeserverUrl: 'http://hs', connections, clock, requestTimeoutMs: 1 }).http;
      expect(await rejection(http.request(done, { ...get, ...once }))).toMatchObject({ code: 'NETWORK' });
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it('fails with NETWORK when an error is its own cause', async () => {
    const circle = new Error('circle');
    circle.cause = new Error('inner', { cause: circle });
    const { http } = setUp(circle);
    expect(await rejection(http.request(done, { ...get, ...once }))).toMatchObject({ code: 'NETWORK' });
  });
});

describe('the time limit of a request', () => {
  it.each([
    ['nothing answers', hang],
    ['a fetch that knows no signals gets no answer', hangForEver],
    ['the body stops half-way', halfBody],
  ])('ends it when %s, leaving no timer', async (_title, answer) => {
    const { http, clock, requests } = setUp(answer);
    const failure = rejection(http.request(done, { ...get, ...once }));
    await clock.advance(9_999);
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(1);
    const error = await failure;
    expect(error).toMatchObject({ code: 'TIMEOUT', userId: '@a:x', roomId: '!r:x' });
    expect(error.message).toBe('looking got no response within 10000 ms');
    expect(requests[0]?.signal.aborted).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it('counts anew for each attempt', async () => {
    const { http, clock, requests } = setUp(hang, hang, json({ done: true }));
    const start = clock.now();
    await advanceUntil(clock, http.request(done, get));
    expect(requests).toHaveLength(3);
    expect(clock.now() - start).toBeGreaterThanOrEqual(20_000);
  });

  it('can be its own', async () => {
    const { http, clock } = setUp(hang);
    const failure = rejection(http.request(done, { ...get, ...once, timeoutMs: 5 }));
    await clock.advance(5);
    expect((await failure).message).toContain('within 5 ms');
  });
});

describe('an aborted request', () => {
  it.each([
    ['while nothing answers', hang],
    ['while a fetch that knows no signals waits', hangForEver],
    ['while the body comes', halfBody],
  ])('ends at once %s, leaving no timer and no listener', async (_title, answer) => {
    const { http, clock, requests } = setUp(answer);
    const controller = new AbortController();
    const failure = rejection(http.request(done, { ...get, signal: controller.signal }));
    await clock.advance(0);
    expect(requests).toHaveLength(1);
    const reason = new Error('changed my mind');
    controller.abort(reason);
    expect(await failure).toMatchObject({ code: 'ABORTED', message: 'looking was aborted', cause: reason });
    expect(requests).toHaveLength(1);
    expect(requests[0]?.signal.aborted).toBe(true);
    expect(clock.pendingTimers).toBe(0);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  it('ends at once while it waits for the next attempt', async () => {
    const { http, clock, requests } = setUp(matrixError(500, 'M_UNKNOWN'));
    const controller = new AbortController();
    const failure = rejection(http.request(done, { ...get, signal: controller.signal }));
    await clock.advance(0);
    controller.abort();
    expect(await failure).toMatchObject({ code: 'ABORTED' });
    expect({ requests: requests.length, timers: clock.pendingTimers }).toEqual({ requests: 1, timers: 0 });
  });

  it('is not sent when aborted before', async () => {
    const { http, requests } = setUp();
    expect(await rejection(http.request(done, { ...get, signal: AbortSignal.abort() }))).toMatchObject({
      code: 'ABORTED',
    });
    expect(requests).toEqual([]);
  });

  it('leaves no listener behind when it was not aborted', async () => {
    const { signal } = new AbortController();
    const { http, clock } = setUp(matrixError(500, 'M_UNKNOWN'), json({ done: true }), matrixError(403, 'M_FORBIDDEN'));
    await advanceUntil(clock, http.request(done, { ...get, signal }));
    await rejection(http.request(done, { ...get, signal }));
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });
});

describe('a request that must not be carried out twice', () => {
  it.each([
    ['the connection was lost', fetchFailed('ECONNRESET')],
    ['the way was lost after it was sent', fetchFailed('EHOSTUNREACH', 'read')],
    ['the answer was cut', new Response('{"done":')],
    ['the homeserver failed', matrixError(500, 'M_UNKNOWN')],
    ['the gateway had no answer', new Response('<html>', { status: 504 })],
    ['the fetch function failed', new Error('odd')],
  ])('is not sent again when %s', async (_title, answer) => {
    const { http, clock, requests } = setUp(answer);
    await rejection(http.request(done, post));
    expect({ requests: requests.length, timers: clock.pendingTimers }).toEqual({ requests: 1, timers: 0 });
  });

  it('is not sent again when no answer came in time', async () => {
    const { http, clock, requests } = setUp(hang);
    const failure = rejection(advanceUntil(clock, http.request(done, post)));
    expect(await failure).toMatchObject({ code: 'TIMEOUT' });
    expect(requests).toHaveLength(1);
  });

  it.each([
    ['the homeserver refuses connections', fetchFailed('ECONNREFUSED')],
    ['there is no way to the homeserver', fetchFailed('EHOSTUNREACH', 'connect')],
    ['the name does not resolve', fetchFailed('EAI_AGAIN')],
    ['the homeserver asks to wait', json({ errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 100 }, 429)],
  ])('is sent again when %s', async (_title, answer) => {
    const { http, clock, requests } = setUp(answer, json({ done: true }));
    await expect(advanceUntil(clock, http.request(done, post))).resolves.toEqual({ done: true });
    expect(requests.map(({ body }) => body)).toEqual([{ a: 1 }, { a: 1 }]);
  });

  it('fails with the error itself after the last refusal', async () => {
    const { http, clock, requests } = setUp(...Array.from({ length: 4 }, () => fetchFailed('ECONNREFUSED')));
    expect(await rejection(advanceUntil(clock, http.request(done, post)))).toMatchObject({ code: 'NETWORK' });
    expect(requests).toHaveLength(4);
  });
});
