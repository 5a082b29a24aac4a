import { describe, expect, it } from 'vitest';
import type { FakeHomeserver } from '../../src/testing/index.js';
import { rejection } from '../support/rejection.js';
import { roomsOnFake } from './rooms-on-fake.js';

const DIRECT = '/user/{userId}/account_data/{type}';

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

  it('asks for no room of a list that is no room id, and for the members of no room without the other user', async () => {
    const { fake, manager, rooms, count, alice, bob, carol } = await roomsOnFake();
    const crowd = fake.createRoom({ creator: bob });
    fake.join(crowd, carol);
    const content = { [alice]: [`!${'x'.repeat(30_000)}`, '!a b', '!', crowd] };
    await manager.setAccountData({ userId: bob, type: 'm.direct', content });
    expect(await rooms.findOrCreateDirect({ userId: alice, otherUserId: bob })).toMatchObject({ created: true });
    expect(count('/rooms/{roomId}/members')).toBe(0);
    expect(fake.countRequests(({ path }) => path.startsWith('/_matrix/client/v3/rooms/'))).toBe(1);
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

  describe.each(['alice', 'bob'] as const)('after a call that its signal has ended, when %s asks', (who) => {
    const afterAbort = async (addFaults: (fake: FakeHomeserver) => void) => {
      const on = await roomsOnFake();
      const { fake, rooms, clock, alice, bob } = on;
      addFaults(fake);
      const controller = new AbortController();
      const first = rejection(
        rooms.findOrCreateDirect({ userId: alice, otherUserId: bob, encrypted: true, signal: controller.signal }),
      );
      await clock.advance(100);
      controller.abort();
      expect(await first).toMatchObject({ code: 'ABORTED' });
      const [userId, otherUserId] = who === 'alice' ? [alice, bob] : [bob, alice];
      return { ...on, ask: () => on.soon(rooms.findOrCreateDirect({ userId, otherUserId })) };
    };

    it('finds the room, also if it is listed late', async () => {
      const { ask, count } = await afterAbort((fake) => {
        fake.faults.dropAfter({ endpoint: '/createRoom', times: 1 });
        fake.faults.rewrite({ endpoint: '/joined_rooms', times: 2 }, () => ({ joined_rooms: [] }));
      });
      expect(await ask()).toMatchObject({ created: false });
      expect(count('/createRoom')).toBe(1);
    });

    it('waits for the answer', async () => {
      const { ask, count } = await afterAbort((fake) => fake.faults.latency({ endpoint: '/createRoom' }, 20_000));
      expect(await ask()).toMatchObject({ created: false });
      expect([count('/createRoom'), count('/joined_rooms')]).toEqual([1, 0]);
    });

    it('makes no second room while the first one is incomplete', async () => {
      let isInvited = false;
      const { ask, count } = await afterAbort((fake) => {
        fake.faults.dropAfter({ endpoint: '/createRoom', times: 1 });
        fake.faults.rewrite({ endpoint: '/rooms/{roomId}/state' }, (body) =>
          (body as { state_key: string }[]).filter(({ state_key: key }) => isInvited || !key.startsWith('@bob:')),
        );
      });
      expect(await rejection(ask())).toMatchObject({ code: 'TIMEOUT' });
      expect(count('/createRoom')).toBe(1);
      isInvited = true;
      expect(await ask()).toMatchObject({ created: false });
      expect(count('/createRoom')).toBe(1);
    });
  });

  it('makes another room if the first one is incomplete for ever, or was not made', async () => {
    const { fake, rooms, clock, count, soon, alice, bob } = await roomsOnFake();
    const ask = () => soon(rooms.findOrCreateDirect({ userId: alice, otherUserId: bob }));
    fake.faults.dropAfter({ endpoint: '/createRoom', times: 1 });
    const repair = fake.faults.rewrite({ endpoint: '/rooms/{roomId}/state' }, () => []);
    expect(await rejection(ask())).toMatchObject({ code: 'NETWORK' });
    expect(await rejection(ask())).toMatchObject({ code: 'TIMEOUT' });
    await clock.advance(600_000);
    fake.faults.drop({ endpoint: '/createRoom', times: 1 });
    expect(await rejection(ask())).toMatchObject({ code: 'NETWORK' });
    repair();
    expect(await ask()).toMatchObject({ created: true });
    expect(count('/createRoom')).toBe(3);
  });

  it('is not stopped by an unfinished creation of a user who is gone', async () => {
    const { fake, manager, rooms, count, soon, alice, bob } = await roomsOnFake();
    fake.faults.drop({ endpoint: '/createRoom', times: 1 });
    const lost = rooms.findOrCreateDirect({ userId: alice, otherUserId: bob });
    expect(await rejection(soon(lost))).toMatchObject({ code: 'NETWORK' });
    await soon(manager.forgetUser(alice));
    const ask = () => soon(rooms.findOrCreateDirect({ userId: bob, otherUserId: alice }));
    const { roomId } = await ask();
    expect(await ask()).toEqual({ roomId, created: false });
    expect(count('/createRoom')).toBe(2);
  });

  it('makes no room while the rooms of the creator cannot be read', async () => {
    const { fake, rooms, count, soon, alice, bob } = await roomsOnFake();
    const ask = () => soon(rooms.findOrCreateDirect({ userId: alice, otherUserId: bob }));
    fake.faults.dropAfter({ endpoint: '/createRoom', times: 1 });
    const repair = fake.faults.status({ endpoint: '/joined_rooms' }, { status: 502 });
    for (const code of ['NETWORK', 'HOMESERVER_UNAVAILABLE']) expect(await rejection(ask())).toMatchObject({ code });
    repair();
    expect(await ask()).toMatchObject({ created: false });
    expect(count('/createRoom')).toBe(1);
  });

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
