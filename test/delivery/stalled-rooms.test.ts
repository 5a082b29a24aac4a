import { expect, it, onTestFinished } from 'vitest';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';

const alice = '@alice:hs.test';
const bob = '@bob:hs.test';

function setUp() {
  const world = managerOnFake();
  const { fake, manager, clock, soon } = world;
  const user = fake.createUser({ username: 'alice' });
  fake.createUser({ username: 'bob' });
  onTestFinished(async () => {
    await soon(manager.shutdown());
    await fake.close();
    expect({ inFlight: fake.inFlight, timers: clock.pendingTimers }).toEqual({ inFlight: 0, timers: 0 });
  });
  return { ...world, user };
}

it('a room whose history the homeserver answers with 500 goes on, and shows in health, info and metrics', async () => {
  const { fake, manager, clock, soon, user } = setUp();
  const room = (): string => fake.createRoom({ creator: bob, members: [alice] });
  const [damaged, sound] = [room(), room()];
  const got = new Recorder();
  const gaps: unknown[] = [];
  manager.on('gap', (gap) => gaps.push(gap));
  await soon(manager.startClient({ ...user, callbacks: [got.callback] }));
  await soon(manager.stopClient(alice));
  for (let n = 0; n < 60; n++) fake.sendMessage(damaged, bob, `missed ${n}`);
  const mend = fake.faults.status({ path: new RegExp(`${encodeURIComponent(damaged)}/messages`) }, { status: 500 });
  await soon(manager.startClient(user));
  fake.sendMessage(sound, bob, 'other room');
  await clock.advance(60_000);
  expect(got.bodies()).toEqual(['other room']);
  expect(manager.clientInfo(alice)?.stalledRooms).toBe(1);
  expect(await manager.checkHealth()).toEqual({
    status: 'degraded',
    reasons: ['1 rooms have missing events that the homeserver fails to return'],
  });
  await clock.advance(900_000);
  expect(gaps).toMatchObject([{ userId: alice, roomId: damaged, reason: 'error', error: { status: 500 } }]);
  fake.sendMessage(damaged, bob, 'live');
  await clock.advance(1_000);
  expect(got.bodies(damaged).at(-1)).toBe('live');
  expect(got.bodies(damaged)).toHaveLength(51); // those that the sync brought
  expect(manager.stats().stalledRooms).toBe(1);
  mend();
});
