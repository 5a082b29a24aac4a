import { afterEach, describe, expect, it } from 'vitest';
import type { MatrixClientManager, MatrixClientManagerOptions } from '../../src/index.js';
import { AdminApi } from '../../src/provisioning/admin-api.js';
import { Rooms } from '../../src/rooms/rooms.js';
import { managerOnFake } from '../support/manager-on-fake.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

interface Context {
  readonly manager: MatrixClientManager;
  readonly userId: string;
  readonly roomId: string;
  readonly eventId: string;
  readonly signal: AbortSignal;
}
type Call = (context: Context) => Promise<unknown>;

const calls: Record<string, Call> = {
  startClient: ({ manager, userId, signal }) => manager.startClient({ userId, signal }),
  withClient: ({ manager, userId, signal }) => manager.withClient(userId, () => undefined, { signal }),
  encryptionStatus: ({ manager, userId, signal }) => manager.encryptionStatus(userId, { signal }),
  userVerification: ({ manager, userId, signal }) => manager.userVerification(userId, userId, { signal }),
  verifyUser: ({ manager, userId, signal }) => manager.verifyUser(userId, userId, { signal }),
  resetIdentity: ({ manager, userId, signal }) => manager.resetIdentity(userId, { signal }),
  sendMessage: ({ manager, userId, roomId, signal }) => manager.sendMessage({ userId, roomId, text: 'x', signal }),
  durable: ({ manager, userId, roomId, signal }) =>
    manager.sendMessage({ userId, roomId, text: 'x', durable: true, signal }),
  sendFile: ({ manager, userId, roomId, signal }) =>
    manager.sendFile({ userId, roomId, file: { name: 'x', body: new Uint8Array(1) }, signal }),
  sendTyping: ({ manager, userId, roomId, signal }) => manager.sendTyping({ userId, roomId, typing: true, signal }),
  sendReadReceipt: ({ manager, userId, roomId, eventId, signal }) =>
    manager.sendReadReceipt({ userId, roomId, eventId, signal }),
  getRoomMessages: ({ manager, userId, roomId, signal }) => manager.getRoomMessages({ userId, roomId, signal }),
  downloadFile: ({ manager, userId, signal }) =>
    manager.downloadFile({ userId, content: { body: 'x', url: 'mxc://hs.test/x' }, signal }),
  request: ({ manager, userId, signal }) =>
    manager.request({ userId, method: 'GET', path: '/_matrix/client/v3/joined_rooms', signal }),
  'rooms.create': ({ manager, userId, signal }) => manager.rooms.create({ userId, signal }),
  'rooms.invite': ({ manager, userId, roomId, signal }) =>
    manager.rooms.invite({ userId, roomId, targetUserId: '@bob:hs.test', signal }),
  'rooms.join': ({ manager, userId, roomId, signal }) => manager.rooms.join({ userId, roomId, signal }),
  'rooms.knock': ({ manager, userId, roomId, signal }) => manager.rooms.knock({ userId, roomId, signal }),
  'rooms.leave': ({ manager, userId, roomId, signal }) => manager.rooms.leave({ userId, roomId, signal }),
  'rooms.kick': ({ manager, userId, roomId, signal }) =>
    manager.rooms.kick({ userId, roomId, targetUserId: '@bob:hs.test', signal }),
  'rooms.ban': ({ manager, userId, roomId, signal }) =>
    manager.rooms.ban({ userId, roomId, targetUserId: '@bob:hs.test', signal }),
  'rooms.unban': ({ manager, userId, roomId, signal }) =>
    manager.rooms.unban({ userId, roomId, targetUserId: '@bob:hs.test', signal }),
  'rooms.forget': ({ manager, userId, roomId, signal }) => manager.rooms.forget({ userId, roomId, signal }),
  'rooms.members': ({ manager, userId, roomId, signal }) => manager.rooms.members({ userId, roomId, signal }),
  'rooms.ensureMember': ({ manager, userId, roomId, signal }) =>
    manager.rooms.ensureMember({ userIds: ['@carol:hs.test'], by: userId, roomId, signal }),
  'rooms.getState': ({ manager, userId, roomId, signal }) => manager.rooms.getState({ userId, roomId, signal }),
  'rooms.setState': ({ manager, userId, roomId, signal }) =>
    manager.rooms.setState({ userId, roomId, type: 'm.room.topic', content: {}, signal }),
  'rooms.setPowerLevels': ({ manager, userId, roomId, signal }) =>
    manager.rooms.setPowerLevels({ userId, roomId, powerLevels: { ban: 1 }, signal }),
  'rooms.resolveAlias': ({ manager, userId, signal }) =>
    manager.rooms.resolveAlias({ userId, alias: '#a:hs.test', signal }),
  'rooms.setAlias': ({ manager, userId, roomId, signal }) =>
    manager.rooms.setAlias({ userId, alias: '#a:hs.test', roomId, signal }),
  'rooms.removeAlias': ({ manager, userId, signal }) =>
    manager.rooms.removeAlias({ userId, alias: '#a:hs.test', signal }),
  'rooms.findOrCreateDirect': ({ manager, userId, signal }) =>
    manager.rooms.findOrCreateDirect({ userId, otherUserId: '@bob:hs.test', signal }),
  'rooms.upgrade': ({ manager, userId, roomId, signal }) =>
    manager.rooms.upgrade({ userId, roomId, version: '12', signal }),
  'rooms.delete': ({ manager, roomId, signal }) => manager.rooms.delete({ roomId, signal }),
  provisionUser: ({ manager, signal }) => manager.provisionUser({ username: 'carol', signal }),
  'admin.getUser': ({ manager, userId, signal }) => manager.admin.getUser(userId, { signal }),
  'admin.listUsers': ({ manager, signal }) => manager.admin.listUsers({ signal }),
  'admin.setDisplayName': ({ manager, userId, signal }) => manager.admin.setDisplayName(userId, 'A', { signal }),
  'admin.deactivateUser': ({ manager, userId, signal }) => manager.admin.deactivateUser(userId, { signal }),
  'admin.reactivateUser': ({ manager, userId, signal }) => manager.admin.reactivateUser(userId, { signal }),
  'admin.listDevices': ({ manager, userId, signal }) => manager.admin.listDevices(userId, { signal }),
  'admin.deleteDevice': ({ manager, userId, signal }) => manager.admin.deleteDevice(userId, 'D', { signal }),
  'admin.joinRoom': ({ manager, userId, roomId, signal }) => manager.admin.joinRoom(userId, roomId, { signal }),
  'admin.isUsernameAvailable': ({ manager, signal }) => manager.admin.isUsernameAvailable('carol', { signal }),
};
const ofTheAdmin = Object.keys(calls).filter((name) => name.startsWith('admin.'));
const ofTheRooms = Object.keys(calls).filter((name) => name.startsWith('rooms.'));
const ofTheClient = [
  'startClient',
  'withClient',
  'encryptionStatus',
  'userVerification',
  'verifyUser',
  'resetIdentity',
];
const sends = ['sendMessage', 'durable', 'sendFile', 'sendTyping', 'sendReadReceipt'];
const reads = ['getRoomMessages', 'downloadFile', 'request', ...ofTheRooms.filter((name) => name !== 'rooms.delete')];

function setUp(options: Partial<MatrixClientManagerOptions> = {}) {
  const on = managerOnFake(options);
  open.push(on.fake, on.manager);
  const { fake } = on;
  const [alice, bob] = [fake.createUser({ username: 'alice' }), fake.createUser({ username: 'bob' })];
  const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
  const eventId = fake.sendMessage(roomId, bob.userId, 'read me');
  return { ...on, alice, bob, roomId, eventId };
}

/** Makes the call, sees to it that it waits, and gives what it ends with when its signal fires and no time passes. */
async function endOf(name: string, { clock, ...rest }: ReturnType<typeof setUp>): Promise<unknown> {
  const controller = new AbortController();
  let end: unknown = 'still waiting';
  const context = { ...rest, userId: rest.alice.userId, signal: controller.signal };
  const call = calls[name] as Call;
  void call(context).then(
    () => (end = 'done'),
    (error: unknown) => (end = error),
  );
  await clock.advance(10);
  expect(end).toBe('still waiting');
  controller.abort(new Error('of the caller'));
  await new Promise((resolve) => setTimeout(resolve)); // of the machine: the manager's clock stands still
  await new Promise((resolve) => setTimeout(resolve));
  return end;
}

describe('a signal ends a call at once', () => {
  it.each([...ofTheClient, ...sends])('that waits for a start: %s', async (name) => {
    const on = setUp();
    await on.storage.setCredentials(on.alice);
    on.fake.faults.hang({ endpoint: '/sync' });
    on.manager.addCallback(on.alice.userId, () => {});
    expect(await endOf(name, on)).toMatchObject({ code: 'ABORTED' });
  });

  it.each([...ofTheClient, ...sends])('that waits for a place under maxClients: %s', async (name) => {
    const on = setUp({ maxClients: 1 });
    await on.storage.setCredentials(on.alice);
    await on.manager.startClient(on.bob);
    const over = Promise.withResolvers<void>();
    const using = on.manager.withClient(on.bob.userId, () => over.promise);
    on.manager.addCallback(on.alice.userId, () => {});
    expect(await endOf(name, on)).toMatchObject({ code: 'ABORTED' });
    over.resolve();
    await using;
    await on.clock.advance(100);
    expect(on.manager.hasClient(on.alice.userId)).toBe(false); // nobody wants it any more
    expect(on.manager.clientInfo(on.bob.userId)).toMatchObject({ state: 'live', leases: 0 });
  });

  it.each([...ofTheClient, ...sends, ...reads, 'provisionUser'])('that waits for `credentials`: %s', async (name) => {
    expect(await endOf(name, setUp({ credentials: () => new Promise(() => {}) }))).toMatchObject({ code: 'ABORTED' });
  });

  it.each(['sendMessage', 'durable'])('that waits for another message of the room: %s', async (name) => {
    const on = setUp();
    await on.manager.startClient(on.alice);
    on.fake.faults.hang({ path: /\/send\// });
    const { userId } = on.alice;
    const first = on.manager.sendMessage({ userId, roomId: on.roomId, text: 'first' }).catch(() => 'ended');
    await on.clock.advance(0);
    expect(await endOf(name, on)).toMatchObject({ code: 'ABORTED' });
    expect(await on.manager.listSends()).toEqual([]);
    expect(on.count('/rooms/{roomId}/send/{eventType}/{txnId}')).toBe(1);
    const closing = on.manager.shutdown();
    await on.clock.advance(20_000);
    await closing;
    expect(await first).toBe('ended');
  });

  it.each([...sends, ...reads, ...ofTheAdmin, 'rooms.delete', 'provisionUser'])(
    'that waits for the rate limit: %s',
    async (name) => {
      const on = setUp({ rateLimit: { perSecond: 0.001, burst: 1 } });
      await on.storage.setCredentials(on.alice);
      await on.manager.checkHealth(); // takes what may go out
      expect(await endOf(name, on)).toMatchObject({ code: 'ABORTED' });
    },
  );

  it.each([...ofTheAdmin, 'provisionUser'])('that waits for an answer of the Admin API: %s', async (name) => {
    const on = setUp();
    on.fake.faults.hang({ path: /_synapse/ });
    expect(await endOf(name, on)).toMatchObject({ code: 'ABORTED' });
    if (ofTheAdmin.includes(name)) expect(on.manager.stats().admin).toEqual({ running: 0, waiting: 0 });
  });

  it('has a row here for every call of manager.rooms', () => {
    const names = Object.getOwnPropertyNames(Rooms.prototype).filter((name) => name !== 'constructor');
    expect(ofTheRooms).toEqual(names.map((name) => `rooms.${name}`));
  });

  it('has a row here for every call of manager.admin', () => {
    const names = Object.getOwnPropertyNames(AdminApi.prototype).filter((name) => name !== 'constructor');
    expect(ofTheAdmin).toEqual(names.map((name) => `admin.${name}`));
  });

  it.each([...ofTheAdmin, 'provisionUser'])('that waits for a place among the admin calls: %s', async (name) => {
    const on = setUp({ adminConcurrency: 1 });
    on.fake.faults.hang({ path: /_synapse/ });
    const first = on.manager.admin.getUser(on.alice.userId).catch(() => 'ended');
    await on.clock.advance(0);
    expect(await endOf(name, on)).toMatchObject({ code: 'ABORTED' });
    if (ofTheAdmin.includes(name)) expect(on.manager.stats().admin).toEqual({ running: 1, waiting: 0 });
    const closing = on.manager.shutdown();
    await on.clock.advance(20_000);
    await closing;
    expect(await first).toBe('ended');
  });

  it('while its own function runs, which holds the client until it is done', async () => {
    const { manager, alice, clock } = setUp();
    await manager.startClient(alice);
    const over = Promise.withResolvers<void>();
    const controller = new AbortController();
    const using = manager.withClient(alice.userId, () => over.promise, { signal: controller.signal });
    await clock.advance(0);
    controller.abort();
    await expect(using).rejects.toMatchObject({ code: 'ABORTED' });
    expect(manager.clientInfo(alice.userId)).toMatchObject({ leases: 1 });
    over.resolve();
    await clock.advance(0);
    expect(manager.clientInfo(alice.userId)).toMatchObject({ leases: 0 });
  });
});

it.each(Object.keys(calls))('a signal that has fired already ends %s before anything is sent', async (name) => {
  const on = setUp();
  const { userId } = on.alice;
  await on.storage.setCredentials(on.alice);
  const call = calls[name] as Call;
  await expect(call({ ...on, userId, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
  await on.clock.advance(100);
  expect(on.fake.requests).toEqual([]);
  expect(on.manager.listClients()).toEqual([]);
});
