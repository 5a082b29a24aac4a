import { expect, it, onTestFinished } from 'vitest';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';

/** A live client of a user with an unread message in each of the rooms A and B. */
async function setUp(options: Parameters<typeof managerOnFake>[0] = {}) {
  const on = managerOnFake(options);
  const { fake, manager, soon } = on;
  onTestFinished(() => soon(manager.shutdown()));
  const { userId: alice } = await manager.provisionUser({ username: 'alice' });
  const bob = fake.createUser({ username: 'bob' }).userId;
  const [a, b] = ['A', 'B'].map((name) => fake.createRoom({ creator: bob, members: [alice], name })) as [
    string,
    string,
  ];
  const recorder = new Recorder();
  await manager.startClient({ userId: alice });
  manager.addCallback(alice, recorder.callback, { types: ['unread', 'membership'] });
  await manager.unreadCounts([alice]);
  const unreadIs = (roomId: string, unread: number): Promise<unknown> =>
    recorder.first((event) => event.type === 'unread' && event.roomId === roomId && event.unread === unread);
  for (const roomId of [a, b]) {
    fake.sendMessage(roomId, bob, 'hello');
    await unreadIs(roomId, 1);
  }
  return { ...on, alice, bob, a, b, unreadIs };
}

it('a room that the user leaves has no unread events, and an event says so', async () => {
  const { manager, fake, alice, a, unreadIs } = await setUp();
  fake.leave(a, alice);
  await unreadIs(a, 0);
  expect((await manager.unreadCounts([alice])).get(alice)).toMatchObject({ unread: 1, rooms: 1 });
});

it('a room that the user leaves while the position is lost is neither counted nor listed', async () => {
  const { manager, fake, alice, bob, a, b, unreadIs, soon } = await setUp({ slidingSync: false });
  fake.faults.status({ endpoint: '/sync', times: 5 }, { status: 400, errcode: 'M_UNKNOWN_POS' });
  fake.sendMessage(b, bob, 'wake');
  fake.leave(a, alice);
  await soon(unreadIs(a, 0));
  expect((await manager.unreadCounts([alice])).get(alice)).toMatchObject({ unread: 2, rooms: 1 });
  expect((await manager.listRooms(alice)).rooms).toMatchObject([{ roomId: b, unread: 2 }]);
});

it('a stored count of a room that the user is not in does not count', async () => {
  const { manager, make, storage, alice } = await setUp();
  await manager.shutdown();
  await storage.commit(alice, { rooms: new Map([['unread !left:hs.test', '[3,0]']]) });
  const next = make();
  onTestFinished(() => next.shutdown());
  await next.startClient({ userId: alice });
  expect((await next.unreadCounts([alice])).get(alice)).toMatchObject({ unread: 2, rooms: 2 });
});
