import { describe, expect, it } from 'vitest';
import { rejection } from '../support/rejection.js';
import { roomsOnFake } from './rooms-on-fake.js';

const DIRECT = '/user/{userId}/account_data/{type}';

describe('ensureMember', () => {
  it('has 1,000 users in a room with one call, eight at a time', async () => {
    const { fake, rooms, add, alice, soon } = await roomsOnFake();
    const { roomId } = await rooms.create({ userId: alice });
    const userIds: string[] = [];
    for (let n = 0; n < 1_000; n++) userIds.push(await add(`u${n}`));
    fake.clearRequests();
    const results = await soon(rooms.ensureMember({ roomId, userIds, by: alice }));
    expect(results.map(({ userId }) => userId)).toEqual(userIds);
    expect(new Set(results.map(({ status }) => status))).toEqual(new Set(['joined']));
    expect(fake.requests.length).toBe(2_002);
    fake.clearRequests();
    await rooms.ensureMember({ roomId, userIds, by: alice });
    expect(fake.requests.length).toBe(1);
    expect(await rooms.ensureMember({ roomId, userIds: [], by: alice })).toEqual([]);
  });

  it('waits out rate limits, and tells each failure', async () => {
    const { fake, rooms, alice, bob, carol, soon } = await roomsOnFake();
    const { roomId } = await rooms.create({ userId: alice });
    fake.faults.rateLimit({ endpoint: '/rooms/{roomId}/invite', times: 9 }, { retryAfterMs: 3_000 });
    fake.faults.status(
      { endpoint: '/join/{roomIdOrAlias}', userId: carol },
      { status: 400, body: { errcode: 'M_UNKNOWN' } },
    );
    const results = await soon(rooms.ensureMember({ roomId, userIds: [bob, carol], by: alice }));
    expect(results).toMatchObject([{ status: 'joined' }, { status: 'failed', error: { code: 'REJECTED' } }]);
  });

  it('ends with its signal', async () => {
    const { fake, rooms, alice, bob, carol, clock } = await roomsOnFake();
    const { roomId } = await rooms.create({ userId: alice });
    fake.faults.hang({ endpoint: '/join/{roomIdOrAlias}' });
    const controller = new AbortController();
    const call = rejection(rooms.ensureMember({ roomId, userIds: [bob, carol], by: alice, signal: controller.signal }));
    await clock.advance(10);
    controller.abort();
    expect(await call).toMatchObject({ code: 'ABORTED' });
    await clock.advance(0);
    expect(fake.inFlight).toBe(0);
  });
});

describe('findOrCreateDirect', () => {
  it('keeps what else is in m.direct, and repairs what is not a list', async () => {
    const { fake, manager, rooms, alice, bob, carol } = await roomsOnFake();
    const account = { userId: alice, path: '/_matrix/client/v3/user/{userId}/account_data/m.direct' } as const;
    const at = { ...account, pathParams: { userId: alice } };
    await manager.request({ ...at, method: 'PUT', body: { [bob]: 'broken', '@other:hs.test': ['!x:hs.test', 7] } });
    const [first, second] = await Promise.all(
      [bob, carol].map((otherUserId) => rooms.findOrCreateDirect({ userId: alice, otherUserId })),
    );
    expect(await manager.request({ ...at, method: 'GET' })).toEqual({
      [bob]: [first?.roomId],
      [carol]: [second?.roomId],
      '@other:hs.test': ['!x:hs.test', 7],
    });
    expect(fake.events(first?.roomId ?? '').find(({ stateKey }) => stateKey === bob)?.content).toMatchObject({
      membership: 'invite',
      is_direct: true,
    });
  });

  it('does not give back a room with a third member, or one that the user has left', async () => {
    const { fake, rooms, alice, bob, carol } = await roomsOnFake();
    const ask = () => rooms.findOrCreateDirect({ userId: alice, otherUserId: bob });
    const first = await ask();
    fake.join(first.roomId, carol);
    const second = await ask();
    expect(second.created).toBe(true);
    await rooms.leave({ userId: alice, roomId: second.roomId });
    expect((await ask()).created).toBe(true);
  });

  it('makes no room, and changes nothing, if a proxy answers 404 for m.direct', async () => {
    const { fake, rooms, alice, bob, count } = await roomsOnFake();
    const endpoint = '/user/{userId}/account_data/{type}';
    fake.faults.status({ endpoint, method: 'GET' }, { status: 404, body: { errcode: 'M_SOMETHING' } });
    const found = rooms.findOrCreateDirect({ userId: alice, otherUserId: bob });
    expect(await rejection(found)).toMatchObject({ status: 404 });
    expect(count('/createRoom')).toBe(0);
    expect(count(endpoint, 'PUT')).toBe(0);
  });

  it('does not lose the room if m.direct cannot be stored', async () => {
    const { fake, rooms, count, soon, alice, bob } = await roomsOnFake();
    const repair = fake.faults.status(
      { endpoint: DIRECT, method: 'PUT' },
      { status: 400, body: { errcode: 'M_UNKNOWN' } },
    );
    const ask = () => soon(rooms.findOrCreateDirect({ userId: alice, otherUserId: bob }));
    expect(await rejection(ask())).toMatchObject({ code: 'REJECTED' });
    repair();
    expect(await ask()).toMatchObject({ created: false });
    expect(count('/createRoom')).toBe(1);
  });

  it.each(['alice', 'bob'] as const)(
    'finds the room of a call that its signal has ended, when %s asks',
    async (who) => {
      const { fake, rooms, clock, count, ...on } = await roomsOnFake();
      const { alice, bob } = on;
      fake.faults.dropAfter({ endpoint: '/createRoom', times: 1 });
      const controller = new AbortController();
      const first = rejection(
        rooms.findOrCreateDirect({ userId: alice, otherUserId: bob, encrypted: true, signal: controller.signal }),
      );
      await clock.advance(100); // the answer is lost, and the room is not looked for yet
      controller.abort();
      expect(await first).toMatchObject({ code: 'ABORTED' });
      const [userId, otherUserId] = who === 'alice' ? [alice, bob] : [bob, alice];
      expect(await rooms.findOrCreateDirect({ userId, otherUserId })).toMatchObject({ created: false });
      expect(count('/createRoom')).toBe(1);
    },
  );

  it('takes no failure of the homeserver for a room that is not there', async () => {
    const { fake, rooms, count, soon, alice, bob } = await roomsOnFake();
    await rooms.findOrCreateDirect({ userId: alice, otherUserId: bob });
    fake.faults.status({ endpoint: '/rooms/{roomId}/members' }, { status: 500 });
    const ask = rooms.findOrCreateDirect({ userId: alice, otherUserId: bob });
    expect(await rejection(soon(ask))).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE' });
    expect(count('/createRoom')).toBe(1);
  });

  it('ends with its signal while it waits for another call, which goes on', async () => {
    const { fake, rooms, clock, count, alice, bob } = await roomsOnFake();
    const release = fake.faults.latency({ endpoint: '/createRoom' }, 1_000);
    const first = rooms.findOrCreateDirect({ userId: alice, otherUserId: bob });
    await clock.advance(10);
    const controller = new AbortController();
    const second = rejection(rooms.findOrCreateDirect({ userId: bob, otherUserId: alice, signal: controller.signal }));
    await clock.advance(10);
    controller.abort();
    expect(await second).toMatchObject({ code: 'ABORTED' });
    release();
    await clock.advance(2_000);
    expect(await first).toMatchObject({ created: true });
    expect(count('/createRoom')).toBe(1);
  });
});

describe('delete', () => {
  it('ends in time, and with its signal, and contains what onProgress throws', async () => {
    const { fake, rooms, logger, clock, alice } = await roomsOnFake();
    const roomId = fake.createRoom({ creator: alice });
    const status = '/_synapse/admin/v2/rooms/delete_status/{deleteId}';
    const active = { delete_id: 'd', status: 'active', shutdown_room: null };
    fake.faults.rewrite({ endpoint: status }, () => active);
    const onProgress = (): never => {
      throw new Error('of the application');
    };
    const late = rejection(rooms.delete({ roomId, timeoutMs: 2_000, onProgress }));
    await clock.advance(3_000);
    expect(await late).toMatchObject({ code: 'TIMEOUT', roomId });
    expect(logger.entries.filter(({ message }) => message.includes('onProgress')).length).toBeGreaterThan(0);
    const controller = new AbortController();
    const aborted = rejection(rooms.delete({ roomId, signal: controller.signal }));
    await clock.advance(1_000);
    controller.abort();
    expect(await aborted).toMatchObject({ code: 'ABORTED' });
    await clock.advance(0);
    fake.clearRequests();
    await clock.advance(60_000);
    expect(fake.requests).toEqual([]);
  });

  it('rejects if the homeserver fails to delete, and goes on after a failure that passes', async () => {
    const { fake, rooms, soon, alice } = await roomsOnFake();
    const status = '/_synapse/admin/v2/rooms/delete_status/{deleteId}';
    fake.faults.status({ endpoint: status, times: 5 }, { status: 502 });
    expect(await soon(rooms.delete({ roomId: fake.createRoom({ creator: alice }) }))).toMatchObject({
      status: 'complete',
    });
    fake.faults.rewrite({ endpoint: status }, () => ({ delete_id: 'd', status: 'failed', shutdown_room: {} }));
    const failed = rooms.delete({ roomId: fake.createRoom({ creator: alice }) });
    expect(await rejection(soon(failed))).toMatchObject({ code: 'REJECTED' });
  });

  it('keeps others out of a blocked room, and is FORBIDDEN to an admin that is none', async () => {
    const { fake, rooms, soon, alice, bob } = await roomsOnFake();
    const roomId = fake.createRoom({ creator: alice, preset: 'public_chat' });
    await soon(rooms.delete({ roomId, block: true, purge: false }));
    expect(await rejection(rooms.join({ userId: bob, roomId }))).toMatchObject({ code: 'FORBIDDEN' });
    const plain = await roomsOnFake({ admin: fake.createUser() });
    expect(await rejection(plain.soon(plain.rooms.delete({ roomId })))).toMatchObject({ code: 'UNKNOWN_TOKEN' });
  });

  it('has the clients of removed members let the room go', async () => {
    const { manager, fake, rooms, soon, alice, bob } = await roomsOnFake();
    const roomId = fake.createRoom({ creator: alice, members: [bob] });
    const gaps: string[] = [];
    manager.on('gap', (gap) => gaps.push(gap.roomId));
    await soon(manager.startClient({ userId: bob, callbacks: [() => {}] }));
    await soon(rooms.delete({ roomId }));
    fake.sendMessage(fake.createRoom({ creator: alice, members: [bob] }), alice, 'next sync');
    await soon(new Promise<void>((resolve) => void manager.on('gap', () => resolve())));
    expect(gaps).toEqual([roomId]);
    expect(manager.clientInfo(bob)).toMatchObject({ state: 'live' });
  });
});

describe('answers that are not what they should be', () => {
  it('cost the broken members themselves, and are counted', async () => {
    const { fake, manager, rooms, alice, bob } = await roomsOnFake();
    const roomId = fake.createRoom({ creator: alice, members: [bob] });
    fake.faults.rewrite({ endpoint: '/rooms/{roomId}/members' }, (body) => {
      const { chunk } = body as { chunk: object[] };
      const odd = { type: 'm.room.member', content: { membership: 'join', displayname: 7 }, state_key: '@odd:hs.test' };
      return { chunk: [null, 7, {}, { ...odd, state_key: '__proto__' }, odd, ...chunk] };
    });
    const { members } = await rooms.members({ userId: alice, roomId });
    expect(members.map(({ userId }) => userId)).toEqual([alice, bob, '@odd:hs.test']);
    expect(members.at(-1)).toMatchObject({ displayName: undefined, avatarUrl: undefined, powerLevel: 0 });
    expect(manager.stats().malformedParts).toBe(4);
  });

  it('are errors', async () => {
    const { fake, rooms, soon, alice } = await roomsOnFake();
    const roomId = fake.createRoom({ creator: alice });
    fake.faults.rewrite({ path: /./ }, () => []);
    const calls = [
      rooms.members({ userId: alice, roomId }),
      rooms.getState({ userId: alice, roomId, type: 'm.room.create' }),
      rooms.resolveAlias({ userId: alice, alias: '#a:hs.test' }),
      rooms.join({ userId: alice, roomId }),
    ];
    for (const outcome of await soon(Promise.allSettled(calls))) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'INVALID_RESPONSE' } });
    }
  });
});

describe('power levels', () => {
  it('are changed one after the other, and not at all if they are so already', async () => {
    const { fake, rooms, count, alice, bob } = await roomsOnFake();
    const { roomId } = await rooms.create({ userId: alice });
    const users = Array.from({ length: 20 }, (_, n) => `@u${n}:hs.test`);
    await Promise.all(
      users.map((user) => rooms.setPowerLevels({ userId: alice, roomId, powerLevels: { users: { [user]: 10 } } })),
    );
    const levels = await rooms.getState({ userId: alice, roomId, type: 'm.room.power_levels' });
    expect(Object.keys(levels.users as object)).toHaveLength(21);
    const writes = (): number => fake.events(roomId).filter(({ type }) => type === 'm.room.power_levels').length;
    const before = writes();
    const put = count('/rooms/{roomId}/state/{eventType}/', 'PUT');
    await rooms.setPowerLevels({ userId: alice, roomId, powerLevels: { users: { '@u1:hs.test': 10 }, ban: 50 } });
    expect([writes(), count('/rooms/{roomId}/state/{eventType}/', 'PUT')]).toEqual([before, put]);
    expect(fake.events(roomId).some(({ stateKey }) => stateKey === bob)).toBe(false);
  });
});
