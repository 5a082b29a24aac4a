import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { openGate } from '../../src/core/ports/request-gate.js';
import type { RequestGate } from '../../src/core/ports/request-gate.js';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import type { HttpRequest } from '../../src/http/homeserver-http.js';
import { sdkFetch } from '../../src/http/sdk-fetch.js';
import { Session } from '../../src/http/session.js';
import type { TransportRequest } from '../../src/core/ports/transport.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { advanceUntil } from '../support/advance-until.js';
import { recordedDiagnostics } from '../support/recorded-diagnostics.js';
import { rejection } from '../support/rejection.js';
import { fetchFailed, hang, json, matrixError, ScriptedFetch } from '../support/scripted-fetch.js';
import { testHomeserver } from '../support/context.js';

const userId = '@alice:hs';
const get: HttpRequest = { operation: 'looking', method: 'GET', path: '/look', repeatable: true, userId };
const once = { retry: { attempts: 1 } };

/** What a request tells a gate, the diagnostics and the transport, in order. */
function setUp(answers: ConstructorParameters<typeof ScriptedFetch>, gate: Partial<RequestGate> = {}) {
  const clock = new ManualClock();
  const script = new ScriptedFetch(...answers);
  const told: unknown[] = [];
  const sent: TransportRequest[] = [];
  const listeners = new Set<() => void>();
  const inner = script.connections;
  const options = {
    connections: {
      ...inner,
      send: (request: TransportRequest) => {
        sent.push(request);
        return inner.send(request);
      },
    },
    clock,
    requestTimeoutMs: 10_000,
    gate: {
      ...openGate,
      record: (outcome) => told.push(['recorded', outcome]),
      onceDown: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      ...gate,
    } satisfies RequestGate,
    diagnostics: recordedDiagnostics(told),
  };
  const http = testHomeserver({ homeserverUrl: 'http://hs', ...options }).http;
  const stop = new AbortController();
  const session = new Session(userId, { userId, accessToken: 'token-1', deviceId: 'D' });
  const fetch = sdkFetch(testHomeserver({ ...options }), session, stop.signal);
  return { clock, told, sent, listeners, http, fetch, stop, requests: script.requests };
}

describe('a request of the library', () => {
  it.each([
    [{}, 'call'],
    [{ priority: 'send' }, 'call'],
    [{ priority: 'sync' }, 'poll'],
    [{ admin: true }, 'admin'],
    [{ admin: true, priority: 'sync' }, 'admin'],
    [{ admin: true, lane: 'call' }, 'call'],
  ] as const)('with %j goes in the lane %s', async (part, lane) => {
    const { http, sent } = setUp([json({})]);
    await http.request(v.object({}), { ...get, ...part });
    expect(sent).toMatchObject([{ lane, maxBytes: 268_435_456 }]);
  });

  it('has a content type where it has a body, and escapes what a query cannot hold', async () => {
    const { http, sent } = setUp([json({}), json({})]);
    await http.request(v.object({}), { ...get, query: { 'a&b': 'x=\ud800', none: undefined } });
    await http.request(v.object({}), { ...get, method: 'PUT', body: { a: 1 } });
    expect(sent.map(({ path, headers, body }) => ({ path, headers, body }))).toEqual([
      { path: '/look?a%26b=x%3D%EF%BF%BD', headers: {}, body: undefined },
      { path: '/look', headers: { 'content-type': 'application/json' }, body: '{"a":1}' },
    ]);
  });

  it('tells of its turn, its outcome and its repetition', async () => {
    const { http, told, clock } = setUp([matrixError(502, 'M_X'), json({}, 201)]);
    const sentAt = clock.now();
    await advanceUntil(clock, http.request(v.object({}), { ...get, priority: 'sync' }));
    expect(told).toEqual([
      ['recorded', { userId, isSync: true, sentAt, failed: true }],
      ['ended', 'GET /look', 'transient', 502],
      ['repeated', 'GET', '/look'],
      ['recorded', { userId, isSync: true, sentAt: expect.any(Number), failed: false }],
      ['ended', 'GET /look', 'ok', 201],
    ]);
  });

  it.each([
    [500, true],
    [499, false],
    [404, false],
  ])('counts a %d as a failure of the homeserver: %s', async (status, failed) => {
    const { http, told } = setUp([matrixError(status, 'M_X')]);
    await rejection(http.request(v.object({}), { ...get, ...once }));
    expect(told).toContainEqual(['recorded', { userId, isSync: false, sentAt: expect.any(Number), failed }]);
  });

  it('counts a lost connection as a failure of the homeserver, and one that its caller ended as none', async () => {
    const { http, told, clock } = setUp([fetchFailed('ECONNRESET'), hang]);
    await rejection(http.request(v.object({}), { ...get, ...once }));
    const outcome = { userId, isSync: false, sentAt: clock.now(), failed: true };
    const lost = [
      ['recorded', outcome],
      ['ended', 'GET /look', 'transient', undefined],
    ];
    expect(told).toEqual(lost);
    const controller = new AbortController();
    const failure = rejection(http.request(v.object({}), { ...get, signal: controller.signal }));
    await clock.advance(0);
    controller.abort();
    await failure;
    expect(told).toEqual([...lost, ['ended', 'GET /look', 'aborted', undefined]]);
  });

  it('is not sent when the gate refuses it, or lets it pass after its caller has left', async () => {
    const down = new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', 'down');
    const refused = setUp([], { enter: () => Promise.reject(down) });
    await expect(refused.http.request(v.object({}), get)).rejects.toBe(down);
    expect(refused.told).toEqual([['not sent', 'GET /look', 'unavailable', undefined]]);
    const controller = new AbortController();
    const late = setUp([], { enter: async () => controller.abort() });
    const error = await rejection(late.http.request(v.object({}), { ...get, signal: controller.signal }));
    expect(error).toMatchObject({ code: 'ABORTED' });
    expect(late.requests).toEqual([]);
  });

  it('renews no token for another refusal', async () => {
    const { http, requests } = setUp([matrixError(403, 'M_FORBIDDEN')]);
    let renewals = 0;
    const credentials = { userId, accessToken: 'token-1', deviceId: 'D' };
    const session = new Session(userId, credentials, async () => {
      renewals++;
      return { ...credentials, accessToken: 'token-2' };
    });
    expect(await rejection(http.request(v.object({}), { ...get, session }))).toMatchObject({ code: 'FORBIDDEN' });
    expect([renewals, requests.length]).toEqual([0, 1]);
  });

  it('takes no turn at the gate when its caller has left before', async () => {
    let entered = 0;
    const { http, told } = setUp([], { enter: async () => void entered++ });
    const error = await rejection(http.request(v.object({}), { ...get, signal: AbortSignal.abort() }));
    expect(error).toMatchObject({ code: 'ABORTED' });
    expect([entered, told.length]).toEqual([0, 1]);
  });

  it('that ends with an outage is given up when the homeserver goes down, others are not', async () => {
    const { http, clock, listeners, told, requests } = setUp([hang, json({})]);
    const roomId = '!r:hs';
    const failure = rejection(http.request(v.object({}), { ...get, ...once, roomId, abortOnOutage: true }));
    await clock.advance(0);
    for (const listener of listeners) listener();
    const error = await failure;
    expect(error).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE', userId, roomId });
    expect(error.message).toBe('looking was ended because the homeserver is down');
    expect(requests[0]?.signal.aborted).toBe(true);
    expect({ listeners: listeners.size, timers: clock.pendingTimers }).toEqual({ listeners: 0, timers: 0 });
    expect(told.at(-1)).toEqual(['ended', 'GET /look', 'unavailable', undefined]);
    const other = http.request(v.object({}), get);
    expect(listeners.size).toBe(0);
    await other;
  });

  it('tells of malformed parts where there are some', () => {
    const { http, told } = setUp([]);
    http.countMalformed(0);
    http.countMalformed(2);
    expect(told).toEqual([['malformed', 2]]);
  });
});

describe('a request of the SDK', () => {
  const headers = { authorization: 'Bearer x', accept: 'application/json' };

  it('goes in the lane for calls, whole, with the token of the session', async () => {
    const { fetch, sent } = setUp([json({})]);
    await fetch('http://hs/x?a=b', { method: 'PUT', headers, body: '{"a":1}' });
    const { signal: _signal, ...request } = sent[0] ?? { signal: undefined };
    expect(request).toEqual({
      method: 'PUT',
      origin: 'http://hs',
      path: '/x?a=b',
      headers: { accept: 'application/json', authorization: 'Bearer token-1' },
      body: '{"a":1}',
      lane: 'call',
      maxBytes: 268_435_456,
    });
  });

  it('tells of its turn, its outcome and its repetition', async () => {
    const { fetch, told, clock } = setUp([matrixError(500, 'M_X'), json({}, 201)]);
    const sentAt = clock.now();
    await advanceUntil(clock, fetch('http://hs/x?secret=1', { headers }));
    expect(told).toEqual([
      ['recorded', { userId, isSync: false, sentAt, failed: true }],
      ['ended', 'GET /x', 'transient', 500],
      ['repeated', 'GET', '/x'],
      ['recorded', { userId, isSync: false, sentAt: expect.any(Number), failed: false }],
      ['ended', 'GET /x', 'ok', 201],
    ]);
  });

  it('counts a lost connection as a failure, and one that ended with the client as none', async () => {
    const { fetch, told, clock, stop } = setUp([fetchFailed('ECONNRESET'), hang]);
    const put = { method: 'PUT', headers, body: '{}' };
    const error = await rejection(fetch('http://hs/x', put));
    expect(error).toMatchObject({ code: 'NETWORK', userId });
    expect(error.message).toBe('a request of the client failed: the connection to http://hs broke (ECONNRESET)');
    const outcome = { userId, isSync: false, sentAt: clock.now(), failed: true };
    const lost = [
      ['recorded', outcome],
      ['ended', 'PUT /x', 'transient', undefined],
    ];
    expect(told).toEqual(lost);
    const ending = fetch('http://hs/x', put);
    ending.catch(() => {});
    await clock.advance(0);
    stop.abort();
    await expect(ending).rejects.toMatchObject({ name: 'AbortError' });
    expect(told).toEqual([...lost, ['ended', 'PUT /x', 'aborted', undefined]]);
  });

  it('ends with the time limit', async () => {
    const { fetch, clock } = setUp([hang]);
    const failure = rejection(fetch('http://hs/x', { method: 'PUT', headers, body: '{}' }));
    await clock.advance(9_999);
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(1);
    const error = await failure;
    expect(error).toMatchObject({ code: 'TIMEOUT', userId });
    expect(error.message).toBe('a request of the client got no response within 10000 ms');
    expect(clock.pendingTimers).toBe(0);
  });

  it('says at the gate what it is and whose, and ends with the client while it waits there', async () => {
    const passengers: unknown[] = [];
    const { fetch, stop, told, requests } = setUp([], {
      enter: (passenger) => {
        passengers.push(passenger);
        return new Promise((_resolve, reject) => {
          passenger.signal?.addEventListener('abort', () => reject(passenger.signal?.reason));
        });
      },
    });
    const ending = fetch('http://hs/x', { method: 'PUT', headers, body: '{}' });
    ending.catch(() => {});
    await new ManualClock().advance(0);
    stop.abort();
    await expect(ending).rejects.toMatchObject({ name: 'AbortError' });
    expect(passengers).toEqual([{ operation: 'a request of the client', userId, signal: expect.any(AbortSignal) }]);
    expect(requests).toEqual([]);
    expect(told).toEqual([['not sent', 'PUT /x', 'aborted', undefined]]);
  });

  it('that uploads may take as long as it needs, but not its answer', async () => {
    const arrived = Promise.withResolvers<Response>();
    const cut = new Response(new ReadableStream(), { headers: { 'content-type': 'application/json' } });
    const { fetch, clock } = setUp([() => arrived.promise]);
    const body = new TextEncoder().encode('{}');
    const failure = rejection(fetch('http://hs/upload', { method: 'POST', headers, body }));
    await clock.advance(3_600_000);
    expect(clock.pendingTimers).toBe(0);
    arrived.resolve(cut);
    await clock.advance(9_999);
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(1);
    expect(await failure).toMatchObject({ code: 'TIMEOUT' });
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([204, 205])('with the answer %d has no body', async (status) => {
    const { fetch } = setUp([new Response(null, { status }), new Response(null, { status })]);
    const read = await fetch('http://hs/x', { headers });
    const streamed = await fetch('http://hs/x', {});
    expect([read.status, read.body, streamed.status, streamed.body]).toEqual([status, null, status, null]);
  });
});
