import { describe, expect, it } from 'vitest';
import { rejection } from '../support/rejection.js';
import { roomsOnFake } from './rooms-on-fake.js';

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

describe('creators', () => {
  it('are additional ones only since room version 12', async () => {
    const { manager, rooms, alice, bob } = await roomsOnFake();
    const creators: string[][] = [];
    for (const version of ['11', '12']) {
      const body = { room_version: version, creation_content: { additional_creators: [bob] }, invite: [bob] };
      const path = '/_matrix/client/v3/createRoom';
      const created = await manager.request({ userId: alice, method: 'POST', path, body });
      const { room_id: roomId } = created as { room_id: string };
      await rooms.join({ userId: bob, roomId });
      const { members } = await rooms.members({ userId: alice, roomId });
      creators.push(members.filter(({ isCreator }) => isCreator).map(({ userId }) => userId));
    }
    expect(creators).toEqual([[alice], [alice, bob]]);
  });
});

describe('upgrade', () => {
  it('makes one new room, however many calls ask', async () => {
    const { rooms, count, alice } = await roomsOnFake();
    const { roomId } = await rooms.create({ userId: alice });
    const upgrade = () => rooms.upgrade({ userId: alice, roomId, version: '11' });
    const [first, second] = await Promise.all([upgrade(), upgrade()]);
    expect(second).toEqual(first);
    expect(await rooms.upgrade({ userId: alice, roomId, version: '12' })).toEqual(first);
    expect(count('/rooms/{roomId}/upgrade')).toBe(1);
  });
});
