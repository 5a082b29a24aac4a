import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import type { HomeserverHttp } from '../../src/http/homeserver-http.js';
import { loginWithPassword, refreshSession, whoami } from '../../src/http/login.js';
import { secretsOf } from '../../src/http/secrets.js';
import { sdkFetch } from '../../src/http/sdk-fetch.js';
import { Session } from '../../src/http/session.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { advanceUntil } from '../support/advance-until.js';
import { allTextOf } from '../support/all-text-of.js';
import { rejection } from '../support/rejection.js';
import { hang, json, matrixError, ScriptedFetch } from '../support/scripted-fetch.js';
import type { SeenRequest } from '../support/scripted-fetch.js';
import { testHomeserver } from '../support/context.js';

const SECRETS = ['syt_access', 'syr_refresh', 'hunter2-and-more'] as const;
const [accessToken, refreshToken, password] = SECRETS;
const userId = '@alice:hs';
const credentials = { userId, accessToken, refreshToken, deviceId: 'D' };

/** What a homeserver, a proxy or a fetch function can do with what it was sent: repeat it. */
const told = ({ authorization, body, url }: SeenRequest): string => `${authorization} ${JSON.stringify(body)} ${url}`;
const answers: Record<string, (request: SeenRequest) => Response | Promise<Response>> = {
  'a refusal that repeats them': (request) => matrixError(400, 'M_UNKNOWN', told(request)),
  'an errcode that repeats them': (request) => matrixError(400, `M_${told(request)}`, 'x'),
  'a 401 that repeats them': (request) => matrixError(401, 'M_UNKNOWN_TOKEN', told(request)),
  'a 429 that repeats them': (request) => matrixError(429, 'M_LIMIT_EXCEEDED', told(request), { retry_after_ms: 1e9 }),
  'a 500 that repeats them': (request) => matrixError(500, 'M_UNKNOWN', told(request)),
  'a page that repeats them': (request) => new Response(`<html>${told(request)}</html>`),
  'wrong types that repeat them': (request) =>
    json({ access_token: [told(request)], refresh_token: 7, user_id: told(request), done: told(request) }),
  'a redirect that repeats them': () => new Response(null, { status: 307, headers: { Location: 'http://evil.test/' } }),
  'a fetch that throws them': (request) => {
    throw new Error(`could not send ${told(request)}`);
  },
  'a fetch that throws what holds the request': (request) => {
    const deep = Object.assign(new Error('deep'), {
      code: 'EODD',
      request,
      config: { headers: request.authorization },
    });
    throw new TypeError('fetch failed', { cause: new Error(told(request), { cause: deep }) });
  },
  'no answer': hang,
};

describe.each(Object.entries(answers))('%s', (_title, answer) => {
  const clock = new ManualClock();
  const setUp = (): HomeserverHttp => {
    const script = new ScriptedFetch(...Array.from({ length: 20 }, () => answer));
    return testHomeserver({
      homeserverUrl: 'http://hs',
      connections: script.connections,
      clock,
      requestTimeoutMs: 10_000,
    }).http;
  };
  const calls: Record<string, (http: HomeserverHttp) => Promise<unknown>> = {
    'a call with a token': (http) =>
      http.request(v.object({ done: v.boolean() }), {
        operation: 'x',
        method: 'POST',
        path: '/x',
        body: { password, refresh_token: refreshToken },
        session: new Session(userId, credentials),
        repeatable: true,
      }),
    whoami: (http) => whoami(http, new Session(userId, credentials)).then(({ userId }) => Promise.reject(userId)),
    'a login': (http) => loginWithPassword(http, { userId, password, deviceId: 'D', deviceName: 'x' }),
    'a refresh': (http) => refreshSession(http, credentials),
  };

  it.each(Object.entries(calls))('gives no secret away in the error of %s', async (name, call) => {
    if (name === 'whoami' && _title.startsWith('wrong types')) return; // they are right ones there
    const text = allTextOf(await rejection(advanceUntil(clock, call(setUp()), { stepMs: 5_000 })));
    for (const secret of SECRETS) expect(text).not.toContain(secret);
    expect(clock.pendingTimers).toBe(0);
  });

  it('gives no secret away in what the SDK gets to see', async () => {
    const script = new ScriptedFetch(...Array.from({ length: 20 }, () => answer));
    const stop = new AbortController();
    const session = new Session(userId, credentials);
    const fetch = sdkFetch(testHomeserver({ connections: script.connections, clock }), session, stop.signal);
    const headers = { authorization: `Bearer ${accessToken}` };
    const requests = [fetch('http://hs/x', { headers }), fetch('http://hs/x', { headers, method: 'PUT', body: '{}' })];
    const outcomes = Promise.allSettled(requests);
    await clock.advance(200_000);
    stop.abort();
    for (const outcome of await outcomes) {
      if (outcome.status === 'rejected') expect(allTextOf(outcome.reason)).not.toContain(accessToken);
    }
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('what is hidden', () => {
  it('is the token, and the passwords and tokens of a body, that are long enough to be any', () => {
    expect(
      secretsOf('token', { password: 'four', refresh_token: 'refresh', access_token: 'access', user: 'alice' }),
    ).toEqual(['token', 'four', 'refresh', 'access']);
    expect(secretsOf('one', { password: 'two', access_token: 7 })).toEqual([]);
    for (const body of [undefined, null, 'password', 7, []]) expect(secretsOf(undefined, body)).toEqual([]);
  });

  it('is not every letter of a message, though a password be one letter', async () => {
    const script = new ScriptedFetch(matrixError(403, 'M_FORBIDDEN', 'Invalid username or password'));
    const clock = new ManualClock();
    const http = testHomeserver({
      homeserverUrl: 'http://hs',
      connections: script.connections,
      clock,
      requestTimeoutMs: 10_000,
    }).http;
    const login = { userId, password: 'a', deviceId: 'D', deviceName: 'x' };
    expect((await rejection(loginWithPassword(http, login))).message).toContain('Invalid username or password');
  });
});
