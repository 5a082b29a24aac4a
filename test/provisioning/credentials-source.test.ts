import { describe, expect, it } from 'vitest';
import type { Credentials } from '../../src/index.js';
import { managerOnFake, USERS } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

const alice = '@alice:hs.test';

/** A manager whose application has credentials of its own, which a test may change. */
function setUp({ admin = true } = {}) {
  const { make, fake, ...rest } = managerOnFake();
  const application = {
    asked: [] as string[],
    answer: (() => undefined) as (userId: string) => unknown,
  };
  const manager = make({
    credentials: async (userId) => {
      application.asked.push(userId);
      return application.answer(userId) as Credentials | undefined;
    },
    ...(!admin && { admin: undefined as never, serverName: 'hs.test' }),
  });
  const roomId = fake.createRoom({ creator: fake.createUser({ username: 'alice', deviceId: 'D' }).userId });
  fake.sendMessage(roomId, alice, 'hello');
  /** A call that needs a session of the user and nothing else. */
  const read = () => manager.getRoomMessages({ userId: alice, roomId });
  /** Another session of the user on the same device. */
  const login = async (): Promise<Credentials> => {
    const { accessToken } = await make({ storage: rest.storage }).provisionUser({ username: 'alice', deviceId: 'D' });
    await rest.storage.deleteCredentials(alice);
    fake.clearRequests();
    return { userId: alice, accessToken, deviceId: 'D' };
  };
  return { ...rest, fake, manager, application, read, login };
}

describe("the application's credentials", () => {
  it('serve a user whom the storage does not know', async () => {
    const { application, read, login, count } = setUp();
    const session = await login();
    application.answer = () => session;
    expect((await read()).messages.map(({ content }) => content.body)).toEqual(['hello']);
    expect(application.asked).toEqual([alice]);
    expect(count('/login')).toBe(0);
  });

  it('are checked by provisionUser and given back as they are', async () => {
    const { application, manager, login, count } = setUp();
    const session = await login();
    application.answer = () => session;
    expect(await manager.provisionUser({ username: 'alice' })).toEqual({ ...session, created: false });
    expect([count('/account/whoami'), count(USERS), count('/login')]).toEqual([1, 0, 0]);
  });

  it('are not asked for while the storage knows the user', async () => {
    const { application, manager } = setUp();
    await manager.provisionUser({ username: 'alice' });
    application.asked.length = 0;
    await manager.provisionUser({ username: 'alice' });
    expect(application.asked).toEqual([]);
  });

  it.each([undefined, null])('may be %j for a user whom the application does not know either', async (nothing) => {
    const { application, manager, read } = setUp();
    application.answer = () => nothing;
    expect(await rejection(read())).toMatchObject({ code: 'CLIENT_NOT_STARTED', userId: alice });
    await expect(manager.provisionUser({ username: 'alice' })).resolves.toMatchObject({ userId: alice });
  });

  it.each([
    ['another user', { userId: '@mallory:hs.test', accessToken: 'x', deviceId: 'D' }],
    ['no device', { userId: alice, accessToken: 'x' }],
    ['no token', { userId: alice, deviceId: 'D' }],
    ['a token with a line break', { userId: alice, accessToken: 'syt_\nx', deviceId: 'D' }],
    ['text', 'syt_text'],
    ['a list', [alice, 'x']],
  ])('of %s are refused, and no client is started with them', async (_title, answer) => {
    const { fake, application, manager, read } = setUp();
    application.answer = () => answer;
    const calls = [read(), manager.startClient({ userId: alice }), manager.provisionUser({ username: 'alice' })];
    for (const call of calls) {
      const error = await rejection(call);
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS', userId: alice });
      expect(error.message).toContain('`credentials`');
      expect(error.message).not.toContain('syt_');
    }
    expect(fake.requests).toEqual([]);
  });

  it('that cannot be read are an error that is worth another try', async () => {
    const { application, read } = setUp();
    for (const fail of [() => Promise.reject(new Error('the database is down')), () => crash()]) {
      application.answer = fail;
      const error = await rejection(read());
      expect(error).toMatchObject({ code: 'NETWORK', userId: alice, cause: { message: 'the database is down' } });
    }
  });

  it('that never come do not hold up a shutdown', async () => {
    const { clock, application, manager } = setUp();
    application.answer = () => new Promise(() => {});
    const failure = rejection(manager.provisionUser({ username: 'alice' }));
    await clock.advance(0);
    await manager.shutdown();
    expect(await failure).toMatchObject({ code: 'MANAGER_CLOSED' });
  });
});

describe('a dead session', () => {
  it('is replaced by that of the application, without a new login, and the new one is kept', async () => {
    const { fake, application, storage, read, login, count } = setUp();
    const [dead, alive] = [await login(), await login()];
    await storage.setCredentials(dead);
    fake.killToken(dead.accessToken);
    application.answer = () => alive;
    await read();
    expect(await storage.getCredentials(alice)).toEqual(alive);
    expect(count('/login')).toBe(0);
  });

  it('is not replaced by what is as dead: a new login follows', async () => {
    const { fake, application, storage, manager, read, login, count } = setUp();
    const [dead, alsoDead] = [await login(), await login()];
    await storage.setCredentials(dead);
    fake.killTokens(alice);
    application.answer = () => alsoDead;
    await read();
    expect(await storage.getCredentials(alice)).toMatchObject({ deviceId: 'D' });
    expect(count('/login')).toBe(1);
    expect(await manager.admin.listDevices(alice)).toHaveLength(1);
  });

  it('is not replaced by a dead one that another manager has stored meanwhile', async () => {
    const { fake, clock, storage, read, login, count } = setUp();
    const [dead, alsoDead] = [await login(), await login()];
    await storage.setCredentials(dead);
    fake.killTokens(alice);
    fake.faults.latency({ endpoint: '/rooms/{roomId}/messages', times: 1 }, 1_000);
    const reading = read();
    await clock.advance(500);
    await storage.setCredentials(alsoDead);
    await clock.advance(500);
    await reading;
    expect(count('/login')).toBe(1);
  });

  it('is not replaced by a session on another device', async () => {
    const { fake, application, storage, read, login } = setUp();
    const dead = await login();
    const { accessToken } = fake.createUser({ username: 'bob', deviceId: 'E' });
    await storage.setCredentials(dead);
    fake.killToken(dead.accessToken);
    application.answer = () => ({ userId: alice, accessToken, deviceId: 'E' });
    await read();
    expect(await storage.getCredentials(alice)).toMatchObject({ deviceId: 'D' });
  });

  it('is replaced by a new login when the application mixes users up', async () => {
    const { fake, application, storage, logger, read, login } = setUp();
    const dead = await login();
    await storage.setCredentials(dead);
    fake.killToken(dead.accessToken);
    application.answer = () => ({ userId: '@mallory:hs.test', accessToken: 'x', deviceId: 'D' });
    await read();
    expect(await storage.getCredentials(alice)).toMatchObject({ userId: alice, deviceId: 'D' });
    expect(logger.entries.some(({ level }) => level === 'warn')).toBe(true);
  });

  it('is renewed once for many calls', async () => {
    const { fake, storage, read, login, count } = setUp();
    await storage.setCredentials(await login());
    fake.killTokens(alice);
    await Promise.all([read(), read(), read(), read()]);
    expect(count('/login')).toBe(1);
  });

  it('stays dead, as an error, when nothing can renew it', async () => {
    const { fake, storage, read, login } = setUp({ admin: false });
    await storage.setCredentials(await login());
    fake.killTokens(alice);
    expect(await rejection(read())).toMatchObject({ code: 'UNKNOWN_TOKEN', userId: alice });
  });
});

function crash(): never {
  throw new Error('the database is down');
}
