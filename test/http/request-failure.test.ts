import { describe, expect, it } from 'vitest';
import * as v from 'valibot';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import type { Fetch } from '../../src/core/ports/transport.js';
import { MediaHttp } from '../../src/http/media-http.js';
import { sdkFetch } from '../../src/http/sdk-fetch.js';
import { Session } from '../../src/http/session.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { advanceUntil } from '../support/advance-until.js';
import { fetchFailed } from '../support/scripted-fetch.js';
import { testHomeserver } from '../support/context.js';

const userId = '@a:x';
const token = 'a-token-of-alice';
const credentials = { userId, deviceId: 'D', accessToken: token };

/** A GET by each of those who send requests; all of them repeat it. */
const senders = {
  HomeserverHttp: (fetch, clock, signal) => {
    const connections = fetchTransport(fetch).open();
    const http = testHomeserver({ homeserverUrl: 'http://hs', connections, clock, requestTimeoutMs: 10_000 }).http;
    const session = new Session(userId, credentials, async () => credentials);
    const request = { operation: 'looking', method: 'GET', path: '/look', repeatable: true, userId, session } as const;
    return http.request(v.unknown(), { ...request, signal });
  },
  MediaHttp: (fetch, clock, signal) => {
    const connections = fetchTransport(fetch).open();
    const media = new MediaHttp(
      testHomeserver({ homeserverUrl: 'http://hs', connections, clock, requestTimeoutMs: 10_000 }),
    );
    const session = new Session(userId, credentials, async () => credentials);
    return media.request({ operation: 'looking', method: 'GET', path: '/look', userId, session, signal });
  },
  'the fetch of the SDK': (fetch, clock, signal) => {
    const connections = fetchTransport(fetch).open();
    const session = new Session(userId, credentials, async () => credentials);
    const send = sdkFetch(testHomeserver({ connections, clock, requestTimeoutMs: 10_000 }), session, signal);
    return send('http://hs/look', { headers: { authorization: 'Bearer x', accept: 'application/json' } });
  },
} satisfies Record<string, (fetch: Fetch, clock: ManualClock, signal: AbortSignal) => Promise<unknown>>;

describe.each(Object.entries(senders))('a request that broke, of %s', (name, send) => {
  const operation = name === 'the fetch of the SDK' ? 'a request of the client' : 'looking';

  async function failing(fetch: Fetch, signal = new AbortController().signal): Promise<MatrixClientManagerError> {
    const clock = new ManualClock();
    let error: unknown;
    try {
      await advanceUntil(clock, send(fetch, clock, signal));
    } catch (thrown) {
      error = thrown;
    }
    expect(clock.pendingTimers).toBe(0);
    return error as MatrixClientManagerError;
  }

  it.each([
    ['refused', 'ECONNREFUSED', 'connect', 'no connection to http://hs'],
    ['not resolved', 'ENOTFOUND', 'getaddrinfo', 'no connection to http://hs'],
    ['reset', 'ECONNRESET', 'read', 'the connection to http://hs broke'],
    ['not trusted', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'connect', 'the connection to http://hs broke'],
  ])('fails with NETWORK when the connection was %s', async (_what, code, syscall, told) => {
    const error = await failing(() => Promise.reject(fetchFailed(code, syscall)));
    expect(error).toMatchObject({ code: 'NETWORK', userId, cause: { code } });
    expect(error.message).toBe(`${operation} failed: ${told} (${code})`);
  });

  it('tells no token that a fetch function throws', async () => {
    const error = await failing(() => Promise.reject(new Error(`cannot send Bearer ${token}`)));
    expect(error).toMatchObject({ code: 'NETWORK', cause: { message: 'cannot send Bearer [hidden]' } });
    expect(error.message).not.toContain(token);
  });

  it('fails with TIMEOUT when no answer comes', async () => {
    const error = await failing(() => new Promise(() => {}));
    expect(error).toMatchObject({ code: 'TIMEOUT', userId });
    expect(error.message).toMatch(new RegExp(`^${operation} .* 10000 ms$`));
  });

  it("keeps the code of the library's own errors, with what was being done", async () => {
    const own = new MatrixClientManagerError('INVALID_RESPONSE', 'too large', { status: 200 });
    const error = await failing(() => Promise.reject(new TypeError('fetch failed', { cause: own })));
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', status: 200, userId });
    expect(error.message).toBe(`${operation} failed: too large`);
  });

  it('ends with its signal, however the connection broke', async () => {
    const leaving = new AbortController();
    const reason = new Error('stopped');
    const fetch: Fetch = async () => {
      leaving.abort(reason);
      throw fetchFailed('ECONNRESET', 'read');
    };
    const error = await failing(fetch, leaving.signal);
    if (name === 'the fetch of the SDK') expect(error).toBe(reason);
    else expect(error).toMatchObject({ code: 'ABORTED', message: 'looking was aborted', cause: reason });
  });
});
