import { describe, expect, it } from 'vitest';
import type { MatrixClientManager } from '../../src/index.js';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import { AdminApi } from '../../src/provisioning/admin-api.js';
import { ManagerLifecycle } from '../../src/core/lifecycle.js';
import { OwnAdmin } from '../../src/provisioning/own-admin.js';
import { SynapseAdminHttp } from '../../src/provisioning/synapse-admin-http.js';
import { SynapseAdminProvisioner } from '../../src/provisioning/synapse-admin-provisioner.js';
import { managerOnFake, USERS } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';
import { testHomeserver } from '../support/context.js';

const alice = '@alice:hs.test';
const nobody = '@nobody:hs.test';

describe('getUser', () => {
  it('shows the account', async () => {
    const { fake, clock, manager } = managerOnFake();
    fake.createUser({ username: 'alice', displayName: 'Alice' });
    expect(await manager.admin.getUser(alice)).toEqual({
      userId: alice,
      displayName: 'Alice',
      avatarUrl: undefined,
      admin: false,
      deactivated: false,
      locked: false,
      createdAt: clock.now(),
    });
  });

  it('is undefined for an account that does not exist', async () => {
    const { manager } = managerOnFake();
    expect(await manager.admin.getUser(nobody)).toBeUndefined();
  });

  it('is an error for a user of another homeserver', async () => {
    const { manager } = managerOnFake();
    expect(await rejection(manager.admin.getUser('@a:elsewhere.test'))).toMatchObject({
      code: 'REJECTED',
      status: 400,
    });
  });

  it('asks for the user as named, whatever characters the name has', async () => {
    const { fake, manager } = managerOnFake();
    const userId = '@a/b?c#d%:hs.test';
    fake.createUser({ userId });
    expect(await manager.admin.getUser(userId)).toMatchObject({ userId });
  });
});

describe('listUsers', () => {
  it('goes from page to page until there is no next', async () => {
    const { fake, manager } = managerOnFake();
    for (let n = 0; n < 7; n++) fake.createUser({ username: `user${n}` });
    const pages: string[][] = [];
    let next: string | undefined;
    do {
      const page = await manager.admin.listUsers({ limit: 3, ...(next !== undefined && { from: next }) });
      expect(page.total).toBe(8);
      pages.push(page.users.map(({ userId }) => userId));
      ({ next } = page);
    } while (next !== undefined);
    expect(pages.map(({ length }) => length)).toEqual([3, 3, 2]);
    expect(new Set(pages.flat()).size).toBe(8);
  });

  it('finds by name, and deactivated users only when asked', async () => {
    const { fake, manager } = managerOnFake();
    fake.createUser({ username: 'alice' });
    fake.createUser({ username: 'bob', displayName: 'Alice too' });
    fake.createUser({ username: 'gone-alice' });
    await manager.admin.deactivateUser('@gone-alice:hs.test');
    const names = async (deactivated: boolean) =>
      (await manager.admin.listUsers({ name: 'alice', deactivated })).users.map(({ userId }) => userId);
    expect(await names(false)).toEqual([alice, '@bob:hs.test']);
    expect(await names(true)).toEqual([alice, '@bob:hs.test', '@gone-alice:hs.test']);
  });
});

describe('answers that are not what they should be', () => {
  it('cost a bad entry of listUsers itself, and it is counted', async () => {
    const { fake, manager } = managerOnFake();
    fake.createUser({ username: 'alice' });
    fake.faults.rewrite({ endpoint: USERS.replace('/{userId}', '') }, (body) => {
      const { users } = body as { users: object[] };
      const broken = [null, 'x', [], {}, { name: 1 }, { name: '@evil:hs.test', admin: 'yes' }];
      const odd = users.map((user) => ({ ...user, displayname: 7, avatar_url: {}, creation_ts: 'then' }));
      return { users: [...broken, ...odd], total: 'many', next_token: null };
    });
    const { users, total, next } = await manager.admin.listUsers();
    expect(users.find(({ userId }) => userId === alice)).toMatchObject({
      userId: alice,
      displayName: undefined,
      avatarUrl: undefined,
      createdAt: undefined,
    });
    expect([users.length, total, next, manager.stats().malformedParts]).toEqual([2, 8, undefined, 6]);
  });

  it('cost a bad entry of listDevices itself, and it is counted', async () => {
    const { fake, manager } = managerOnFake();
    const { deviceId } = fake.createUser({ username: 'alice' });
    fake.faults.rewrite({ endpoint: `${USERS}/devices` }, (body) => {
      const { devices } = body as { devices: object[] };
      const odd = devices.map((device) => ({ ...device, display_name: {}, last_seen_ts: 'now', last_seen_ip: 1 }));
      return { devices: [null, 1, {}, { device_id: null }, ...odd] };
    });
    const unknown = { displayName: undefined, lastSeenAt: undefined, lastSeenIp: undefined };
    expect(await manager.admin.listDevices(alice)).toEqual([{ deviceId, ...unknown }]);
    expect(manager.stats().malformedParts).toBe(4);
  });

  it('leave /versions, a login and a deactivated flag of null usable', async () => {
    const { fake, manager, soon } = managerOnFake();
    const versions = { versions: [null, 7, 'v1.11'], unstable_features: ['x'] };
    fake.faults.rewrite({ endpoint: '/_matrix/client/versions' }, () => versions);
    fake.faults.rewrite({ endpoint: '/login' }, (body) => ({ ...(body as object), refresh_token: 7 }));
    fake.faults.rewrite({ endpoint: USERS }, (body) => ({ ...(body as object), deactivated: null }));
    const { userId } = await soon(manager.provisionUser({ username: 'alice' }));
    await soon(manager.startClient({ userId }));
    expect(manager.clientInfo(userId)?.state).toBe('live');
    expect(await soon(manager.checkHealth())).toMatchObject({ status: 'ok' });
  });
});

describe('setDisplayName', () => {
  it('renames', async () => {
    const { fake, manager } = managerOnFake();
    fake.createUser({ username: 'alice' });
    await manager.admin.setDisplayName(alice, 'Älice 🐇');
    expect(await manager.admin.getUser(alice)).toMatchObject({ displayName: 'Älice 🐇' });
  });

  it('makes no account for a user who does not exist', async () => {
    const { manager, count } = managerOnFake();
    const error = await rejection(manager.admin.setDisplayName(nobody, 'N'));
    expect(error).toMatchObject({ code: 'NOT_FOUND', userId: nobody });
    expect(count(USERS, 'PUT')).toBe(0);
  });

  it('gives the refusal of a name that is too long', async () => {
    const { fake, manager } = managerOnFake();
    fake.createUser({ username: 'alice' });
    const error = await rejection(manager.admin.setDisplayName(alice, 'x'.repeat(300)));
    expect(error).toMatchObject({ code: 'REJECTED', status: 400 });
  });
});

describe('deactivateUser and reactivateUser', () => {
  it('end the account with its sessions, and bring it back without them', async () => {
    const { fake, manager, storage } = managerOnFake();
    const { accessToken } = fake.createUser({ username: 'alice' });
    await manager.admin.deactivateUser(alice, { erase: true });
    expect(await manager.admin.getUser(alice)).toMatchObject({ deactivated: true });
    expect(await manager.admin.reactivateUser(alice)).toMatchObject({ userId: alice, deactivated: false });
    await storage.setCredentials({ userId: alice, accessToken, deviceId: 'D' });
    expect((await manager.provisionUser({ username: 'alice' })).accessToken).not.toBe(accessToken);
  });

  it('do no harm twice', async () => {
    const { fake, manager } = managerOnFake();
    fake.createUser({ username: 'alice' });
    await manager.admin.deactivateUser(alice);
    await manager.admin.deactivateUser(alice);
    await manager.admin.reactivateUser(alice);
    const user = await manager.provisionUser({ username: 'alice' });
    await manager.admin.reactivateUser(alice);
    expect(await manager.provisionUser({ username: 'alice' })).toMatchObject({ accessToken: user.accessToken });
  });

  it('leave an account that is not deactivated its password', async () => {
    const { fake, manager } = managerOnFake();
    fake.createUser({ username: 'alice', password: 'her own' });
    expect(await manager.admin.reactivateUser(alice)).toMatchObject({ userId: alice, deactivated: false });
    const login = await fake.fetch(`${fake.baseUrl}/_matrix/client/v3/login`, {
      method: 'POST',
      body: JSON.stringify({
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: 'alice' },
        password: 'her own',
      }),
    });
    expect(login.status).toBe(200);
  });

  it('are errors for a user who does not exist, and make no account', async () => {
    const { manager, count } = managerOnFake();
    expect(await rejection(manager.admin.deactivateUser(nobody))).toMatchObject({ code: 'NOT_FOUND' });
    expect(await rejection(manager.admin.reactivateUser(nobody))).toMatchObject({ code: 'NOT_FOUND' });
    expect(count(USERS, 'PUT')).toBe(0);
  });
});

describe('listDevices and deleteDevice', () => {
  it('show devices, and remove one with its session', async () => {
    const { fake, manager } = managerOnFake();
    fake.createUser({ username: 'alice', deviceId: 'A/B?' });
    await manager.provisionUser({ username: 'alice', deviceId: 'PHONE' });
    expect(await manager.admin.listDevices(alice)).toMatchObject([
      { deviceId: 'A/B?', displayName: undefined },
      { deviceId: 'PHONE', displayName: 'matrix-client-manager' },
    ]);
    await manager.admin.deleteDevice(alice, 'A/B?');
    expect((await manager.admin.listDevices(alice)).map(({ deviceId }) => deviceId)).toEqual(['PHONE']);
  });

  it('do no harm to a device that is gone', async () => {
    const { fake, manager } = managerOnFake();
    fake.createUser({ username: 'alice' });
    await expect(manager.admin.deleteDevice(alice, 'GONE')).resolves.toBeUndefined();
  });

  it('are errors for a user who does not exist', async () => {
    const { manager } = managerOnFake();
    expect(await rejection(manager.admin.listDevices(nobody))).toMatchObject({ code: 'NOT_FOUND', userId: nobody });
    expect(await rejection(manager.admin.deleteDevice(nobody, 'D'))).toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('joinRoom', () => {
  it('lets a user join a public room, by id and by alias, once and again', async () => {
    const { fake, manager } = managerOnFake();
    const creator = fake.createUser({ username: 'creator' });
    const { userId } = fake.createUser({ username: 'alice' });
    const roomId = fake.createRoom({ creator: creator.userId, preset: 'public_chat' });
    expect(await manager.admin.joinRoom(userId, roomId)).toBe(roomId);
    expect(await manager.admin.joinRoom(userId, roomId)).toBe(roomId);
    expect(fake.events(roomId).filter(({ stateKey }) => stateKey === alice)).toHaveLength(1);
  });

  it('resolves with the room id for an alias too, also when the user is in the room already', async () => {
    const { fake, manager } = managerOnFake();
    const creator = fake.createUser({ username: 'creator' });
    fake.createUser({ username: 'alice' });
    const created = await fake.fetch(`${fake.baseUrl}/_matrix/client/v3/createRoom`, {
      method: 'POST',
      headers: { authorization: `Bearer ${creator.accessToken}` },
      body: JSON.stringify({ preset: 'public_chat', room_alias_name: 'hall' }),
    });
    const { room_id: roomId } = (await created.json()) as { room_id: string };
    expect(await manager.admin.joinRoom(alice, '#hall:hs.test')).toBe(roomId);
    expect(await manager.admin.joinRoom(alice, '#hall:hs.test')).toBe(roomId);
  });

  it('lets a user join a private room that the admin is in, once and again', async () => {
    const { fake, manager } = managerOnFake();
    fake.createUser({ username: 'alice' });
    const roomId = fake.createRoom({ creator: fake.admin.userId });
    expect(await manager.admin.joinRoom(alice, roomId)).toBe(roomId);
    expect(await manager.admin.joinRoom(alice, roomId)).toBe(roomId);
  });

  it('is FORBIDDEN for a private room that the admin is not in, without advice that does not help', async () => {
    const { fake, manager } = managerOnFake();
    fake.createUser({ username: 'alice' });
    const roomId = fake.createRoom({ creator: fake.createUser({ username: 'creator' }).userId });
    const error = await rejection(manager.admin.joinRoom(alice, roomId));
    expect(error).toMatchObject({ code: 'FORBIDDEN', userId: alice });
    expect(error.message).not.toContain('has to be a server admin');
  });

  it('is an error for a room or a user that does not exist', async () => {
    const { fake, manager } = managerOnFake();
    const roomId = fake.createRoom({ creator: fake.admin.userId });
    expect(await rejection(manager.admin.joinRoom(nobody, roomId))).toMatchObject({ code: 'NOT_FOUND' });
    fake.createUser({ username: 'alice' });
    expect(await rejection(manager.admin.joinRoom(alice, '#none:hs.test'))).toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('isUsernameAvailable', () => {
  it('tells free ones from taken ones', async () => {
    const { fake, manager } = managerOnFake();
    fake.createUser({ username: 'alice' });
    expect(await manager.admin.isUsernameAvailable('alice')).toBe(false);
    expect(await manager.admin.isUsernameAvailable('bob')).toBe(true);
  });

  it.each(['Alice', '', '_a', '1', 'a b'])('refuses %j before any request', async (username) => {
    const { fake, manager } = managerOnFake();
    expect(await rejection(manager.admin.isUsernameAvailable(username))).toMatchObject({ code: 'INVALID_USER_ID' });
    expect(fake.requests).toEqual([]);
  });
});

describe('every call of manager.admin', () => {
  const room = '!room:hs.test';
  const calls: Record<string, (admin: MatrixClientManager['admin']) => Promise<unknown>> = {
    getUser: (admin) => admin.getUser(alice),
    listUsers: (admin) => admin.listUsers(),
    setDisplayName: (admin) => admin.setDisplayName(alice, 'A'),
    deactivateUser: (admin) => admin.deactivateUser(alice),
    reactivateUser: (admin) => admin.reactivateUser(alice),
    listDevices: (admin) => admin.listDevices(alice),
    deleteDevice: (admin) => admin.deleteDevice(alice, 'D'),
    joinRoom: (admin) => admin.joinRoom(alice, room),
    isUsernameAvailable: (admin) => admin.isUsernameAvailable('alice'),
  };
  const each = Object.entries(calls);
  const bad = (value: unknown) => value as never;
  const invalid: Record<string, [string, (admin: MatrixClientManager['admin']) => Promise<unknown>]> = {
    'getUser without user': ['INVALID_USER_ID', (admin) => admin.getUser(bad(undefined))],
    'getUser of a username': ['INVALID_USER_ID', (admin) => admin.getUser('alice')],
    'listUsers from a number': ['INVALID_OPTIONS', (admin) => admin.listUsers({ from: bad(3) })],
    'listUsers of none': ['INVALID_OPTIONS', (admin) => admin.listUsers({ limit: 0 })],
    'listUsers of half a user': ['INVALID_OPTIONS', (admin) => admin.listUsers({ limit: 0.5 })],
    'listUsers of no number': ['INVALID_OPTIONS', (admin) => admin.listUsers({ limit: bad('5') })],
    'listUsers of no name': ['INVALID_OPTIONS', (admin) => admin.listUsers({ name: bad(5) })],
    'listUsers with a word': ['INVALID_OPTIONS', (admin) => admin.listUsers({ deactivated: bad('yes') })],
    'setDisplayName to a number': ['INVALID_OPTIONS', (admin) => admin.setDisplayName(alice, bad(7))],
    'setDisplayName to nothing': ['INVALID_OPTIONS', (admin) => admin.setDisplayName(alice, bad(undefined))],
    'deactivateUser with a word': ['INVALID_OPTIONS', (admin) => admin.deactivateUser(alice, { erase: bad('yes') })],
    'deactivateUser of nobody': ['INVALID_USER_ID', (admin) => admin.deactivateUser('')],
    'reactivateUser of nobody': ['INVALID_USER_ID', (admin) => admin.reactivateUser('@')],
    'listDevices of nobody': ['INVALID_USER_ID', (admin) => admin.listDevices('a:b')],
    'deleteDevice of no device': ['INVALID_OPTIONS', (admin) => admin.deleteDevice(alice, '')],
    'deleteDevice of a path': ['INVALID_OPTIONS', (admin) => admin.deleteDevice(alice, '..')],
    'joinRoom of no room': ['INVALID_OPTIONS', (admin) => admin.joinRoom(alice, 'room')],
    'joinRoom of a number': ['INVALID_OPTIONS', (admin) => admin.joinRoom(alice, bad(5))],
    'joinRoom of nobody': ['INVALID_USER_ID', (admin) => admin.joinRoom('alice', room)],
  };

  it.each(Object.entries(invalid))('refuses bad input before any request: %s', async (_title, [code, call]) => {
    const { fake, manager } = managerOnFake();
    expect(await rejection(call(manager.admin))).toMatchObject({ code });
    expect(fake.requests).toEqual([]);
  });

  it.each(each)('is asked again while the homeserver is in trouble: %s', async (_name, call) => {
    const { fake, manager, soon } = managerOnFake();
    fake.createUser({ username: 'alice', deviceId: 'D' });
    fake.faults.status({ path: /^\/_synapse/, times: 1 }, { status: 503 });
    fake.faults.drop({ path: /^\/_synapse/, times: 1, after: 1 });
    const outcome = await soon(call(manager.admin).catch((error: unknown) => error));
    expect(outcome).not.toMatchObject({ code: 'HOMESERVER_UNAVAILABLE' });
    expect(outcome).not.toMatchObject({ code: 'NETWORK' });
  });

  it.each(each)('is an error in time when nothing answers: %s', async (_name, call) => {
    const { fake, manager, soon } = managerOnFake();
    fake.faults.hang({ path: /^\/_synapse/ });
    expect(await rejection(soon(call(manager.admin)))).toMatchObject({
      code: expect.toBeOneOf(['TIMEOUT', 'HOMESERVER_UNAVAILABLE']),
    });
  });

  it.each(each)('is an error when the answer is not Matrix: %s', async (_name, call) => {
    const { fake, manager, soon } = managerOnFake();
    const release = fake.faults.html({ path: /^\/_synapse/ });
    expect(await rejection(soon(call(manager.admin)))).toMatchObject({ code: 'INVALID_RESPONSE' });
    release();
    fake.faults.wrongTypes({ path: /^\/_synapse/ }, []);
    const outcome = await soon(call(manager.admin).catch((error: unknown) => error));
    if (outcome !== undefined) expect(outcome).toMatchObject({ code: 'INVALID_RESPONSE' });
  });

  it.each(each)(
    'ends with MANAGER_CLOSED when the manager closes, and is not made afterwards: %s',
    async (_name, call) => {
      const { fake, clock } = managerOnFake();
      const connections = fetchTransport(fake.fetch).open();
      const options = { homeserverUrl: fake.baseUrl, connections, clock, requestTimeoutMs: 10_000 };
      const homeserver = testHomeserver(options);
      const lifecycle = new ManagerLifecycle();
      const account = new OwnAdmin(homeserver.http, fake.admin, lifecycle.signal);
      const connection = new SynapseAdminHttp(homeserver, account, 4);
      const provisioner = new SynapseAdminProvisioner(connection);
      const admin = new AdminApi(connection, provisioner, 'hs.test', lifecycle, {
        onDeactivated: async () => {},
        onRenamed: () => {},
      });
      fake.faults.hang({ path: /^\/_synapse/ });
      const failure = rejection(call(admin));
      await clock.advance(0);
      lifecycle.beginShutdown();
      lifecycle.abortInFlight();
      expect(await failure).toMatchObject({ code: 'MANAGER_CLOSED' });
      await clock.advance(0);
      expect({ timers: clock.pendingTimers, inFlight: fake.inFlight }).toEqual({ timers: 0, inFlight: 0 });
      fake.clearRequests();
      expect(await rejection(call(admin))).toMatchObject({ code: 'MANAGER_CLOSED' });
      expect(fake.requests).toEqual([]);
    },
  );
});
