import { describe, expect, it } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import { FakeHomeserver } from '../../src/testing/index.js';
import { managerOnFake, USERS } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

describe('the admin by token', () => {
  it('whose token is wrong is an error that says what to do', async () => {
    const { fake, manager, count } = managerOnFake({ admin: { userId: '@admin:hs.test', accessToken: 'syt_wrong' } });
    const error = await rejection(manager.provisionUser({ username: 'alice' }));
    expect(error).toMatchObject({ code: 'UNKNOWN_TOKEN', errcode: 'M_UNKNOWN_TOKEN', status: 401 });
    expect(error.message).toContain('admin');
    expect(error.message).toContain('password');
    expect([count(USERS), count('/login')]).toEqual([1, 0]);
    expect(fake.unhandled).toEqual([]);
  });

  it('who is no server admin is an error that says so', async () => {
    const { fake, make } = managerOnFake();
    const { userId, accessToken } = fake.createUser({ username: 'mallory' });
    const manager = make({ admin: { userId, accessToken } });
    for (const call of [manager.provisionUser({ username: 'alice' }), manager.admin.listUsers()]) {
      const error = await rejection(call);
      expect(error).toMatchObject({ code: 'FORBIDDEN', errcode: 'M_FORBIDDEN', status: 403 });
      expect(error.message).toContain('`admin` has to be a server admin');
    }
    expect(await rejection(manager.admin.getUser(userId))).toMatchObject({ code: 'FORBIDDEN' });
  });

  it('whose token holds a line break is refused, unseen', async () => {
    const error = await rejection(
      () => new MatrixClientManager({ homeserverUrl: 'http://hs', admin: { userId: '@a:hs', accessToken: 'syt_x\n' } }),
    );
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(error.message).not.toContain('syt_x');
  });
});

describe('the admin by password', () => {
  const setUp = () => {
    const { fake, make, ...rest } = managerOnFake();
    const { userId, password } = fake.admin;
    return { ...rest, fake, make, manager: make({ admin: { userId, password } }) };
  };
  const adminLogins = (fake: FakeHomeserver): number =>
    fake.countRequests(
      ({ endpoint, body }) => endpoint === '/login' && JSON.stringify(body).includes('@admin:hs.test'),
    );

  it('logs in at the first need, once for all who wait', async () => {
    const { fake, manager } = setUp();
    expect(fake.requests).toEqual([]);
    await Promise.all(Array.from({ length: 10 }, (_, n) => manager.provisionUser({ username: `user${n}` })));
    await manager.admin.listUsers();
    expect(adminLogins(fake)).toBe(1);
  });

  it('logs in again, once, when its token dies under many calls', async () => {
    const { fake, manager } = setUp();
    await manager.admin.listUsers();
    for (let round = 1; round <= 3; round++) {
      fake.killTokens('@admin:hs.test');
      await Promise.all([
        manager.admin.listUsers(),
        manager.admin.getUser('@admin:hs.test'),
        manager.provisionUser({ username: `user${round}` }),
      ]);
      expect(adminLogins(fake)).toBe(1 + round);
    }
  });

  it('always logs in on one device, so that no trail of devices is left', async () => {
    const { fake, manager } = setUp();
    const devices = await manager.admin.listDevices('@admin:hs.test');
    for (let round = 0; round < 3; round++) {
      fake.killTokens('@admin:hs.test');
      await manager.admin.listUsers();
    }
    expect(await manager.admin.listDevices('@admin:hs.test')).toHaveLength(devices.length);
  });

  it('may have a token as well, which is used as long as it lives', async () => {
    const { fake, make } = setUp();
    const { userId, password, accessToken } = fake.admin;
    const manager = make({ admin: { userId, password, accessToken } });
    await manager.admin.listUsers();
    expect(adminLogins(fake)).toBe(0);
    fake.killTokens(userId);
    await manager.admin.listUsers();
    expect(adminLogins(fake)).toBe(1);
  });

  it('whose password is wrong is an error that says so, and is tried once per call', async () => {
    const { fake, make } = setUp();
    const manager = make({ admin: { userId: fake.admin.userId, password: 'wrong-password' } });
    const error = await rejection(manager.provisionUser({ username: 'alice' }));
    expect(error).toMatchObject({ code: 'FORBIDDEN', errcode: 'M_FORBIDDEN' });
    expect(error.message).toContain('password of `admin`');
    expect(error.message).not.toContain('server admin');
    expect(adminLogins(fake)).toBe(1);
  });

  it('whose login is limited for long is an error with the wait', async () => {
    const { fake, manager } = setUp();
    fake.faults.rateLimit({ endpoint: '/login' }, { retryAfterMs: 318_000 });
    expect(await rejection(manager.admin.listUsers())).toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 318_000 });
    expect(adminLogins(fake)).toBe(1);
  });
});

describe('a homeserver without the Admin API', () => {
  const withoutAdminApi = { adminApi: false, onUnhandled: 'record' } as const;

  it('is an error that names servers that have it and what to write for others', async () => {
    const { manager } = managerOnFake({}, withoutAdminApi);
    const error = await rejection(manager.provisionUser({ username: 'alice' }));
    expect(error).toMatchObject({ code: 'UNSUPPORTED', errcode: 'M_UNRECOGNIZED', status: 404 });
    for (const word of ['Synapse', 'Tuwunel', 'Palpo', 'MAS', 'Provisioner', '/_synapse/admin/v2']) {
      expect(error.message).toContain(word);
    }
  });

  it('is an error with the same advice, but one that may pass, when its proxy does not pass the path on', async () => {
    const { fake, manager, soon } = managerOnFake();
    fake.faults.html({ path: /^\/_synapse/ }, 404);
    const error = await rejection(soon(manager.provisionUser({ username: 'alice' })));
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', status: 404 });
    expect(error.message).toContain('proxy');
    expect(error.message).toContain('Provisioner');
  });

  it('leaves manager.admin with the same error', async () => {
    const { manager } = managerOnFake({}, withoutAdminApi);
    expect(await rejection(manager.admin.listUsers())).toMatchObject({ code: 'UNSUPPORTED' });
  });
});

describe('a manager without admin and provisioner', () => {
  it('says which options provisioning needs, and sends nothing', async () => {
    const fake = new FakeHomeserver();
    const manager = new MatrixClientManager({ homeserverUrl: fake.baseUrl, fetch: fake.fetch });
    const error = await rejection(manager.provisionUser({ username: 'alice' }));
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(error.message).toContain('`admin`');
    expect(error.message).toContain('`provisioner`');
    expect(await rejection(() => manager.admin)).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(fake.requests).toEqual([]);
  });
});
