import { describe, expect, it } from 'vitest';
import { memoryStorage } from '../../src/index.js';
import { managerOnFake, USERS } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

const alice = '@alice:hs.test';

describe('provisioning a new user', () => {
  it('makes the account and logs it in, and keeps the session', async () => {
    const { fake, manager, storage, count } = managerOnFake();
    const user = await manager.provisionUser({ username: 'alice', displayName: 'Alice A.' });
    expect(user).toEqual({
      userId: alice,
      accessToken: expect.any(String),
      deviceId: expect.any(String),
      created: true,
    });
    expect(await storage.getCredentials(alice)).toMatchObject({
      accessToken: user.accessToken,
      deviceId: user.deviceId,
    });
    expect([count(USERS, 'PUT'), count('/login')]).toEqual([1, 1]);
    expect(await manager.admin.getUser(alice)).toMatchObject({ displayName: 'Alice A.', admin: false });
    expect(fake.requests.every(({ path }) => !path.includes('register'))).toBe(true);
  });

  it('makes an admin only when told to', async () => {
    const { manager } = managerOnFake();
    await manager.provisionUser({ username: 'root', admin: true });
    await manager.provisionUser({ username: 'user', admin: false });
    expect((await manager.admin.getUser('@root:hs.test'))?.admin).toBe(true);
    expect((await manager.admin.getUser('@user:hs.test'))?.admin).toBe(false);
  });

  it('logs in on the device asked for', async () => {
    const { manager } = managerOnFake();
    expect(await manager.provisionUser({ username: 'alice', deviceId: 'PHONE' })).toMatchObject({ deviceId: 'PHONE' });
  });

  it('gives each account a password of its own, strong, and keeps none', async () => {
    const bodies: string[] = [];
    const { fake, make, storage } = managerOnFake();
    const manager = make({
      fetch: async (input, init) => {
        const request = new Request(input, init);
        if (request.method === 'PUT') bodies.push(await request.clone().text());
        return fake.fetch(request);
      },
    });
    for (const username of ['a', 'b', 'c']) await manager.provisionUser({ username });
    const passwords = bodies.map((body) => (JSON.parse(body) as { password: string }).password);
    expect(new Set(passwords).size).toBe(3);
    for (const password of passwords) expect(password.length).toBeGreaterThanOrEqual(40);
    expect(Object.values((await storage.getCredentials('@a:hs.test')) ?? {})).not.toContain(passwords[0]);
  });

  it('starts a client from what it returns, and from the user id alone', async () => {
    const { manager, soon } = managerOnFake();
    const user = await manager.provisionUser({ username: 'alice' });
    expect(await manager.startClient({ ...user, callbacks: [] })).toMatchObject({
      state: 'live',
      deviceId: user.deviceId,
    });
    await manager.stopClient(alice);
    expect(await soon(manager.startClient({ userId: alice }))).toMatchObject({
      state: 'live',
      deviceId: user.deviceId,
    });
    await manager.shutdown();
  });
});

describe('provisioning a user again', () => {
  it('gives the known session back as it is, with no new login', async () => {
    const { fake, manager, count } = managerOnFake();
    const { created, ...session } = await manager.provisionUser({ username: 'alice' });
    expect(created).toBe(true);
    fake.clearRequests();
    expect(await manager.provisionUser({ username: 'alice' })).toEqual({ ...session, created: false });
    expect(await manager.provisionUser({ username: 'alice', deviceId: session.deviceId })).toMatchObject(session);
    expect([count('/account/whoami'), count(USERS), count('/login')]).toEqual([2, 0, 0]);
  });

  it('logs in anew on the same device when the known session has died', async () => {
    const { fake, manager } = managerOnFake();
    const first = await manager.provisionUser({ username: 'alice' });
    fake.killTokens(alice);
    const second = await manager.provisionUser({ username: 'alice' });
    expect(second).toMatchObject({ deviceId: first.deviceId, created: false });
    expect(second.accessToken).not.toBe(first.accessToken);
  });

  it('logs in anew when another device is asked for', async () => {
    const { manager } = managerOnFake();
    const first = await manager.provisionUser({ username: 'alice' });
    const second = await manager.provisionUser({ username: 'alice', deviceId: 'OTHER' });
    expect(second).toMatchObject({ deviceId: 'OTHER', created: false });
    expect(second.accessToken).not.toBe(first.accessToken);
    expect((await manager.admin.listDevices(alice)).map(({ deviceId }) => deviceId).toSorted()).toEqual(
      [first.deviceId, 'OTHER'].toSorted(),
    );
  });

  it('logs in anew when the stored token turns out to be of another device', async () => {
    const { fake, manager, storage } = managerOnFake();
    const { accessToken } = fake.createUser({ username: 'alice', deviceId: 'REAL' });
    await storage.setCredentials({ userId: alice, accessToken, deviceId: 'STORED' });
    const user = await manager.provisionUser({ username: 'alice' });
    expect(user).toMatchObject({ deviceId: 'STORED', created: false });
    expect(user.accessToken).not.toBe(accessToken);
  });

  it('lets every session of an existing account live', async () => {
    const { fake, manager } = managerOnFake();
    const existing = fake.createUser({ username: 'alice', displayName: 'Before', password: 'their own' });
    const user = await manager.provisionUser({ username: 'alice' });
    expect(user).toMatchObject({ userId: alice, created: false });
    expect(user.deviceId).not.toBe(existing.deviceId);
    const elsewhere = managerOnFake({ homeserverUrl: fake.baseUrl, fetch: fake.fetch }).manager;
    await expect(elsewhere.startClient(existing)).resolves.toMatchObject({ deviceId: existing.deviceId });
    expect(await manager.admin.getUser(alice)).toMatchObject({ displayName: 'Before' });
    await elsewhere.shutdown();
  });

  it('takes no admin right away from an existing account', async () => {
    const { fake, manager } = managerOnFake();
    fake.createUser({ username: 'root', admin: true });
    await manager.provisionUser({ username: 'root' });
    await manager.provisionUser({ username: 'root', admin: false, deviceId: 'X' });
    expect((await manager.admin.getUser('@root:hs.test'))?.admin).toBe(true);
  });
});

describe('provisioning one user from many sides at once', () => {
  it('is one flight in one manager', async () => {
    const { manager, count } = managerOnFake();
    const users = await Promise.all(Array.from({ length: 50 }, () => manager.provisionUser({ username: 'alice' })));
    expect(new Set(users.map(({ accessToken }) => accessToken)).size).toBe(1);
    expect([count(USERS, 'PUT'), count('/login')]).toEqual([1, 1]);
  });

  it('is one flight for the spellings that normalizeUsername maps to one name', async () => {
    const { manager, count } = managerOnFake();
    const names = ['alice', 'Alice', 'ALICE'];
    await Promise.all(names.map((username) => manager.provisionUser({ username, normalizeUsername: true })));
    expect(count(USERS, 'PUT')).toBe(1);
  });

  it('gives everybody the device that they asked for', async () => {
    const { manager } = managerOnFake();
    const devices = ['ONE', 'TWO', undefined, 'ONE', 'THREE'];
    const users = await Promise.all(
      devices.map((deviceId) => manager.provisionUser({ username: 'alice', ...(deviceId && { deviceId }) })),
    );
    expect(users.map(({ deviceId }) => deviceId)).toMatchObject(['ONE', 'TWO', expect.any(String), 'ONE', 'THREE']);
    expect(users[0]?.accessToken).toBe(users[3]?.accessToken);
    expect(users.filter(({ created }) => created).map(({ deviceId }) => deviceId)).toEqual(['ONE', 'ONE']);
  });

  it('works across two managers that know nothing of each other', async () => {
    const { fake, make, soon, count } = managerOnFake();
    const managers = [1, 2].map(() => make({ storage: memoryStorage() }));
    const users = await soon(Promise.all(managers.map((manager) => manager.provisionUser({ username: 'alice' }))));
    expect(users.filter(({ created }) => created)).toHaveLength(1);
    expect(count(USERS, 'PUT')).toBeGreaterThanOrEqual(2);
    for (const [index, manager] of managers.entries()) {
      const { created: _, ...session } = users[index] ?? {};
      await expect(manager.provisionUser({ username: 'alice' })).resolves.toMatchObject(session);
    }
    expect(fake.unhandled).toEqual([]);
  });

  it.each(['M_USER_IN_USE once', 'M_USER_IN_USE nine times'])(
    'puts again when the homeserver says %s',
    async (title) => {
      const { fake, manager, soon, count } = managerOnFake();
      const times = title.endsWith('once') ? 1 : 9;
      fake.faults.status({ endpoint: USERS, times }, { status: 400, errcode: 'M_USER_IN_USE' });
      await expect(soon(manager.provisionUser({ username: 'alice' }))).resolves.toMatchObject({ created: true });
      expect(count(USERS, 'PUT')).toBe(times + 1);
    },
  );

  it('says USER_EXISTS when the homeserver says nothing else', async () => {
    const { clock, fake, manager, soon } = managerOnFake();
    fake.faults.status({ endpoint: USERS }, { status: 400, errcode: 'M_USER_IN_USE' });
    const error = await rejection(soon(manager.provisionUser({ username: 'alice' })));
    expect(error).toMatchObject({ code: 'USER_EXISTS', errcode: 'M_USER_IN_USE', userId: alice });
    expect(clock.pendingTimers).toBe(0);
  });

  it('sets its password again when another process set one before the login', async () => {
    const { fake, manager, soon, count } = managerOnFake();
    fake.faults.status({ endpoint: '/login', times: 2 }, { status: 403, errcode: 'M_FORBIDDEN' });
    await expect(soon(manager.provisionUser({ username: 'alice' }))).resolves.toMatchObject({ created: true });
    expect([count(USERS, 'PUT'), count('/login')]).toEqual([3, 3]);
  });

  it('provisions different users beside each other, a few at a time', async () => {
    const { fake, clock, manager } = managerOnFake({ adminConcurrency: 3 });
    const release = fake.faults.latency({ endpoint: USERS }, 1_000);
    const all = Promise.all(Array.from({ length: 9 }, (_, n) => manager.provisionUser({ username: `user${n}` })));
    await clock.advance(0);
    expect(fake.inFlight).toBe(3);
    release();
    await clock.advance(1_000);
    expect(new Set((await all).map(({ userId }) => userId)).size).toBe(9);
  });
});

describe('a deactivated user', () => {
  it('is an error, and is not revived', async () => {
    const { fake, manager } = managerOnFake();
    await manager.provisionUser({ username: 'alice' });
    await manager.admin.deactivateUser(alice);
    const error = await rejection(manager.provisionUser({ username: 'alice' }));
    expect(error).toMatchObject({ code: 'USER_DEACTIVATED', userId: alice });
    expect(error.message).toContain('reactivateUser');
    expect(await manager.admin.getUser(alice)).toMatchObject({ deactivated: true });
    expect(fake.countRequests((request) => request.endpoint === '/login' && request.status === 200)).toBe(1);
  });

  it('is provisioned again after reactivateUser', async () => {
    const { manager } = managerOnFake();
    const before = await manager.provisionUser({ username: 'alice' });
    await manager.admin.deactivateUser(alice);
    await manager.admin.reactivateUser(alice);
    const after = await manager.provisionUser({ username: 'alice' });
    expect(after).toMatchObject({ userId: alice, created: false });
    expect(after.accessToken).not.toBe(before.accessToken);
  });

  it('is an error too when the login is what says so', async () => {
    const { fake, manager, count } = managerOnFake();
    fake.faults.status({ endpoint: '/login' }, { status: 403, errcode: 'M_USER_DEACTIVATED' });
    expect(await rejection(manager.provisionUser({ username: 'alice' }))).toMatchObject({ code: 'USER_DEACTIVATED' });
    expect(count('/login')).toBe(1);
  });
});

describe('a locked user', () => {
  it('is an error, at once', async () => {
    const { fake, manager, count, storage } = managerOnFake();
    fake.faults.status({ endpoint: '/login' }, { status: 401, errcode: 'M_USER_LOCKED' });
    expect(await rejection(manager.provisionUser({ username: 'alice' }))).toMatchObject({
      code: 'FORBIDDEN',
      errcode: 'M_USER_LOCKED',
    });
    expect(count('/login')).toBe(1);
    expect(await storage.getCredentials(alice)).toBeUndefined();
  });
});

describe('what cannot be provisioned', () => {
  it.each([
    'Alice',
    '',
    'al ice',
    'älice',
    '@alice:hs.test',
    'alice:hs.test',
    '_alice',
    '123',
    'x'.repeat(300),
    undefined,
    null,
    7,
  ])('is refused before any request when the username is %j', async (username) => {
    const { fake, manager } = managerOnFake();
    const error = await rejection(manager.provisionUser({ username: username as string }));
    expect(error).toMatchObject({ code: 'INVALID_USER_ID' });
    expect(error.message).toContain('`username`');
    expect(fake.requests).toEqual([]);
  });

  it.each([
    [{ displayName: 7 }, 'displayName'],
    [{ deviceId: '' }, 'deviceId'],
    [{ deviceId: 7 }, 'deviceId'],
    [{ admin: 'yes' }, 'admin'],
    [{ normalizeUsername: 1 }, 'normalizeUsername'],
    [{ signal: {} }, 'signal'],
  ])('is refused before any request when the options are %j', async (options, name) => {
    const { fake, manager } = managerOnFake();
    const error = await rejection(manager.provisionUser({ username: 'alice', ...(options as object) }));
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(error.message).toContain(`\`${name}\``);
    expect(fake.requests).toEqual([]);
  });

  it.each([undefined, null, 'alice', []])('is refused when the options are %j as a whole', async (options) => {
    const { manager } = managerOnFake();
    expect(await rejection(manager.provisionUser(options as never))).toMatchObject({ code: 'INVALID_OPTIONS' });
  });

  it('is a name that normalizeUsername would map, unless it is asked to', async () => {
    const { fake, manager } = managerOnFake();
    await expect(manager.provisionUser({ username: 'Alice Ü', normalizeUsername: true })).resolves.toMatchObject({
      userId: '@alice=20=c3=bc:hs.test',
    });
    fake.clearRequests();
    expect(await rejection(manager.provisionUser({ username: 'Alice Ü' }))).toMatchObject({ code: 'INVALID_USER_ID' });
    expect(fake.requests).toEqual([]);
  });
});
