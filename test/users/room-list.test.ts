import { afterEach, describe, expect, it } from 'vitest';
import type { MatrixClientManager } from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';
import { rejection } from '../support/rejection.js';

const managers: MatrixClientManager[] = [];
afterEach(async () => {
  await Promise.all(managers.splice(0).map((manager) => manager.shutdown()));
});

const SLIDING = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';

async function setUp(options: Parameters<typeof managerOnFake>[0] = {}) {
  const on = managerOnFake(options);
  const { fake, manager } = on;
  managers.push(manager);
  const { userId: alice } = await manager.provisionUser({ username: 'alice' });
  const bob = fake.createUser({ username: 'bob' }).userId;
  const roomId = fake.createRoom({ creator: bob, members: [alice], name: 'Kitchen' });
  return { ...on, alice, bob, roomId };
}

describe('listRooms()', () => {
  it('makes no request for a client that has all in memory', async () => {
    const { manager, fake, alice, bob, roomId } = await setUp();
    fake.sendMessage(roomId, bob, 'hello');
    await manager.startClient({ userId: alice });
    await manager.unreadCounts([alice]);
    fake.clearRequests();
    const { rooms } = await manager.listRooms(alice);
    expect(rooms).toMatchObject([{ roomId, name: 'Kitchen', unread: 1, lastMessage: { text: 'hello' } }]);
    expect(fake.requests.filter(({ endpoint }) => endpoint !== '/sync')).toEqual([]);
  });

  it.each([true, false])('does not show messages of ignored users (sliding sync: %s)', async (slidingSync) => {
    const { manager, fake, alice, bob, roomId } = await setUp({ slidingSync });
    const eve = fake.createUser({ username: 'eve' }).userId;
    fake.join(roomId, eve);
    fake.sendMessage(roomId, bob, 'good');
    fake.sendMessage(roomId, eve, 'bad');
    await manager.ignoreUsers({ userId: alice, ignore: [eve] });
    expect((await manager.listRooms(alice)).rooms[0]?.lastMessage).toMatchObject({ text: 'good' });
  });

  it('rejects where the homeserver refuses, and does not take that for an empty list', async () => {
    const { manager, fake, alice, soon } = await setUp();
    fake.faults.status({ endpoint: '/sync' }, { status: 403, errcode: 'M_FORBIDDEN' });
    expect(await rejection(soon(manager.listRooms(alice)))).toMatchObject({ code: 'FORBIDDEN' });
    const { error } = (await soon(manager.unreadCounts([alice]))).get(alice) ?? {};
    expect(error).toMatchObject({ code: 'FORBIDDEN' });
  });

  it.each([true, false])('names an invitation after the inviter (sliding sync: %s)', async (slidingSync) => {
    const { manager, alice } = await setUp({ slidingSync });
    const { userId: carl } = await manager.provisionUser({ username: 'carl', displayName: 'Carl' });
    await manager.rooms.findOrCreateDirect({ userId: carl, otherUserId: alice });
    const { rooms } = await manager.listRooms(alice, { membership: 'invite' });
    expect(rooms).toMatchObject([{ name: 'Carl', memberCount: 1 }]);
  });

  it('does not name a room after those who have left, also after a restart', async () => {
    const { manager, make, fake, alice, bob } = await setUp();
    const carol = fake.createUser({ username: 'carol', displayName: 'Carol' }).userId;
    const roomId = fake.createRoom({ creator: bob, members: [alice, carol] });
    fake.sendMessage(roomId, carol, 'bye');
    const recorder = new Recorder();
    await manager.startClient({ userId: alice, callbacks: [recorder.callback] });
    fake.leave(roomId, carol);
    fake.sendMessage(roomId, bob, 'she left');
    await recorder.message('she left');
    await manager.shutdown();
    const next = make();
    managers.push(next);
    await next.startClient({ userId: alice, callbacks: [recorder.callback] });
    expect(await next.withClient(alice, (client) => client.getRoom(roomId)?.name)).not.toContain('Carol');
  });

  it.each(['m.call.candidates', 'm.key.verification.done', 'org.matrix.msc3381.poll.response'])(
    'does not take %s for the last message',
    async (type) => {
      const { manager, fake, alice, bob, roomId } = await setUp();
      fake.sendMessage(roomId, bob, 'hello');
      fake.sendMessage(roomId, bob, { call_id: '1' }, { type });
      expect((await manager.listRooms(alice)).rooms).toMatchObject([{ lastMessage: { text: 'hello' } }]);
    },
  );

  it('rejects with TIMEOUT where the homeserver does not answer, as do the counts of that user alone', async () => {
    const { manager, fake, alice, clock, soon } = await setUp();
    const { userId: carl } = await manager.provisionUser({ username: 'carl' });
    fake.faults.hang({ endpoint: '/sync', userId: alice });
    const begun = clock.now();
    const counts = await soon(manager.unreadCounts([alice, carl]));
    expect(counts.get(alice)?.error).toMatchObject({ code: 'TIMEOUT' });
    expect(counts.get(carl)).toMatchObject({ unread: 0 });
    expect(clock.now() - begun).toBeLessThan(70_000);
    expect(await rejection(soon(manager.listRooms(alice)))).toMatchObject({ code: 'TIMEOUT' });
    expect(clock.now() - begun).toBeLessThan(200_000);
  });

  const joined = (room: object): string =>
    `{"next_batch":"s1","rooms":{"join":{"!good:hs":${JSON.stringify(room)},"__proto__":{"timeline":{}},"!bad:hs":7}}}`;

  it.each([
    ['without any part', {}],
    [
      'with parts of wrong types',
      { timeline: 7, state: [], summary: 'x', unread_notifications: { notification_count: 'many' } },
    ],
    [
      'with events of wrong types',
      {
        timeline: { events: [null, 1, { type: 7 }] },
        state: { events: [{ type: 'm.room.name', state_key: '', content: { name: {} } }] },
      },
    ],
  ])('lists a room %s', async (_what, room) => {
    const { manager, fake, alice } = await setUp({ slidingSync: false });
    fake.faults.wrongTypes({ endpoint: '/sync' }, JSON.parse(joined(room)) as object);
    const { rooms } = await manager.listRooms(alice);
    expect(rooms).toMatchObject([{ roomId: '!good:hs', name: 'Empty room', unread: 0, lastMessage: undefined }]);
    expect((await manager.unreadCounts([alice])).get(alice)).toEqual({ unread: 0, highlights: 0, rooms: 0 });
  });

  it('rejects an answer that is no sync with INVALID_RESPONSE', async () => {
    const { manager, fake, alice, soon } = await setUp();
    fake.faults.wrongTypes({ endpoint: '/sync' }, { rooms: {} });
    expect(await rejection(soon(manager.listRooms(alice)))).toMatchObject({ code: 'INVALID_RESPONSE' });
  });

  it('uses a plain sync if sliding sync fails', async () => {
    const { manager, fake, alice, roomId, soon } = await setUp();
    fake.faults.wrongTypes({ endpoint: SLIDING }, { pos: '1', rooms: { [roomId]: 7 } });
    expect((await soon(manager.listRooms(alice))).rooms).toMatchObject([{ roomId, name: 'Kitchen' }]);
  });

  it('asks for the counts of a client that was stored without them, once', async () => {
    const { manager, make, fake, storage, alice, bob, roomId } = await setUp();
    await manager.startClient({ userId: alice });
    fake.sendMessage(roomId, bob, 'hello');
    await manager.shutdown();
    const { rooms } = await storage.loadCheckpoint(alice);
    const counts = [...rooms.keys()].filter((key) => !key.startsWith('!')).map((key) => [key, null] as const);
    await storage.commit(alice, { rooms: new Map(counts) });
    const next = make();
    managers.push(next);
    await next.startClient({ userId: alice });
    fake.clearRequests();
    for (let times = 0; times < 2; times++) {
      expect((await next.unreadCounts([alice])).get(alice)).toMatchObject({ unread: 1, rooms: 1 });
    }
    const asked = fake.requests.filter(({ endpoint, query }) => endpoint === '/sync' && query.full_state !== undefined);
    expect(asked).toHaveLength(1);
  });
});
