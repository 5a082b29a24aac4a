import { describe, expect, it } from 'vitest';
import { SynapseAdminProvisioner } from '../../src/index.js';
import type { MatrixClientManager, Provisioner } from '../../src/index.js';
import type { FakeHomeserver } from '../../src/testing/index.js';
import { managerOnFake, USERS } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';
import { rejection } from '../support/rejection.js';

const admin = '@admin:hs.test';

/** Managers by how the option `admin` is given. */
const ways = ['a token', 'a password', 'a token and a password'] as const;

function setUp(way: (typeof ways)[number] = 'a token') {
  const { make, ...rest } = managerOnFake();
  const { userId, accessToken, password } = rest.fake.admin;
  const account = {
    'a token': { userId, accessToken },
    'a password': { userId, password },
    'a token and a password': { userId, accessToken, password },
  }[way];
  return { ...rest, restart: () => make({ admin: account }), manager: make({ admin: account }) };
}

/** Whether the admin's own password and token still do what they did. */
async function expectUntouched({ fake, soon }: { fake: FakeHomeserver; soon: <T>(work: Promise<T>) => Promise<T> }) {
  const { userId: user, password, accessToken } = fake.admin;
  const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password };
  const logged = fake.fetch(`${fake.baseUrl}/_matrix/client/v3/login`, { method: 'POST', body: JSON.stringify(login) });
  expect((await soon(logged)).status).toBe(200);
  const headers = { authorization: `Bearer ${accessToken}` };
  const known = await soon(fake.fetch(`${fake.baseUrl}/_matrix/client/v3/account/whoami`, { headers }));
  expect(known.status).toBe(200);
}

/** Gives the admin a room with a message of Alice's. */
function roomOfAdmin(fake: FakeHomeserver): string {
  const alice = fake.createUser({ username: 'alice' }).userId;
  const roomId = fake.createRoom({ creator: alice, members: [admin] });
  fake.sendMessage(roomId, alice, 'hello');
  return roomId;
}

describe.each(ways)('the own admin, given by %s', (way) => {
  it('is not locked out by provisionUser: no password is set and nobody logged in for it', async () => {
    const { fake, manager, restart, soon, count, storage } = setUp(way);
    await manager.admin.listUsers();
    const logins = count('/login');
    const first = await manager.provisionUser({ username: 'admin', displayName: 'The backend' });
    expect(first).toMatchObject({ userId: admin, created: false, deviceId: expect.stringMatching(/./) });
    expect(await manager.provisionUser({ username: 'Admin', normalizeUsername: true })).toEqual(first);
    expect([count(USERS, 'PUT'), count('/login')]).toEqual([0, logins]);
    expect(await storage.getCredentials(admin)).toBeUndefined();
    expect(await manager.admin.getUser(admin)).toMatchObject({ displayName: 'The backend' });
    await expectUntouched({ fake, soon });
    await expect(restart().admin.listUsers()).resolves.toMatchObject({ total: 1 });
  });

  it('has a client, sends and reads with its own session', async () => {
    const { fake, manager, soon, count } = setUp(way);
    const roomId = roomOfAdmin(fake);
    const { userId } = fake.admin;
    expect(manager.adminUserId).toBe(admin);
    await soon(manager.sendMessage({ userId, roomId, text: 'without a client' }));
    expect((await soon(manager.getRoomMessages({ userId, roomId }))).messages).toHaveLength(2);
    const token = await soon(manager.withClient(admin, (client) => client.getAccessToken()));
    const session = await manager.provisionUser({ username: 'admin' });
    expect(token).toBe(session.accessToken);
    const recorder = new Recorder();
    manager.addCallback(admin, recorder.callback);
    await soon(manager.sendMessage({ userId, roomId, text: 'with a client', durable: true }));
    await soon(recorder.message('with a client'));
    await soon(manager.sendTyping({ userId, roomId, typing: true }));
    expect(manager.clientInfo(admin)).toMatchObject({ state: 'live', deviceId: session.deviceId });
    expect(count(USERS, 'PUT')).toBe(0);
    await expectUntouched({ fake, soon });
    await soon(manager.shutdown());
  });

  it('is on one device: another one is refused, whatever token is given', async () => {
    const { fake, manager, soon } = setUp(way);
    const { deviceId } = await manager.provisionUser({ username: 'admin' });
    const { accessToken } = fake.openSession(admin, 'OTHER');
    for (const call of [
      (): Promise<unknown> => manager.provisionUser({ username: 'admin', deviceId: 'OTHER' }),
      (): Promise<unknown> => manager.startClient({ userId: admin, accessToken, deviceId: 'OTHER' }),
    ]) {
      const error = await rejection(soon(call()));
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS', userId: admin });
      expect(error.message).toContain(deviceId);
    }
    await expect(soon(manager.startClient({ userId: admin, accessToken }))).resolves.toMatchObject({ deviceId });
    await soon(manager.shutdown());
  });

  it('cannot deactivate itself, nor delete the device that it is logged in on', async () => {
    const { fake, manager, soon } = setUp(way);
    const { deviceId } = await manager.provisionUser({ username: 'admin' });
    fake.openSession(admin, 'OTHER');
    for (const call of [() => manager.admin.deactivateUser(admin), () => manager.admin.deleteDevice(admin, deviceId)]) {
      const error = await rejection(soon(call()));
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS', userId: admin });
      expect(error.message).toContain('lock');
    }
    await soon(manager.admin.deleteDevice(admin, 'OTHER'));
    await expect(soon(manager.admin.getUser(admin))).resolves.toMatchObject({ deactivated: false });
  });
});

describe('the own admin', () => {
  it('keeps its device when its token dies under a client', async () => {
    const { fake, manager, soon } = setUp('a token and a password');
    const before = await soon(manager.startClient({ userId: admin }));
    fake.killTokens(admin);
    const roomId = roomOfAdmin(fake);
    await soon(manager.sendMessage({ userId: admin, roomId, text: 'with a new token' }));
    expect(await manager.provisionUser({ username: 'admin' })).toMatchObject({ deviceId: before.deviceId });
    await soon(manager.shutdown());
  });

  it('whose token is dead and cannot be renewed ends its client as logged out', async () => {
    const { fake, manager, soon } = setUp('a token');
    const stopped: object[] = [];
    manager.on('clientStopped', (event) => stopped.push(event));
    await soon(manager.startClient({ userId: admin }));
    fake.killTokens(admin);
    await rejection(soon(manager.admin.listUsers()));
    await soon(new Promise<void>((resolve) => manager.on('clientStopped', () => resolve())));
    expect(stopped).toMatchObject([{ userId: admin, reason: 'loggedOut' }]);
    await soon(manager.shutdown());
  });

  it('is not touched by a provisioner of the application either', async () => {
    const { fake, make } = managerOnFake();
    const asked: unknown[] = [];
    const note = async (request: unknown): Promise<never> => {
      asked.push(request);
      throw new Error('not for the admin');
    };
    const provisioner: Provisioner = {
      capabilities: { renewsSessions: true, deactivatesUsers: true },
      ensureUser: note,
      openSession: note,
      closeSession: note,
      deactivateUser: note,
    };
    const { userId, accessToken } = fake.admin;
    const manager = make({ provisioner, admin: { userId, accessToken } });
    await expect(manager.provisionUser({ username: 'admin' })).resolves.toMatchObject({ userId, accessToken });
    expect(await rejection(manager.admin.deactivateUser(userId))).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(asked).toEqual([]);
  });

  it('is not touched by a SynapseAdminProvisioner that a manager without `admin` uses', async () => {
    const { fake, make, soon, count } = managerOnFake();
    const { userId, password } = fake.admin;
    const provisioner = new SynapseAdminProvisioner({
      homeserverUrl: fake.baseUrl,
      admin: { userId, password },
      fetch: fake.fetch,
    });
    const manager = make({ provisioner, admin: undefined as never, serverName: 'hs.test' });
    await expect(manager.provisionUser({ username: 'admin', displayName: 'Boss' })).resolves.toMatchObject({ userId });
    expect(await rejection(provisioner.deactivateUser(userId))).toMatchObject({ code: 'INVALID_OPTIONS' });
    await provisioner.closeSession({ ...fake.admin, deviceId: 'D' });
    await manager.provisionUser({ username: 'alice' });
    expect(count(USERS, 'PUT')).toBe(1);
    await expectUntouched({ fake, soon });
  });

  it('sends and reads with a token that belongs to no device, and has no client', async () => {
    const { fake, make, soon } = managerOnFake();
    const root = fake.createUser({ username: 'root', admin: true });
    const answer = await fake.fetch(`${fake.baseUrl}/_synapse/admin/v1/users/${encodeURIComponent(admin)}/login`, {
      method: 'POST',
      headers: { authorization: `Bearer ${root.accessToken}` },
    });
    const { access_token: accessToken } = (await answer.json()) as { access_token: string };
    const manager = make({ admin: { userId: admin, accessToken } });
    const roomId = roomOfAdmin(fake);
    await soon(manager.sendMessage({ userId: admin, roomId, text: 'no device' }));
    expect((await manager.getRoomMessages({ userId: admin, roomId })).messages).toHaveLength(2);
    for (const call of [
      (): Promise<unknown> => manager.startClient({ userId: admin }),
      (): Promise<unknown> => manager.provisionUser({ username: 'admin' }),
    ]) {
      const error = await rejection(soon(call()));
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS', userId: admin });
      expect(error.message).toContain('no device');
    }
  });

  it('has to be the user whom its token is of', async () => {
    const { fake, make } = managerOnFake();
    const { accessToken } = fake.createUser({ username: 'root', admin: true });
    const manager: MatrixClientManager = make({ admin: { userId: admin, accessToken } });
    const error = await rejection(manager.provisionUser({ username: 'admin' }));
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(error.message).toContain('@root:hs.test');
    expect(error.message).not.toContain(accessToken);
  });
});
