import { describe, expect, it } from 'vitest';
import type { Credentials } from '../../src/core/credentials.js';
import { loginWithPassword, refreshSession, whoami } from '../../src/http/login.js';
import { alice, httpOnScript } from '../messages/support/http-on-script.js';
import { advanceUntil } from '../support/advance-until.js';
import { rejection } from '../support/rejection.js';
import { fetchFailed, json, matrixError } from '../support/scripted-fetch.js';

const login = { userId: alice, password: 'hunter2', deviceName: 'Backend' };
const answer = { user_id: alice, access_token: 'syt_new', device_id: 'NEW' };
const dead: Credentials = { userId: alice, accessToken: 'syt_old', deviceId: 'OLD', refreshToken: 'syr_old' };

/** What cannot stand in a header, or is no token at all. */
const badTokens = ['', 'with space', 'ends\n', ' syt', 'sytü', null, 7, undefined];

describe('a password login', () => {
  it('sends the password, the device and its name, without a token, ahead of other calls', async () => {
    const { http, asked, requests } = httpOnScript([json(answer)]);
    const { signal } = new AbortController();
    expect(await loginWithPassword(http, { ...login, deviceId: 'WISH', signal })).toStrictEqual({
      userId: alice,
      accessToken: 'syt_new',
      deviceId: 'NEW',
    });
    expect(requests).toMatchObject([
      { method: 'POST', url: 'https://hs.test/_matrix/client/v3/login', authorization: null },
    ]);
    expect(requests[0]?.body).toEqual({
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: alice },
      password: 'hunter2',
      device_id: 'WISH',
      initial_device_display_name: 'Backend',
    });
    expect(asked).toMatchObject([{ priority: 'send', repeatable: true, signal }]);
  });

  it('names no device where none is wished for, and is not repeated after a lost answer then', async () => {
    const { http, clock, requests } = httpOnScript([fetchFailed('ECONNRESET', 'read')]);
    const error = await rejection(loginWithPassword(http, login));
    expect(error).toMatchObject({ code: 'NETWORK', userId: alice });
    expect(error.message).toContain(`logging in ${alice} failed`);
    expect(requests).toHaveLength(1);
    expect(requests[0]?.body).not.toHaveProperty('device_id');
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    ['a refresh token', 'syr_new', { refreshToken: 'syr_new' }],
    ['null', null, {}],
    ['a number', 7, {}],
  ])('takes %s for the refresh token as what it is', async (_title, refresh, kept) => {
    const { http } = httpOnScript([json({ ...answer, refresh_token: refresh })]);
    expect(await loginWithPassword(http, login)).toStrictEqual({
      userId: alice,
      accessToken: 'syt_new',
      deviceId: 'NEW',
      ...kept,
    });
  });

  it.each([
    ...badTokens.map((token) => ({ access_token: token })),
    { device_id: '' },
    { device_id: 7 },
    { device_id: undefined },
    { user_id: 7 },
    { user_id: undefined },
  ])('with the answer %j fails as INVALID_RESPONSE', async (part) => {
    const { http } = httpOnScript([json({ ...answer, ...part })]);
    expect(await rejection(loginWithPassword(http, login))).toMatchObject({ code: 'INVALID_RESPONSE', userId: alice });
  });
});

describe('the refresh of a session', () => {
  it('trades the refresh token for new tokens of the same device', async () => {
    const { http, asked, requests } = httpOnScript([json({ access_token: 'syt_new', refresh_token: 'syr_new' })]);
    const { signal } = new AbortController();
    expect(await refreshSession(http, dead, signal)).toStrictEqual({
      userId: alice,
      accessToken: 'syt_new',
      deviceId: 'OLD',
      refreshToken: 'syr_new',
    });
    expect(requests).toMatchObject([
      { method: 'POST', url: 'https://hs.test/_matrix/client/v3/refresh', authorization: null },
    ]);
    expect(requests[0]?.body).toEqual({ refresh_token: 'syr_old' });
    expect(asked[0]?.signal).toBe(signal);
  });

  it.each([undefined, null, 7])('keeps the refresh token when the answer has %j for one', async (refresh) => {
    const { http } = httpOnScript([json({ access_token: 'syt_new', refresh_token: refresh })]);
    expect(await refreshSession(http, dead)).toStrictEqual({ ...dead, accessToken: 'syt_new' });
  });

  it('makes up no refresh token where there was none', async () => {
    const { http } = httpOnScript([json({ access_token: 'syt_new' })]);
    const without = { userId: alice, accessToken: 'syt_old', deviceId: 'OLD' };
    expect(await refreshSession(http, without)).toStrictEqual({ ...without, accessToken: 'syt_new' });
  });

  it('is not repeated after a lost answer: the refresh token may be used up', async () => {
    const { http, clock, requests } = httpOnScript([fetchFailed('ECONNRESET', 'read')]);
    const error = await rejection(refreshSession(http, dead));
    expect(error).toMatchObject({ code: 'NETWORK', userId: alice });
    expect(error.message).toContain(`refreshing the session of ${alice} failed`);
    expect({ requests: requests.length, timers: clock.pendingTimers }).toEqual({ requests: 1, timers: 0 });
  });

  it.each(badTokens)('with the access token %j fails as INVALID_RESPONSE', async (token) => {
    const { http } = httpOnScript([json({ access_token: token })]);
    expect(await rejection(refreshSession(http, dead))).toMatchObject({ code: 'INVALID_RESPONSE', userId: alice });
  });
});

describe('whoami', () => {
  it('asks with the token of the session whose it is, and which device it stands for', async () => {
    const { http, asked, requests, session } = httpOnScript([json({ user_id: '@bob:hs.test', device_id: 'D' })]);
    const { signal } = new AbortController();
    expect(await whoami(http, session, signal)).toStrictEqual({ userId: '@bob:hs.test', deviceId: 'D' });
    expect(requests).toMatchObject([
      {
        method: 'GET',
        url: 'https://hs.test/_matrix/client/v3/account/whoami',
        authorization: `Bearer token-of-${alice}`,
        body: undefined,
      },
    ]);
    expect(asked).toMatchObject([{ signal }]);
  });

  it.each([undefined, null, 7])('knows no device when the answer has %j for one', async (device) => {
    const { http, session } = httpOnScript([json({ user_id: alice, device_id: device })]);
    expect(await whoami(http, session)).toStrictEqual({ userId: alice, deviceId: undefined });
  });

  it('fails as INVALID_RESPONSE when the answer names no user', async () => {
    const { http, session, clock } = httpOnScript(Array.from({ length: 9 }, () => json({ device_id: 'D' })));
    const failure = rejection(advanceUntil(clock, whoami(http, session), { stepMs: 60_000 }));
    expect(await failure).toMatchObject({ code: 'INVALID_RESPONSE', userId: alice });
  });

  it('says what it was doing when it is refused', async () => {
    const { http, session } = httpOnScript([matrixError(403, 'M_FORBIDDEN')]);
    const error = await rejection(whoami(http, session));
    expect(error).toMatchObject({ code: 'FORBIDDEN', userId: alice });
    expect(error.message).toContain(`checking the session of ${alice}`);
  });
});
