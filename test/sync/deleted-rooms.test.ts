import { expect, it, onTestFinished } from 'vitest';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';

const alice = '@alice:hs.test';
const bob = '@bob:hs.test';

async function setUp(onRequest: (path: string) => void = () => {}) {
  const world = managerOnFake({
    fetch: (input, init) => {
      onRequest(new URL(input instanceof Request ? input.url : input).pathname);
      return world.fake.fetch(input, init);
    },
  });
  const { fake, manager, clock, soon } = world;
  const user = fake.createUser({ username: 'alice' });
  fake.createUser({ username: 'bob' });
  const room = (): string => fake.createRoom({ creator: bob, members: [alice] });
  const [deleted, kept] = [room(), room()];
  onTestFinished(async () => {
    await soon(manager.shutdown());
    await fake.close();
    expect({ inFlight: fake.inFlight, timers: clock.pendingTimers }).toEqual({ inFlight: 0, timers: 0 });
  });
  const got = new Recorder();
  const gaps: unknown[] = [];
  manager.on('gap', ({ userId, roomId, reason }) => gaps.push({ userId, roomId, reason }));
  await soon(manager.startClient({ ...user, callbacks: [got.callback] }));
  fake.sendMessage(deleted, bob, 'hello');
  await got.message('hello');
  const roomsOfSdk = () =>
    manager
      .getClient(alice)
      ?.getRooms()
      .map(({ roomId }) => roomId);
  return { ...world, user, deleted, kept, got, gaps, roomsOfSdk };
}

it('a room that an admin deleted while the client was stopped is gone after the resume, and the application told', async () => {
  const { fake, manager, clock, soon, storage, user, deleted, kept, gaps, roomsOfSdk, got } = await setUp();
  await soon(manager.stopClient(alice));
  fake.deleteRoom(deleted);
  await soon(manager.startClient(user));
  await clock.advance(1_000);
  expect(gaps).toEqual([{ userId: alice, roomId: deleted, reason: 'gone' }]);
  expect(roomsOfSdk()).toEqual([kept]);
  expect([...(await storage.loadCheckpoint(alice)).rooms.keys()].filter((key) => key.startsWith('!'))).toEqual([kept]);
  fake.sendMessage(kept, bob, 'still here');
  await got.message('still here');
});

it('a room whose request the homeserver refuses is not read from memory any more', async () => {
  const { fake, manager, clock, soon, deleted, kept, gaps, roomsOfSdk } = await setUp();
  const page = () => soon(manager.getRoomMessages({ userId: alice, roomId: deleted, limit: 1 }));
  expect((await page()).source).toBe('synced');
  fake.deleteRoom(deleted);
  await expect(soon(manager.sendMessage({ userId: alice, roomId: deleted, text: 'no' }))).rejects.toMatchObject({
    code: 'FORBIDDEN',
  });
  await expect(page()).rejects.toMatchObject({ status: 403 });
  await clock.advance(60_000);
  expect(gaps).toEqual([{ userId: alice, roomId: deleted, reason: 'gone' }]);
  expect(roomsOfSdk()).toEqual([kept]);
});

it.each(['/joined_rooms', '/sync'])(
  'a deleted room is found although a callback interrupts the check at its %s',
  async (interruptedAt) => {
    let interrupts: 'no' | 'at the next check' | 'now' = 'no';
    const paths: string[] = [];
    const { fake, manager, clock, soon, deleted, kept, gaps, got } = await setUp((path) => {
      if (interrupts === 'at the next check' && path.endsWith('/joined_rooms')) interrupts = 'now';
      if (interrupts !== 'now' || !path.endsWith(interruptedAt)) return;
      interrupts = 'no';
      paths.push(path);
      manager.addCallback(alice, got.callback);
    });
    manager.removeCallback(alice, got.callback);
    fake.sendMessage(kept, bob, 'missed');
    await clock.advance(1_000);
    fake.deleteRoom(deleted);
    await soon(manager.sendMessage({ userId: alice, roomId: deleted, text: 'no' }).catch(() => {}));
    interrupts = 'at the next check';
    await clock.advance(120_000);
    await got.message('missed');
    expect(paths).toHaveLength(1);
    expect(gaps).toEqual([{ userId: alice, roomId: deleted, reason: 'gone' }]);
  },
);

it('a room that the user leaves right after the resume ends with the leave, and not as deleted', async () => {
  const { fake, manager, clock, soon, user, deleted, gaps, got } = await setUp();
  await soon(manager.stopClient(alice));
  await soon(manager.startClient(user));
  fake.leave(deleted, alice);
  await clock.advance(60_000);
  expect(gaps).toEqual([]);
  await got.first((event) => event.type === 'membership' && event.membership === 'leave');
});

it.each([{}, { joined_rooms: null }, { joined_rooms: 'x' }, { joined_rooms: [null, 1, 'constructor'] }])(
  'takes no room for deleted if /joined_rooms returns %j',
  async (body) => {
    const { fake, manager, clock, soon, storage, user, deleted, kept, gaps, roomsOfSdk, got } = await setUp();
    await soon(manager.stopClient(alice));
    fake.faults.rewrite({ endpoint: '/joined_rooms', times: 1 }, () => body);
    await soon(manager.startClient(user));
    await clock.advance(60_000);
    expect(gaps).toEqual([]);
    expect(roomsOfSdk()?.toSorted()).toEqual([deleted, kept].toSorted());
    expect(
      [...(await storage.loadCheckpoint(alice)).rooms.keys()].filter((key) => key.startsWith('!')).toSorted(),
    ).toEqual([deleted, kept].toSorted());
    fake.sendMessage(deleted, bob, 'not deleted');
    await got.message('not deleted');
  },
);
