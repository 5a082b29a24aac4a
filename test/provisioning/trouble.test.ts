import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../src/index.js';
import type { FaultMatch } from '../../src/testing/fake-homeserver/server/fault-match.js';
import type { Faults } from '../../src/testing/fake-homeserver/server/faults.js';
import { managerOnFake, USERS } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

const alice = '@alice:hs.test';
const put: FaultMatch = { endpoint: USERS, method: 'PUT' };
const login: FaultMatch = { endpoint: '/login' };

describe('a homeserver that limits provisioning', () => {
  it('is waited for as long as it asks', async () => {
    const { fake, clock, manager, soon, count } = managerOnFake();
    fake.faults.rateLimit({ ...put, times: 1 }, { retryAfterMs: 7_000 });
    const start = clock.now();
    await expect(soon(manager.provisionUser({ username: 'alice' }))).resolves.toMatchObject({ created: true });
    expect(clock.now() - start).toBeGreaterThanOrEqual(7_000);
    expect(count(USERS, 'PUT')).toBe(2);
  });

  it('is not waited for when it asks for minutes: the caller learns how many', async () => {
    const { fake, clock, manager, count } = managerOnFake();
    fake.faults.rateLimit(login, { retryAfterMs: 318_000 });
    const error = await rejection(manager.provisionUser({ username: 'alice' }));
    expect(error).toMatchObject({
      code: 'RATE_LIMITED',
      errcode: 'M_LIMIT_EXCEEDED',
      status: 429,
      retryAfterMs: 318_000,
    });
    expect(error.message).toContain('318000 ms');
    expect([count('/login'), clock.pendingTimers]).toEqual([1, 0]);
  });

  it('does not let the account be made twice: the next call logs in', async () => {
    const { fake, manager } = managerOnFake();
    const release = fake.faults.rateLimit(login, { retryAfterMs: 318_000 });
    await rejection(manager.provisionUser({ username: 'alice' }));
    release();
    await expect(manager.provisionUser({ username: 'alice' })).resolves.toMatchObject({
      userId: alice,
      created: false,
    });
  });

  it('gets its burst of logins spread, and everybody is logged in at last', async () => {
    const { manager, soon } = managerOnFake({}, { loginLimit: { burst: 2, retryAfterMs: 1_000 } });
    const names = ['a', 'b', 'c', 'd', 'e'];
    const users = await soon(Promise.all(names.map((username) => manager.provisionUser({ username }))));
    expect(users.map(({ userId }) => userId)).toEqual(names.map((name) => `@${name}:hs.test`));
  });
});

describe('a homeserver in trouble', () => {
  /** What is ordered, and the error that it leads to, unless so much of it counts as an outage. */
  const troubles: [string, (faults: Faults, match: FaultMatch) => unknown, ErrorCode][] = [
    ['a web page', (faults, match) => faults.html(match), 'INVALID_RESPONSE'],
    ['half of its JSON', (faults, match) => faults.truncatedJson(match), 'INVALID_RESPONSE'],
    [
      'wrong types',
      (faults, match) => faults.wrongTypes(match, { name: 1, user_id: [], access_token: {} }),
      'INVALID_RESPONSE',
    ],
    ['null', (faults, match) => faults.wrongTypes(match, null), 'INVALID_RESPONSE'],
    [
      'a login without a token',
      (faults, match) => faults.wrongTypes(match, { name: {}, user_id: alice, access_token: '', device_id: 'D' }),
      'INVALID_RESPONSE',
    ],
    [
      'a login without a device',
      (faults, match) => faults.wrongTypes(match, { name: {}, user_id: alice, access_token: 'x' }),
      'INVALID_RESPONSE',
    ],
    ['500', (faults, match) => faults.status(match, { status: 500 }), 'HOMESERVER_UNAVAILABLE'],
    ['a gateway page with 502', (faults, match) => faults.html(match, 502), 'HOMESERVER_UNAVAILABLE'],
    ['a broken connection', (faults, match) => faults.drop(match), 'NETWORK'],
    ['nothing', (faults, match) => faults.hang(match), 'TIMEOUT'],
    [
      'a redirect to another host',
      (faults, match) => faults.redirect(match, { location: 'http://evil.test/' }),
      'INVALID_RESPONSE',
    ],
  ];

  it.each(troubles)(
    'that answers a login with %s is an error in time, and nothing of it is kept',
    async (_title, order, code) => {
      const { fake, clock, manager, storage, soon } = managerOnFake();
      order(fake.faults, login);
      const error = await rejection(soon(manager.provisionUser({ username: 'alice', deviceId: 'D' })));
      expect(error).toMatchObject({ code: expect.toBeOneOf([code, 'HOMESERVER_UNAVAILABLE']), userId: alice });
      expect(await storage.getCredentials(alice)).toBeUndefined();
      await clock.advance(60_000);
      expect({ timers: clock.pendingTimers, inFlight: fake.inFlight }).toEqual({ timers: 0, inFlight: 0 });
      fake.faults.clear();
      await expect(soon(manager.provisionUser({ username: 'alice' }))).resolves.toMatchObject({ userId: alice });
    },
  );

  it.each(troubles.filter(([title]) => !title.startsWith('a login')))(
    'that answers the Admin API with %s is an error in time, and nothing of it is kept',
    async (_title, order, code) => {
      const { fake, clock, manager, storage, soon, count } = managerOnFake();
      order(fake.faults, put);
      const error = await rejection(soon(manager.provisionUser({ username: 'alice' })));
      expect(error).toMatchObject({ code: expect.toBeOneOf([code, 'HOMESERVER_UNAVAILABLE']), userId: alice });
      expect(await storage.getCredentials(alice)).toBeUndefined();
      expect(count('/login')).toBe(0);
      await clock.advance(60_000);
      expect({ timers: clock.pendingTimers, inFlight: fake.inFlight }).toEqual({ timers: 0, inFlight: 0 });
      fake.faults.clear();
      await expect(soon(manager.provisionUser({ username: 'alice' }))).resolves.toMatchObject({ userId: alice });
    },
  );

  it.each(troubles.filter(([title]) => !title.startsWith('a login')))(
    'that answers whoami with %s is an error in time, and the known session is kept',
    async (_title, order, code) => {
      const { fake, manager, storage, soon, count } = managerOnFake();
      const { created: _, ...session } = await manager.provisionUser({ username: 'alice' });
      fake.clearRequests();
      order(fake.faults, { endpoint: '/account/whoami' });
      const error = await rejection(soon(manager.provisionUser({ username: 'alice' })));
      expect(error).toMatchObject({ code: expect.toBeOneOf([code, 'HOMESERVER_UNAVAILABLE']) });
      expect(await storage.getCredentials(alice)).toEqual(session);
      expect(count('/login')).toBe(0);
    },
  );

  it('that is back soon is not noticed', async () => {
    const { fake, manager, soon, count } = managerOnFake();
    fake.faults.status({ ...put, times: 1 }, { status: 502 });
    fake.faults.drop({ ...put, times: 1, after: 1 });
    await expect(soon(manager.provisionUser({ username: 'alice' }))).resolves.toMatchObject({ created: true });
    expect(count(USERS, 'PUT')).toBe(3);
  });

  it('that does what it is asked but loses the answer is asked again where that is harmless', async () => {
    const { fake, manager, soon, count } = managerOnFake();
    fake.faults.dropAfter({ ...put, times: 1 });
    fake.faults.dropAfter({ ...login, times: 1 });
    const user = await soon(manager.provisionUser({ username: 'alice', deviceId: 'PHONE' }));
    expect(user).toMatchObject({ userId: alice, deviceId: 'PHONE' });
    expect([count(USERS, 'PUT'), count('/login')]).toEqual([2, 2]);
    expect(await manager.admin.listDevices(alice)).toHaveLength(1);
  });
});

describe('a homeserver that lies', () => {
  it('and logs in somebody else is an error, and the session is not kept', async () => {
    const { fake, manager, storage } = managerOnFake();
    const mallory = fake.createUser({ username: 'mallory' });
    fake.faults.wrongTypes(login, {
      user_id: mallory.userId,
      access_token: mallory.accessToken,
      device_id: mallory.deviceId,
    });
    const error = await rejection(manager.provisionUser({ username: 'alice' }));
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', userId: alice });
    expect(error.message).toContain('@mallory:hs.test');
    expect(await storage.getCredentials(alice)).toBeUndefined();
    expect(await storage.getCredentials(mallory.userId)).toBeUndefined();
  });

  it('and logs in on another device is an error, and the session is not kept', async () => {
    const { fake, manager, storage } = managerOnFake();
    fake.faults.wrongTypes(login, { user_id: alice, access_token: 'syt_x', device_id: 'OTHER' });
    const error = await rejection(manager.provisionUser({ username: 'alice', deviceId: 'PHONE' }));
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE' });
    expect(error.message).toContain('"OTHER"');
    expect(await storage.getCredentials(alice)).toBeUndefined();
  });

  it('about whose the known session is gets a new login', async () => {
    const { fake, manager, count } = managerOnFake();
    const first = await manager.provisionUser({ username: 'alice' });
    fake.faults.wrongTypes({ endpoint: '/account/whoami', times: 1 }, { user_id: '@mallory:hs.test', device_id: 'X' });
    const second = await manager.provisionUser({ username: 'alice' });
    expect(second.accessToken).not.toBe(first.accessToken);
    expect(count('/login')).toBe(2);
  });
});

describe('the signal of a caller', () => {
  it('ends the wait of that caller and not the flight of the others', async () => {
    const { fake, clock, manager, soon, count } = managerOnFake();
    fake.faults.latency(put, 5_000);
    const controller = new AbortController();
    const leaving = rejection(manager.provisionUser({ username: 'alice', signal: controller.signal }));
    const staying = manager.provisionUser({ username: 'alice' });
    await clock.advance(1_000);
    controller.abort(new Error('the user went away'));
    expect(await leaving).toMatchObject({ code: 'ABORTED', cause: { message: 'the user went away' } });
    await expect(soon(staying)).resolves.toMatchObject({ created: true });
    expect(count(USERS, 'PUT')).toBe(1);
  });

  it('that fired before sends nothing', async () => {
    const { fake, clock, manager } = managerOnFake();
    const call = manager.provisionUser({ username: 'alice', signal: AbortSignal.abort() });
    expect(await rejection(call)).toMatchObject({ code: 'ABORTED' });
    await clock.advance(0);
    expect(fake.requests).toEqual([]);
  });
});

describe('a shutdown', () => {
  it.each([
    ['the Admin API hangs', put],
    ['the login hangs', login],
  ])('while %s ends the flight with MANAGER_CLOSED, leaving nothing', async (_title, match) => {
    const { fake, clock, manager, storage } = managerOnFake();
    fake.faults.hang(match);
    const failures = [1, 2].map(() => rejection(manager.provisionUser({ username: 'alice' })));
    await clock.advance(10);
    expect(fake.inFlight).toBe(1);
    await manager.shutdown();
    expect((await Promise.all(failures)).map(({ code }) => code)).toEqual(['MANAGER_CLOSED', 'MANAGER_CLOSED']);
    await clock.advance(0);
    expect({ timers: clock.pendingTimers, inFlight: fake.inFlight }).toEqual({ timers: 0, inFlight: 0 });
    expect(await storage.getCredentials(alice)).toBeUndefined();
  });

  it('ends the wait for a homeserver that limits', async () => {
    const { fake, clock, manager } = managerOnFake();
    fake.faults.rateLimit(put, { retryAfterMs: 50_000 });
    const failure = rejection(manager.provisionUser({ username: 'alice' }));
    await clock.advance(10);
    await manager.shutdown();
    expect(await failure).toMatchObject({ code: 'MANAGER_CLOSED' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('ends the flights that wait for a place in the pool', async () => {
    const { fake, clock, manager } = managerOnFake({ adminConcurrency: 1 });
    fake.faults.hang(put);
    const failures = ['a', 'b', 'c'].map((username) => rejection(manager.provisionUser({ username })));
    await clock.advance(10);
    await manager.shutdown();
    for (const failure of failures) expect(await failure).toMatchObject({ code: 'MANAGER_CLOSED' });
    await clock.advance(0);
    expect(fake.requests).toHaveLength(1);
  });

  it('lets no later call through', async () => {
    const { fake, manager } = managerOnFake();
    await manager.shutdown();
    expect(await rejection(manager.provisionUser({ username: 'alice' }))).toMatchObject({ code: 'MANAGER_CLOSED' });
    expect(await rejection(() => manager.admin)).toMatchObject({ code: 'MANAGER_CLOSED' });
    expect(fake.requests).toEqual([]);
  });
});
