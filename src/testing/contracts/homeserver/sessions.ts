import { path, RawHttp } from './raw-http.js';
import type { Suite } from './test-api.js';
import { logIn, type LoginResponse } from './test-user.js';

const whoami = '/_matrix/client/v3/account/whoami';

export function sessions({ describe, it, expect, world }: Suite): void {
  describe('login', () => {
    it('gives a token and a device of its own each time', async () => {
      const user = await (await world()).newUser();
      const again = await user.logInAgain();
      expect(again.deviceId).not.toBe(user.deviceId);
      expect(again.http.accessToken).not.toBe(user.http.accessToken);
      const who = await again.http.get(whoami);
      expect(who).toMatchObject({ status: 200, body: { user_id: user.userId, device_id: again.deviceId } });
    });

    it('takes the device id and the first device name that it is given', async () => {
      const w = await world();
      const user = await w.newUser();
      const extra = { device_id: 'MY_DEVICE', initial_device_display_name: 'A backend' };
      const login = await logIn(w.target, user.userId, user.password, extra);
      expect(login).toMatchObject({ status: 200, body: { user_id: user.userId, device_id: 'MY_DEVICE' } });
      const device = await user.http.get('/_matrix/client/v3/devices/MY_DEVICE');
      expect(device).toMatchObject({ status: 200, body: { device_id: 'MY_DEVICE', display_name: 'A backend' } });
    });

    it('takes a localpart as well as a user id', async () => {
      const w = await world();
      const user = await w.newUser();
      const login = await logIn(w.target, user.userId.slice(1).split(':')[0] ?? '', user.password);
      expect(login).toMatchObject({ status: 200, body: { user_id: user.userId } });
    });

    it('refuses a wrong password and an unknown user alike: 403 M_FORBIDDEN', async () => {
      const w = await world();
      const user = await w.newUser();
      for (const userId of [user.userId, w.userId(w.newUsername())]) {
        const login = await logIn(w.target, userId, 'wrong');
        expect(login).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } });
      }
    });

    it('leaves the older token of the same device alive', async () => {
      const user = await (await world()).newUser();
      const again = await user.logInAgain(user.deviceId);
      expect(again.deviceId).toBe(user.deviceId);
      expect(again.http.accessToken).not.toBe(user.http.accessToken);
      for (const session of [user, again]) {
        expect(await session.http.get(whoami)).toMatchObject({ status: 200, body: { device_id: user.deviceId } });
      }
    });
  });

  describe('logout', () => {
    it('kills the token and deletes the device', async () => {
      const user = await (await world()).newUser();
      const other = await user.logInAgain();
      expect((await user.http.post('/_matrix/client/v3/logout')).status).toBe(200);
      expect(await user.http.get(whoami)).toMatchObject({
        status: 401,
        body: { errcode: 'M_UNKNOWN_TOKEN', soft_logout: false },
      });
      const device = await other.http.get(path`/_matrix/client/v3/devices/${user.deviceId}`);
      expect(device).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
    });

    it('kills every token of the device', async () => {
      const user = await (await world()).newUser();
      const again = await user.logInAgain(user.deviceId);
      await user.http.post('/_matrix/client/v3/logout');
      expect((await again.http.get(whoami)).status).toBe(401);
    });

    it('everywhere kills every device', async () => {
      const user = await (await world()).newUser();
      const other = await user.logInAgain();
      expect((await user.http.post('/_matrix/client/v3/logout/all')).status).toBe(200);
      for (const session of [user, other]) expect((await session.http.get(whoami)).status).toBe(401);
    });

    it('ends a long poll that waits with the dead token', async () => {
      const user = await (await world()).newUser();
      const { next_batch: since } = await user.sync();
      const poll = user.http.get('/_matrix/client/v3/sync', { since, timeout: 1_000 });
      await user.http.post('/_matrix/client/v3/logout');
      // The waiting poll may still succeed. The next poll has to fail.
      expect([200, 401]).toContain((await poll).status);
      const next = await user.http.get('/_matrix/client/v3/sync', { since, timeout: 1_000 });
      expect(next).toMatchObject({ status: 401, body: { errcode: 'M_UNKNOWN_TOKEN' } });
    });
  });

  describe('refresh tokens', () => {
    it('come with a login that asks for one, and renew the access token on the same device', async () => {
      const w = await world();
      const user = await w.newUser();
      const login = await logIn(w.target, user.userId, user.password, { refresh_token: true });
      expect(login.body.expires_in_ms).toBeGreaterThan(0);
      const refreshed = await w.anonymous.post<LoginResponse>('/_matrix/client/v3/refresh', {
        refresh_token: login.body.refresh_token,
      });
      expect(refreshed.status).toBe(200);
      expect(refreshed.body.expires_in_ms).toBeGreaterThan(0);
      expect(refreshed.body.refresh_token).not.toBe(login.body.refresh_token);
      const renewed = new RawHttp(w.target, refreshed.body.access_token);
      expect((await renewed.get(whoami)).body).toMatchObject({ device_id: login.body.device_id });
    });

    it('work until what they gave is used, then are 403 M_FORBIDDEN', async () => {
      const w = await world();
      const user = await w.newUser();
      const { body: login } = await logIn(w.target, user.userId, user.password, { refresh_token: true });
      const refresh = () =>
        w.anonymous.post<LoginResponse>('/_matrix/client/v3/refresh', { refresh_token: login.refresh_token });
      expect((await refresh()).status).toBe(200);
      const repeat = await refresh();
      expect(repeat.status).toBe(200);
      await new RawHttp(w.target, repeat.body.access_token).get(whoami);
      expect(await refresh()).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } });
    });

    it('that are unknown are 401 M_UNKNOWN_TOKEN', async () => {
      const { anonymous } = await world();
      const answer = await anonymous.post('/_matrix/client/v3/refresh', { refresh_token: 'syr_unknown' });
      expect(answer).toMatchObject({ status: 401, body: { errcode: 'M_UNKNOWN_TOKEN' } });
    });

    it('are not given unasked', async () => {
      const w = await world();
      const user = await w.newUser();
      const { body } = await logIn(w.target, user.userId, user.password);
      expect(body.refresh_token).toBeUndefined();
      expect(body.expires_in_ms).toBeUndefined();
    });
  });
}
