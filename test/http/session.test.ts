import { inspect } from 'node:util';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import type { Credentials } from '../../src/core/credentials.js';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import type { HttpRequest } from '../../src/http/homeserver-http.js';
import { Session } from '../../src/http/session.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { advanceUntil } from '../support/advance-until.js';
import { allTextOf } from '../support/all-text-of.js';
import { rejection } from '../support/rejection.js';
import { fetchFailed, json, matrixError } from '../support/scripted-fetch.js';
import type { Fetch } from '../../src/core/ports/transport.js';
import { testHomeserver } from '../support/context.js';

const userId = '@alice:hs';
const credentials = (accessToken: string): Credentials => ({ userId, accessToken, deviceId: 'DEVICE' });
const get: HttpRequest = { operation: 'looking', method: 'GET', path: '/look', repeatable: true };

/** A homeserver that knows one token, and a session that holds another. */
function setUp({ loggedIn = true } = {}) {
  const clock = new ManualClock();
  const state = { valid: 'token-2', renewals: 0, requests: [] as (string | null)[] };
  const fetch: Fetch = async (input, init) => {
    const token = new Request(input, init).headers.get('authorization')?.slice('Bearer '.length) ?? null;
    state.requests.push(token);
    await Promise.resolve();
    return token === state.valid ? json({}) : matrixError(401, 'M_UNKNOWN_TOKEN', 'Invalid access token passed.');
  };
  const connections = fetchTransport(fetch).open();
  const http = testHomeserver({ homeserverUrl: 'http://hs', connections, clock, requestTimeoutMs: 10_000 }).http;
  const sessionWith = (renew?: (dead: Credentials | undefined) => Promise<Credentials>): Session =>
    new Session(userId, loggedIn ? credentials('token-1') : undefined, renew);
  const renewing = sessionWith(async () => {
    state.renewals++;
    await new Promise((resolve) => setImmediate(resolve));
    return credentials(state.valid);
  });
  const look = (session: Session, request: Partial<HttpRequest> = {}) =>
    http.request(v.object({}), { ...get, session, ...request });
  return { clock, state, sessionWith, renewing, look };
}

describe('a session whose token has died', () => {
  it('is renewed once for all the requests that wait, and each is sent again once', async () => {
    const { state, renewing, look } = setUp();
    await Promise.all(Array.from({ length: 20 }, () => look(renewing)));
    expect(state.renewals).toBe(1);
    expect(state.requests.filter((token) => token === 'token-1')).toHaveLength(20);
    expect(state.requests.filter((token) => token === 'token-2')).toHaveLength(20);
    await look(renewing);
    expect(state.renewals).toBe(1);
  });

  it('is renewed again when the new token dies in its turn', async () => {
    const { state, renewing, look } = setUp();
    await look(renewing);
    state.valid = 'token-3';
    await Promise.all([look(renewing), look(renewing)]);
    expect(state.renewals).toBe(2);
  });

  it('is renewed for a request that must not be repeated too: it was refused, not carried out', async () => {
    const { state, renewing, look } = setUp();
    await look(renewing, { method: 'POST', body: {}, repeatable: false });
    expect(state.requests).toEqual(['token-1', 'token-2']);
  });

  it('gives the second refusal to the caller', async () => {
    const { state, sessionWith, look } = setUp();
    let renewals = 0;
    const session = sessionWith(async () => credentials(`token-wrong-${++renewals}`));
    const error = await rejection(look(session));
    expect(error).toMatchObject({ code: 'UNKNOWN_TOKEN', errcode: 'M_UNKNOWN_TOKEN', status: 401 });
    expect({ renewals, requests: state.requests.length }).toEqual({ renewals: 1, requests: 2 });
  });

  it('gives the refusal to the caller when nothing can renew it', async () => {
    const { state, sessionWith, look } = setUp();
    expect(await rejection(look(sessionWith()))).toMatchObject({ code: 'UNKNOWN_TOKEN', errcode: 'M_UNKNOWN_TOKEN' });
    expect(state.requests).toHaveLength(1);
  });

  it('tells everybody of a renewal that failed, and tries anew for the next', async () => {
    const { state, sessionWith, look } = setUp();
    let renewals = 0;
    const session = sessionWith(async () => {
      if (++renewals === 1) throw new MatrixClientManagerError('USER_DEACTIVATED', 'gone');
      return credentials(state.valid);
    });
    const failures = await Promise.all([rejection(look(session)), rejection(look(session))]);
    expect(failures.map(({ code }) => code)).toEqual(['USER_DEACTIVATED', 'USER_DEACTIVATED']);
    expect(renewals).toBe(1);
    await look(session);
    expect(renewals).toBe(2);
  });

  it('is renewed after a renewal that failed for now', async () => {
    const { clock, state, sessionWith, look } = setUp();
    let renewals = 0;
    const session = sessionWith(async () => {
      if (++renewals < 3)
        throw new MatrixClientManagerError('NETWORK', 'x', { cause: fetchFailed('ECONNRESET').cause });
      return credentials(state.valid);
    });
    await advanceUntil(clock, look(session));
    expect(renewals).toBe(3);
  });

  it('does not hold a request whose caller has left', async () => {
    const { clock, sessionWith, look } = setUp();
    const controller = new AbortController();
    const session = sessionWith(() => new Promise(() => {}));
    const failure = rejection(look(session, { signal: controller.signal }));
    await clock.advance(0);
    controller.abort();
    expect(await failure).toMatchObject({ code: 'ABORTED' });
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('a session without a token', () => {
  it('logs in once at its first use, for all who wait', async () => {
    const { state, renewing, look } = setUp({ loggedIn: false });
    await Promise.all([look(renewing), look(renewing), look(renewing)]);
    expect(state).toMatchObject({ renewals: 1, requests: ['token-2', 'token-2', 'token-2'] });
  });

  it('is an error when nothing can log in', async () => {
    const { state, sessionWith, look } = setUp({ loggedIn: false });
    expect(await rejection(look(sessionWith()))).toMatchObject({ code: 'UNKNOWN_TOKEN', userId });
    expect(state.requests).toEqual([]);
  });

  it('does not log in for a request that was aborted before', async () => {
    const { state, renewing, look } = setUp({ loggedIn: false });
    expect(await rejection(look(renewing, { signal: AbortSignal.abort() }))).toMatchObject({ code: 'ABORTED' });
    expect(state.renewals).toBe(0);
  });
});

describe('replace', () => {
  it('takes a token that is in use already instead of a new one', async () => {
    const { renewing, state } = setUp();
    const cause = new MatrixClientManagerError('UNKNOWN_TOKEN', 'x');
    const first = await renewing.replace('token-1', cause);
    expect(await renewing.replace('token-1', cause)).toBe(first);
    expect(state.renewals).toBe(1);
  });
});

describe('the credentials of a session', () => {
  it('are unknown until its first use, which logs in once with no dead ones to go by', async () => {
    const seen: (Credentials | undefined)[] = [];
    const session = new Session(userId, undefined, async (before) => {
      seen.push(before);
      return credentials('token-1');
    });
    expect(session.current).toBeUndefined();
    const [first, second] = await Promise.all([session.credentials(), session.credentials()]);
    expect([first, second, session.current]).toEqual(Array.from({ length: 3 }, () => credentials('token-1')));
    expect(await session.credentials()).toBe(first);
    expect(seen).toEqual([undefined]);
  });

  it('are those it was given, and nothing logs in for them', async () => {
    const given = credentials('token-1');
    const session = new Session(userId, given, () => Promise.reject(new Error('not needed')));
    expect(session.current).toBe(given);
    expect(await session.credentials()).toBe(given);
  });

  it('are given to the renewal when they are dead', async () => {
    const seen: (Credentials | undefined)[] = [];
    const session = new Session(userId, { ...credentials('token-1'), refreshToken: 'r' }, async (dead) => {
      seen.push(dead);
      return credentials('token-2');
    });
    const cause = new MatrixClientManagerError('UNKNOWN_TOKEN', 'x');
    expect(await session.replace('token-1', cause)).toEqual(credentials('token-2'));
    expect(seen).toEqual([{ ...credentials('token-1'), refreshToken: 'r' }]);
  });

  it('are missed by an error that names the user', async () => {
    const error = await rejection(new Session(userId, undefined).credentials());
    expect(error).toMatchObject({ code: 'UNKNOWN_TOKEN', userId });
    expect(error.message).toBe(`there is no access token for ${userId}`);
  });

  it('cannot be replaced where nothing renews, whether there are some or none', async () => {
    const cause = new MatrixClientManagerError('UNKNOWN_TOKEN', 'x');
    for (const given of [credentials('token-1'), undefined]) {
      await expect(new Session(userId, given).replace('token-1', cause)).rejects.toBe(cause);
    }
  });
});

describe('the device that a homeserver names for a token', () => {
  it('is noted beside what is known of the token', () => {
    const session = new Session(userId, { ...credentials('token-1'), refreshToken: 'r' });
    const noted = { userId, accessToken: 'token-1', deviceId: 'NAMED' };
    expect(session.noteDevice('token-1', 'NAMED')).toEqual(noted);
    expect(session.current).toEqual({ ...noted, refreshToken: 'r' });
  });

  it('changes nothing where another token is in use by now, or none', () => {
    const noted = { userId, accessToken: 'token-0', deviceId: 'NAMED' };
    for (const given of [credentials('token-1'), undefined]) {
      const session = new Session(userId, given);
      expect(session.noteDevice('token-0', 'NAMED')).toEqual(noted);
      expect(session.current).toEqual(given);
    }
  });
});

describe('the printed form of a session', () => {
  it('shows whose it is and no token', () => {
    const { renewing } = setUp();
    expect(inspect(renewing)).toBe(`Session(${userId})`);
    expect(allTextOf(renewing)).toContain(userId);
    expect(allTextOf({ deep: { renewing } })).not.toContain('token-1');
  });
});

describe('a token that cannot stand in a header', () => {
  it.each(['syt with space', 'syt_x\n', 'syt\r\nx', 'sytü', '“syt”', ''])('%j is refused unseen', async (token) => {
    const error = await rejection(() => new Session(userId, credentials(token)));
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS', userId });
    expect(error.message).toContain(`expected the access token of ${userId} to consist of visible ASCII characters`);
    if (token !== '') expect(allTextOf(error)).not.toContain(token.trim());
  });

  it('is refused when a renewal brings it', async () => {
    const { sessionWith, look } = setUp();
    expect(await rejection(look(sessionWith(async () => credentials('a\nb'))))).toMatchObject({
      code: 'INVALID_OPTIONS',
    });
  });
});
