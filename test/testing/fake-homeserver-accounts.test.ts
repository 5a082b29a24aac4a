import { expect, it } from 'vitest';
import { FakeHomeserver, type FakeHomeserverOptions } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { call } from './fake-homeserver.support.js';

function setUp(options: FakeHomeserverOptions = {}) {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock, ...options });
  const alice = fake.createUser({ username: 'alice', password: 'secret' });
  const token = fake.admin.accessToken;
  const logIn = (password = 'secret', extra: object = {}) => {
    const identifier = { type: 'm.id.user', user: 'alice' };
    return call(fake, '/login', { method: 'POST', body: { type: 'm.login.password', identifier, password, ...extra } });
  };
  const whoami = (token: string) => call(fake, '/account/whoami', { token });
  const putUser = (userId: string, body: object) =>
    call(fake, `/_synapse/admin/v2/users/${encodeURIComponent(userId)}`, { method: 'PUT', token, body });
  return { clock, fake, alice, logIn, whoami, putUser };
}

it('has an admin from the start, who can log in', async () => {
  const { fake } = setUp();
  const { userId, password } = fake.admin;
  const login = await call(fake, '/login', {
    method: 'POST',
    body: { type: 'm.login.password', identifier: { type: 'm.id.user', user: userId }, password },
  });
  expect(login.status).toBe(200);
  expect((await call(fake, '/_synapse/admin/v2/users', { token: login.body.access_token })).body.total).toBe(2);
});

it('lets those who create one account at the same time meet M_USER_IN_USE, all but one', async () => {
  const { putUser } = setUp();
  const answers = await Promise.all(Array.from({ length: 10 }, () => putUser('@new:hs.test', { password: 'x' })));
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
  expect(answers.filter(({ body }) => body.errcode === 'M_USER_IN_USE')).toHaveLength(9);
  expect((await putUser('@new:hs.test', {})).status).toBe(200);
});

it('ends sessions with a new password, unless told not to', async () => {
  const { alice, putUser, whoami } = setUp();
  await putUser(alice.userId, { password: 'new', logout_devices: false });
  expect((await whoami(alice.accessToken)).status).toBe(200);
  await putUser(alice.userId, { password: 'newer' });
  expect(await whoami(alice.accessToken)).toMatchObject({ status: 401, body: { errcode: 'M_UNKNOWN_TOKEN' } });
});

it('leaves a deactivated account deactivated until it is reactivated', async () => {
  const { fake, alice, logIn, putUser, whoami } = setUp();
  fake.deactivateUser(alice.userId);
  expect((await whoami(alice.accessToken)).status).toBe(401);
  expect((await putUser(alice.userId, { password: 'secret' })).body.deactivated).toBe(true);
  expect(await logIn()).toMatchObject({ status: 403, body: { errcode: 'M_USER_DEACTIVATED' } });
  expect((await putUser(alice.userId, { deactivated: false, password: 'secret' })).body.deactivated).toBe(false);
  expect((await logIn()).status).toBe(200);
});

it('bounds logins when told to, and lets more pass with time', async () => {
  const { clock, logIn } = setUp({ loginLimit: { burst: 2, retryAfterMs: 60_000 } });
  expect([(await logIn()).status, (await logIn()).status]).toEqual([200, 200]);
  const refused = await logIn();
  expect(refused).toMatchObject({ status: 429, body: { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 60_000 } });
  expect(refused.headers.get('retry-after')).toBe('60');
  await clock.advance(60_000);
  expect((await logIn()).status).toBe(200);
});

it('can do without the Admin API', async () => {
  const { fake } = setUp({ adminApi: false, onUnhandled: 'record' });
  expect(await call(fake, '/_synapse/admin/v2/users', { token: fake.admin.accessToken })).toMatchObject({
    status: 404,
    body: { errcode: 'M_UNRECOGNIZED' },
  });
});

it('kills tokens for good, or so that their devices may log in again', async () => {
  const { fake, alice, whoami } = setUp();
  fake.killTokens(alice.userId, { softLogout: true });
  expect((await whoami(alice.accessToken)).body).toMatchObject({ errcode: 'M_UNKNOWN_TOKEN', soft_logout: true });
  const again = fake.openSession(alice.userId, alice.deviceId);
  expect((await whoami(again.accessToken)).body.device_id).toBe(alice.deviceId);
  fake.killToken(again.accessToken);
  expect((await whoami(again.accessToken)).body).toMatchObject({ errcode: 'M_UNKNOWN_TOKEN', soft_logout: false });
});

it('locks an account and unlocks it with its sessions', async () => {
  const { fake, alice, logIn, whoami } = setUp();
  fake.lockUser(alice.userId);
  const locked = { status: 401, body: { errcode: 'M_USER_LOCKED', soft_logout: true } };
  expect(await whoami(alice.accessToken)).toMatchObject(locked);
  expect(await logIn()).toMatchObject(locked);
  fake.lockUser(alice.userId, false);
  expect((await whoami(alice.accessToken)).status).toBe(200);
});

it('lets access tokens that can be refreshed expire, and spends a refresh token with the use of what it gave', async () => {
  const { clock, fake, logIn, whoami } = setUp();
  const { body: login } = await logIn('secret', { refresh_token: true });
  expect(login.expires_in_ms).toBe(300_000);
  await clock.advance(300_000);
  expect((await whoami(login.access_token)).body).toMatchObject({ errcode: 'M_UNKNOWN_TOKEN', soft_logout: true });
  const refresh = () => call(fake, '/refresh', { method: 'POST', body: { refresh_token: login.refresh_token } });
  const [first, second] = [await refresh(), await refresh()];
  expect((await whoami(first.body.access_token)).status).toBe(401);
  expect((await whoami(second.body.access_token)).status).toBe(200);
  expect(await refresh()).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } });
});

it('keeps the tokens that an admin took out for a user apart from the user’s own', async () => {
  const { fake, alice, whoami } = setUp();
  const path = `/_synapse/admin/v1/users/${alice.userId}/login`;
  const { body } = await call(fake, path, { method: 'POST', token: fake.admin.accessToken, body: {} });
  expect((await whoami(body.access_token)).body).toEqual({ user_id: alice.userId, is_guest: false });
  await call(fake, '/logout/all', { method: 'POST', token: alice.accessToken, body: {} });
  expect((await whoami(body.access_token)).status).toBe(200);
  await call(fake, '/logout/all', { method: 'POST', token: fake.admin.accessToken, body: {} });
  expect((await whoami(body.access_token)).status).toBe(401);
});
