import { path, RawHttp, type Json } from './raw-http.js';
import type { Suite } from './test-api.js';
import { logIn } from './test-user.js';

export function userAdministration({ describe, it, expect, world }: Suite): void {
  describe('admin API: creating and changing users', () => {
    it('creates a user with 201, changes it with 200', async () => {
      const w = await world();
      const userId = w.userId(w.newUsername());
      const created = await w.admin.put(w.adminUserUrl(userId), {
        password: 'a password',
        displayname: 'Alice',
        admin: false,
      });
      expect(created).toMatchObject({
        status: 201,
        body: { name: userId, displayname: 'Alice', admin: false, deactivated: false },
      });
      const changed = await w.admin.put(w.adminUserUrl(userId), { displayname: 'Alice B.' });
      expect(changed).toMatchObject({ status: 200, body: { name: userId, displayname: 'Alice B.', admin: false } });
      const login = await logIn(w.target, userId, 'a password');
      expect(login).toMatchObject({ status: 200, body: { user_id: userId } });
    });

    it('creates a user without a password or a display name', async () => {
      const w = await world();
      const username = w.newUsername();
      const answer = await w.admin.put(w.adminUserUrl(w.userId(username)), {});
      // Without a display name, the localpart is used.
      expect(answer).toMatchObject({ status: 201, body: { displayname: username, deactivated: false } });
    });

    it('creates an admin, who may do what admins may', async () => {
      const w = await world();
      const boss = await w.newUser({ admin: true });
      expect(await boss.http.get(w.adminUserUrl(boss.userId))).toMatchObject({ status: 200, body: { admin: true } });
      await w.admin.put(w.adminUserUrl(boss.userId), { admin: false });
      expect((await boss.http.get(w.adminUserUrl(boss.userId))).status).toBe(403);
    });

    it('creates once when ten ask at the same time: one 201, the others 400 M_USER_IN_USE or 200', async () => {
      const w = await world();
      const url = w.adminUserUrl(w.userId(w.newUsername()));
      const answers = await Promise.all(Array.from({ length: 10 }, () => w.admin.put(url, { password: 'same' })));
      expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
      for (const { status, body } of answers) {
        if (status === 400) expect(body['errcode']).toBe('M_USER_IN_USE');
        else expect([200, 201]).toContain(status);
      }
      expect((await w.admin.put(url, {})).status).toBe(200);
    });

    const allowed = ['a=b', 'a/b', 'a+b', 'a.b', 'a-b', 'a_b', '1a', '-', '.'];
    it(`allows in a username what the grammar allows: ${allowed.join('  ')}`, async () => {
      const w = await world();
      for (const name of allowed) {
        const userId = w.userId(name.length === 1 ? `${name}${w.newUsername()}` : `${name}${w.newUsername()}`);
        expect((await w.admin.put(w.adminUserUrl(userId))).status, userId).toBe(201);
      }
    });

    it('refuses other usernames: 400 M_INVALID_USERNAME', async () => {
      const w = await world();
      const names = ['Alice', 'a b', 'ä', 'a#b', 'a%b', '', '_a', '12345', 'a'.repeat(250)];
      for (const name of names) {
        const answer = await w.admin.put(w.adminUserUrl(w.userId(name)), { password: 'x' });
        expect(answer, name).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_USERNAME' } });
      }
    });

    it('refuses what is not a user id: 400 M_INVALID_PARAM', async () => {
      const w = await world();
      for (const userId of ['alice', `alice:${w.target.serverName}`, '@alice']) {
        const answer = await w.admin.put(w.adminUserUrl(userId), {});
        expect(answer, userId).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } });
      }
    });

    it('refuses users of another server, and names and passwords that are too long: 400 M_UNKNOWN', async () => {
      const w = await world();
      const { userId: mine } = await w.newUser();
      const refused: [string, Json][] = [
        ['@alice:elsewhere.test', {}],
        [mine, { displayname: 'x'.repeat(257) }],
        [mine, { password: 'x'.repeat(513) }],
      ];
      for (const [userId, body] of refused) {
        const answer = await w.admin.put(w.adminUserUrl(userId), body);
        expect(answer, userId).toMatchObject({ status: 400, body: { errcode: 'M_UNKNOWN' } });
      }
    });

    it('refuses a body that is not JSON: 400 M_NOT_JSON', async () => {
      const w = await world();
      const answer = await w.admin.postText('/_matrix/client/v3/createRoom', '{"name": ');
      expect(answer).toMatchObject({ status: 400, body: { errcode: 'M_NOT_JSON' } });
    });
  });

  describe('admin API: passwords and sessions', () => {
    it('a new password logs every device out by default', async () => {
      const w = await world();
      const user = await w.newUser();
      await w.admin.put(w.adminUserUrl(user.userId), { password: user.password });
      const after = await user.http.get('/_matrix/client/v3/account/whoami');
      expect(after).toMatchObject({ status: 401, body: { errcode: 'M_UNKNOWN_TOKEN' } });
    });

    it('a new password with logout_devices false keeps every session, and is the new password', async () => {
      const w = await world();
      const user = await w.newUser();
      const put = await w.admin.put(w.adminUserUrl(user.userId), { password: 'another', logout_devices: false });
      expect(put.status).toBe(200);
      expect((await user.http.get('/_matrix/client/v3/account/whoami')).status).toBe(200);
      expect((await logIn(w.target, user.userId, 'another')).status).toBe(200);
      expect((await logIn(w.target, user.userId, user.password)).status).toBe(403);
    });

    it('a change without a password keeps every session', async () => {
      const w = await world();
      const user = await w.newUser();
      await w.admin.put(w.adminUserUrl(user.userId), { displayname: 'Bob', admin: false });
      expect((await user.http.get('/_matrix/client/v3/account/whoami')).status).toBe(200);
    });

    it('a display name set by the admin is the one in the profile and in the rooms', async () => {
      const w = await world();
      const user = await w.newUser();
      const roomId = await user.createRoom();
      const { next_batch: since } = await user.sync();
      await w.admin.put(w.adminUserUrl(user.userId), { displayname: 'Carol' });
      const profile = await user.http.get(path`/_matrix/client/v3/profile/${user.userId}`);
      expect(profile).toMatchObject({ status: 200, body: { displayname: 'Carol' } });
      // Synapse updates the rooms a moment later.
      const member = await user.waitForEvent(roomId, since, (event) => event.state_key === user.userId);
      expect(member.content).toMatchObject({ membership: 'join', displayname: 'Carol' });
    });
  });

  describe('admin API: deactivation', () => {
    it('deactivates: sessions and password die, a repeat is harmless', async () => {
      const w = await world();
      const user = await w.newUser();
      const answer = await w.admin.post(path`/_synapse/admin/v1/deactivate/${user.userId}`, { erase: false });
      expect(answer.status).toBe(200);
      expect((await w.admin.get(w.adminUserUrl(user.userId))).body).toMatchObject({ deactivated: true });
      const whoami = await user.http.get('/_matrix/client/v3/account/whoami');
      expect(whoami).toMatchObject({ status: 401, body: { errcode: 'M_UNKNOWN_TOKEN' } });
      const login = await logIn(w.target, user.userId, user.password);
      expect(login).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } });
      const again = await w.admin.post(path`/_synapse/admin/v1/deactivate/${user.userId}`, {});
      expect(again.status).toBe(200);
    });

    it('leaves a deactivated user deactivated when it is changed; a new password then gives 403 M_USER_DEACTIVATED', async () => {
      const w = await world();
      const user = await w.newUser();
      await w.admin.put(w.adminUserUrl(user.userId), { deactivated: true });
      const changed = await w.admin.put(w.adminUserUrl(user.userId), { displayname: 'Ghost' });
      expect(changed).toMatchObject({ status: 200, body: { deactivated: true } });
      const withPassword = await w.admin.put(w.adminUserUrl(user.userId), { password: 'x', logout_devices: false });
      expect(withPassword).toMatchObject({ status: 200, body: { deactivated: true } });
      const login = await logIn(w.target, user.userId, 'x');
      expect(login).toMatchObject({ status: 403, body: { errcode: 'M_USER_DEACTIVATED' } });
    });

    it('revives with deactivated false and a password', async () => {
      const w = await world();
      const user = await w.newUser();
      await w.admin.put(w.adminUserUrl(user.userId), { deactivated: true });
      const revived = await w.admin.put(w.adminUserUrl(user.userId), { deactivated: false, password: 'new life' });
      expect(revived).toMatchObject({ status: 200, body: { deactivated: false } });
      expect((await logIn(w.target, user.userId, 'new life')).status).toBe(200);
    });

    it('takes a deactivated user out of their rooms', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const roomId = await alice.createRoom([bob]);
      const { next_batch: since } = await alice.sync();
      await w.admin.post(path`/_synapse/admin/v1/deactivate/${bob.userId}`, {});
      const member = await alice.waitForEvent(roomId, since, (event) => event.state_key === bob.userId);
      expect(member.content).toMatchObject({ membership: 'leave' });
    });
  });

  describe('admin API: looking users up', () => {
    it('gets a user; an unknown one is 404 M_NOT_FOUND', async () => {
      const w = await world();
      const user = await w.newUser({ displayname: 'Dora' });
      const found = await w.admin.get(w.adminUserUrl(user.userId));
      expect(found).toMatchObject({
        status: 200,
        body: { name: user.userId, displayname: 'Dora', admin: false, deactivated: false, locked: false },
      });
      const unknown = await w.admin.get(w.adminUserUrl(w.userId(w.newUsername())));
      expect(unknown).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
    });

    it('lists users, filtered by name, page by page', async () => {
      const w = await world();
      const prefix = w.newUsername();
      const userIds = ['a', 'b', 'c'].map((end) => w.userId(prefix + end));
      for (const userId of userIds) await w.admin.put(w.adminUserUrl(userId), { displayname: '' });
      interface UserList {
        users: { name: string }[];
        total: number;
        next_token?: string;
      }
      const list = (query: Record<string, string | number>) =>
        w.admin.get<UserList>('/_synapse/admin/v2/users', { name: prefix, guests: false, ...query });
      const first = await list({ limit: 2 });
      expect(first.status).toBe(200);
      expect(first.body.total).toBe(3);
      expect(first.body.users.map(({ name }) => name)).toEqual(userIds.slice(0, 2));
      const second = await list({ limit: 2, from: first.body.next_token ?? '' });
      expect(second.body.users.map(({ name }) => name)).toEqual(userIds.slice(2));
      expect(second.body.next_token).toBeUndefined();
    });

    it('lists deactivated users only when asked to', async () => {
      const w = await world();
      const username = w.newUsername();
      await w.admin.put(w.adminUserUrl(w.userId(username)), {});
      await w.admin.put(w.adminUserUrl(w.userId(username)), { deactivated: true });
      const list = (query: Record<string, string>) =>
        w.admin.get<{ total: number }>('/_synapse/admin/v2/users', { user_id: username, ...query });
      expect((await list({})).body.total).toBe(0);
      expect((await list({ deactivated: 'true' })).body.total).toBe(1);
    });

    it('tells whether a username is available: taken is 400 M_USER_IN_USE', async () => {
      const w = await world();
      const url = '/_synapse/admin/v1/username_available';
      const username = w.newUsername();
      const free = await w.admin.get(url, { username });
      expect(free).toMatchObject({ status: 200, body: { available: true } });
      await w.admin.put(w.adminUserUrl(w.userId(username)), {});
      const taken = await w.admin.get(url, { username });
      expect(taken).toMatchObject({ status: 400, body: { errcode: 'M_USER_IN_USE' } });
      const invalid = await w.admin.get(url, { username: 'Not Valid' });
      expect(invalid).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_USERNAME' } });
    });
  });

  describe('admin API: who may', () => {
    it('refuses users who are no admins: 403 M_FORBIDDEN', async () => {
      const w = await world();
      const user = await w.newUser();
      const answers = await Promise.all([
        user.http.get(w.adminUserUrl(user.userId)),
        user.http.put(w.adminUserUrl(user.userId), { displayname: 'X' }),
        user.http.get('/_synapse/admin/v2/users'),
        user.http.get(`${w.adminUserUrl(user.userId)}/devices`),
        user.http.get('/_synapse/admin/v1/username_available', { username: 'x' }),
        user.http.post(path`/_synapse/admin/v1/deactivate/${user.userId}`, {}),
      ]);
      for (const answer of answers) expect(answer).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } });
    });

    it('refuses a PUT without a token, and with an unknown one', async () => {
      const w = await world();
      const url = w.adminUserUrl(w.userId(w.newUsername()));
      expect(await w.anonymous.put(url)).toMatchObject({ status: 401, body: { errcode: 'M_MISSING_TOKEN' } });
      const impostor = new RawHttp(w.target, 'syt_unknown');
      expect(await impostor.put(url)).toMatchObject({ status: 401, body: { errcode: 'M_UNKNOWN_TOKEN' } });
    });
  });
}
