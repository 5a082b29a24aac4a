import { afterEach, describe, expect, it } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';
import { Recorder } from '../support/recorder.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

/** A room of Alice's whose members her client has seen, and what happens there while she is not told. */
async function setUp() {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  const manager = new MatrixClientManager({ homeserverUrl: fake.baseUrl, fetch: fake.fetch, clock, timelineLimit: 5 });
  open.push(fake, manager);
  const [alice, bob, carol, dave] = ['alice', 'bob', 'carol', 'dave'].map((username) => fake.createUser({ username }));
  if (!alice || !bob || !carol || !dave) throw new Error('no users');
  const roomId = fake.createRoom({ creator: bob.userId, members: [alice.userId, carol.userId] });
  const recorder = new Recorder();
  await manager.startClient({ ...alice, callbacks: [recorder.callback] });
  const members = (): Promise<string[] | undefined> =>
    manager.withClient(alice.userId, async (client) => {
      const room = client.getRoom(roomId);
      await room?.loadMembersIfNeeded();
      return room?.getJoinedMembers().map(({ userId }) => userId);
    });
  expect(await members()).toEqual(expect.arrayContaining([alice.userId, bob.userId, carol.userId]));
  const unseen = (): void => {
    fake.leave(roomId, carol.userId);
    fake.invite(roomId, dave.userId);
    fake.join(roomId, dave.userId);
    for (let n = 0; n < 12; n++) fake.sendMessage(roomId, bob.userId, `message ${n}`);
  };
  const now = [alice, bob, dave].map(({ userId }) => userId).toSorted();
  return { clock, fake, alice, bob, roomId, recorder, members, unseen, now };
}

describe('a room that is given anew', () => {
  it('after its position was lost has the members that it has now', async () => {
    const { clock, fake, recorder, bob, roomId, members, unseen, now } = await setUp();
    fake.faults.status({ endpoint: '/sync', times: 1 }, { status: 400, errcode: 'M_UNKNOWN_POS' });
    fake.restart();
    unseen();
    await clock.advance(5_000);
    fake.sendMessage(roomId, bob.userId, 'after');
    await recorder.message('after');
    expect((await members())?.toSorted()).toEqual(now);
  });

  it('after the user was out of it has the members that it has now', async () => {
    const { clock, fake, alice, bob, roomId, recorder, members, unseen, now } = await setUp();
    fake.leave(roomId, alice.userId);
    await clock.advance(1_000);
    unseen();
    fake.invite(roomId, alice.userId);
    await clock.advance(1_000);
    fake.join(roomId, alice.userId);
    fake.sendMessage(roomId, bob.userId, 'after');
    await recorder.message('after');
    expect((await members())?.toSorted()).toEqual(now);
  });
});
