import { describe, expect, it } from 'vitest';
import type { Credentials } from '../../src/core/credentials.js';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { sdkFetch } from '../../src/http/sdk-fetch.js';
import { Session } from '../../src/http/session.js';
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

const userId = '@alice:hs';
const headers = { authorization: 'Bearer what-the-sdk-believes' };
const credentials = (accessToken: string): Credentials => ({ userId, accessToken, deviceId: 'D' });
const dead = (): Response => matrixError(401, 'M_UNKNOWN_TOKEN', 'Invalid access token passed.');

function setUp(answers: ConstructorParameters<typeof ScriptedFetch>, renew?: () => Promise<Credentials>) {
  const clock = new ManualClock();
  const script = new ScriptedFetch(...answers);
  const stop = new AbortController();
  const state = { renewals: 0 };
  const session = new Session(userId, credentials('token-1'), async () => {
    state.renewals++;
    return renew ? renew() : credentials('token-2');
  });
  const fetch = sdkFetch(testHomeserver({ connections: script.connections, clock }), session, stop.signal);
  const tokens = (): (string | null)[] => script.requests.map(({ authorization }) => authorization);
  return { clock, script, stop, state, fetch, tokens };
}

describe('the fetch of the SDK', () => {
  it("carries the session's token wherever the SDK sends one, and none where it does not", async () => {
    const { fetch, tokens } = setUp([json({}), json({}), json({})]);
    await fetch('http://hs/x', { headers });
    await fetch('http://hs/x', { headers, method: 'PUT', body: '{}' });
    await fetch('http://hs/versions');
    expect(tokens()).toEqual(['Bearer token-1', 'Bearer token-1', null]);
  });

  it('renews a dead token unseen, for what reads and for what writes', async () => {
    const { fetch, tokens, state, script } = setUp([dead(), json({ a: 1 }), json({}), dead(), json({ b: 2 })]);
    expect(await (await fetch('http://hs/x', { headers })).json()).toEqual({ a: 1 });
    await fetch('http://hs/x', { headers });
    expect(await (await fetch('http://hs/x', { headers, method: 'PUT', body: '{"c":3}' })).json()).toEqual({ b: 2 });
    expect(tokens().map((token) => token?.slice(-1))).toEqual(['1', '2', '2', '2', '2']);
    expect(script.requests.at(-1)?.body).toEqual({ c: 3 });
    expect(state.renewals).toBe(2);
  });

  it('renews once for many', async () => {
    const { fetch, state } = setUp([dead(), dead(), dead(), json({}), json({}), json({})]);
    await Promise.all([1, 2, 3].map(() => fetch('http://hs/x', { headers })));
    expect(state.renewals).toBe(1);
  });

  it('shows the SDK a second refusal as it is', async () => {
    const { fetch, state } = setUp([dead(), dead()]);
    const response = await fetch('http://hs/x', { headers });
    expect([response.status, state.renewals]).toEqual([401, 1]);
    expect(await response.json()).toMatchObject({ errcode: 'M_UNKNOWN_TOKEN' });
  });

  it('renews nothing for a 401 that is not about the token, and shows it as it is', async () => {
    const locked = matrixError(401, 'M_USER_LOCKED', 'locked', { soft_logout: true });
    const { fetch, state } = setUp([locked]);
    const response = await fetch('http://hs/x', { headers });
    expect(await response.json()).toMatchObject({ errcode: 'M_USER_LOCKED', soft_logout: true });
    expect([response.status, state.renewals]).toEqual([401, 0]);
  });

  it.each(['USER_DEACTIVATED', 'FORBIDDEN', 'UNKNOWN_TOKEN'] as const)(
    'fails at once, with the error itself, when a renewal fails for good (%s)',
    async (code) => {
      const failure = new MatrixClientManagerError(code, 'x');
      const { fetch, clock, state, script } = setUp([dead(), dead()], () => Promise.reject(failure));
      await expect(fetch('http://hs/x', { headers })).rejects.toBe(failure);
      expect({ ...state, requests: script.requests.length, timers: clock.pendingTimers }).toEqual({
        renewals: 1,
        requests: 1,
        timers: 0,
      });
    },
  );

  it('fails with the error itself, and not with an answer, when nothing can renew the token', async () => {
    const session = new Session(userId, credentials('token-1'));
    const { signal } = new AbortController();
    for (const method of ['GET', 'PUT']) {
      const { connections } = new ScriptedFetch(dead());
      const fetch = sdkFetch(testHomeserver({ connections, clock: new ManualClock() }), session, signal);
      expect(await rejection(fetch('http://hs/x', { headers, method }))).toMatchObject({
        code: 'UNKNOWN_TOKEN',
        userId,
      });
    }
  });

  it('repeats what reads after lost connections, failures and rate limits', async () => {
    const limited = matrixError(429, 'M_LIMIT_EXCEEDED', 'x', { retry_after_ms: 5_000 });
    const { fetch, clock, script } = setUp([
      fetchFailed('ECONNRESET'),
      matrixError(502, 'M_X'),
      limited,
      json({ a: 1 }),
    ]);
    const start = clock.now();
    const response = await advanceUntil(clock, fetch('http://hs/x', { headers }));
    expect(await response.json()).toEqual({ a: 1 });
    expect(script.requests).toHaveLength(4);
    expect(clock.now() - start).toBeGreaterThanOrEqual(5_000);
    expect(clock.pendingTimers).toBe(0);
  });

  it("shows the SDK the homeserver's own words when it gives up", async () => {
    const { fetch, clock } = setUp([1, 2, 3, 4].map((n) => matrixError(503, `M_${n}`)));
    const response = await advanceUntil(clock, fetch('http://hs/x', { headers }));
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ errcode: 'M_4' });
  });

  it('fails with NETWORK when it gives up without an answer', async () => {
    const { fetch, clock, script } = setUp([1, 2, 3, 4].map(() => fetchFailed('ECONNREFUSED')));
    const error = await rejection(advanceUntil(clock, fetch('http://hs/x', { headers })));
    expect(error).toMatchObject({ code: 'NETWORK', cause: { code: 'ECONNREFUSED' } });
    expect(script.requests).toHaveLength(4);
  });

  it('sends once what writes: the SDK and its queue decide on that', async () => {
    const { fetch, script } = setUp([matrixError(500, 'M_UNKNOWN')]);
    const response = await fetch('http://hs/x', { headers, method: 'PUT', body: '{}' });
    expect([response.status, script.requests.length]).toEqual([500, 1]);
  });

  it.each([400, 403, 404])('shows a %d as it is, and once', async (status) => {
    const { fetch, script } = setUp([matrixError(status, 'M_FORBIDDEN')]);
    expect((await fetch('http://hs/x', { headers })).status).toBe(status);
    expect(script.requests).toHaveLength(1);
  });

  it.each([
    ['a web page', () => new Response('<html>', { status: 403, headers: { 'content-type': 'text/html' } })],
    [
      'a web page called JSON',
      () => new Response('<html>', { status: 401, headers: { 'content-type': 'application/json' } }),
    ],
    ['JSON without an errcode', () => json({ message: 'no route' }, 404)],
    ['an empty success', () => new Response('')],
    ['a cut success', () => new Response('{"a":')],
  ])(
    'takes %s for no answer: repeated where it reads, a failed fetch in the end, and no token is renewed',
    async (_what, page) => {
      const accept = { ...headers, accept: 'application/json' };
      const { fetch, clock, script, state } = setUp([page(), json({ a: 1 }), ...Array.from({ length: 5 }, page)]);
      expect(await (await advanceUntil(clock, fetch('http://hs/x', { headers: accept }))).json()).toEqual({ a: 1 });
      const read = await rejection(advanceUntil(clock, fetch('http://hs/x', { headers: accept })));
      const written = await rejection(fetch('http://hs/x', { headers: accept, method: 'PUT', body: '{}' }));
      expect([read.code, written.code]).toEqual(['INVALID_RESPONSE', 'INVALID_RESPONSE']);
      expect([script.requests.length, state.renewals]).toEqual([7, 0]);
    },
  );

  it('shows the SDK that authentication is asked for, which has no errcode', async () => {
    const { fetch, state } = setUp([json({ session: 's', flows: [{ stages: ['m.login.password'] }] }, 401)]);
    const response = await fetch('http://hs/x', { headers, method: 'POST', body: '{}' });
    expect([response.status, state.renewals, await response.json()]).toMatchObject([401, 0, { session: 's' }]);
  });

  it('tells the SDK the content type by which it reads errcodes, and another where there is no errcode', async () => {
    const named = { 'content-type': 'text/plain' };
    const { fetch } = setUp([
      new Response('{"errcode":"M_NOT_FOUND"}', { status: 404, headers: named }),
      new Response('<html>', { status: 502, headers: { 'content-type': 'application/json' } }),
    ]);
    const put = { headers, method: 'PUT', body: '{}' };
    const types = [await fetch('http://hs/x', put), await fetch('http://hs/x', put)].map((response) =>
      response.headers.get('content-type'),
    );
    expect(types).toEqual(['application/json', 'text/html']);
  });

  it('takes the token to no other origin', async () => {
    const away = () => new Response(null, { status: 307, headers: { Location: 'http://evil.test/' } });
    const { fetch, clock, script } = setUp(Array.from({ length: 10 }, away));
    for (const init of [{ headers }, { headers, method: 'PUT', body: '{}' }]) {
      const error = await rejection(advanceUntil(clock, fetch('http://hs/x', init)));
      expect(error).toMatchObject({ code: 'INVALID_RESPONSE' });
    }
    expect(script.requests.every(({ url }) => url === 'http://hs/x')).toBe(true);
  });

  it.each([
    ['nothing answers', hang],
    ['a fetch that knows no signals waits', hangForEver],
    ['it waits for the next attempt', () => matrixError(500, 'M_UNKNOWN')],
    ['a long wait was asked for', () => matrixError(429, 'M_LIMIT_EXCEEDED', 'x', { retry_after_ms: 50_000 })],
  ])('ends with the client, and with the request of the SDK, while %s', async (_title, answer) => {
    for (const method of ['GET', 'PUT']) {
      for (const which of ['client', 'request']) {
        const { fetch, clock, stop } = setUp([answer]);
        const own = new AbortController();
        const body = method === 'PUT' ? { body: '{}' } : {};
        const outcome = fetch('http://hs/x', { headers, method, ...body, signal: own.signal }).catch((error) => error);
        await clock.advance(10);
        (which === 'client' ? stop : own).abort();
        const result = (await outcome) as unknown;
        // a PUT was answered long ago
        if (result instanceof Response) expect(method).toBe('PUT');
        else expect(result).toMatchObject({ name: 'AbortError' });
        expect(clock.pendingTimers).toBe(0);
      }
    }
  });

  it('ends with the client while the token is renewed', async () => {
    const { fetch, clock, stop } = setUp([dead()], () => new Promise(() => {}));
    const outcome = fetch('http://hs/x', { headers });
    outcome.catch(() => {});
    await clock.advance(0);
    stop.abort();
    await expect(outcome).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('sends nothing for a client that was stopped', async () => {
    const { fetch, stop, script } = setUp([]);
    stop.abort();
    await expect(fetch('http://hs/x', { headers })).rejects.toMatchObject({ name: 'AbortError' });
    expect(script.requests).toEqual([]);
  });

  it('leaves the body of a success to the SDK', async () => {
    const { fetch, script } = setUp([halfBody()]);
    expect((await fetch('http://hs/x', { headers })).status).toBe(200);
    expect(script.requests).toHaveLength(1);
  });
});
