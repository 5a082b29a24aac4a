import { afterEach, describe, expect, it } from 'vitest';
import { ActivityHistory } from '../../src/users/activity-history.js';
import { DueTimes } from '../../src/users/due-times.js';
import { activityPolicy, MatrixClientManager } from '../../src/index.js';
import type { ActivityPolicyOptions, MatrixClientManagerOptions } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';
import { Recorder } from '../support/recorder.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

function setUp(options: Partial<MatrixClientManagerOptions> = {}, users = 2) {
  const clock = new ManualClock(19_700 * DAY + 8 * HOUR);
  const fake = new FakeHomeserver({ clock });
  const manager = new MatrixClientManager({ homeserverUrl: fake.baseUrl, fetch: fake.fetch, clock, ...options });
  open.push(fake, manager);
  const all = Array.from({ length: users }, (_, n) => fake.createUser({ username: `user${n}` }));
  const [alice, bob] = all as [(typeof all)[0], (typeof all)[0]];
  const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
  return { clock, fake, manager, all, alice, bob, roomId };
}

/** For tests that pass days: with few sweeps and polls, since each timer costs turns of the event loop. */
const overDays = { sweepIntervalMs: 5 * MINUTE, pollTimeoutMs: 5 * MINUTE };

/** A policy under which quiet users rest. */
const resting = (options: Partial<ActivityPolicyOptions> = {}) => ({
  connectionPolicy: activityPolicy({ idleTimeoutMs: 2 * HOUR, restAfterMs: 10 * MINUTE, ...options }),
});

describe('the default connection policy', () => {
  it('keeps a user who only listens live until the idle time', async () => {
    const { clock, fake, manager, alice, bob, roomId } = setUp();
    const recorder = new Recorder();
    await manager.startClient({ ...alice, callbacks: [recorder.callback] });
    for (let quarter = 1; quarter < 8; quarter++) {
      await clock.advance(15 * MINUTE);
      expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'live', resting: false });
      fake.sendMessage(roomId, bob.userId, `at ${quarter}`);
      await clock.advance(100);
      expect(recorder.bodies().at(-1)).toBe(`at ${quarter}`);
    }
    await clock.advance(20 * MINUTE);
    expect(manager.hasClient(alice.userId)).toBe(false);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('activityPolicy with restAfterMs', () => {
  it('lets a quiet user rest, polls for them now and then, and puts them to sleep at the idle time', async () => {
    const { clock, fake, manager, alice, bob, roomId } = setUp(resting());
    const recorder = new Recorder();
    await manager.startClient({ ...alice, callbacks: [recorder.callback] });
    await clock.advance(11 * MINUTE);
    expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'live', resting: true });
    fake.clearRequests();
    await clock.advance(20 * MINUTE);
    expect(fake.countRequests('/sync')).toBeGreaterThanOrEqual(9);
    expect(fake.countRequests('/sync')).toBeLessThanOrEqual(11);
    fake.sendMessage(roomId, bob.userId, 'slowly');
    expect(recorder.bodies()).toEqual([]);
    await clock.advance(3 * MINUTE);
    expect(recorder.bodies()).toEqual(['slowly']);
    await clock.advance(2 * HOUR);
    expect(manager.hasClient(alice.userId)).toBe(false);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each(['touch', 'withClient', 'sendMessage', 'getRoomMessages'] as const)(
    'wakes a resting user at once by %s',
    async (how) => {
      const { clock, fake, manager, alice, bob, roomId } = setUp(resting());
      const recorder = new Recorder();
      await manager.startClient({ ...alice, callbacks: [recorder.callback] });
      await clock.advance(12 * MINUTE + 40_000);
      expect(manager.clientInfo(alice.userId)).toMatchObject({ resting: true });
      fake.sendMessage(roomId, bob.userId, 'news');
      const { userId } = alice;
      if (how === 'touch') manager.touch(userId);
      if (how === 'withClient') await manager.withClient(userId, () => undefined);
      if (how === 'sendMessage') await manager.sendMessage({ userId, roomId, text: 'here I am' });
      if (how === 'getRoomMessages') {
        const page = await manager.getRoomMessages({ userId, roomId, limit: 1 });
        expect(page).toMatchObject({ source: 'rest', messages: [{ content: { body: 'news' } }] });
      }
      await recorder.message('news');
      expect(manager.clientInfo(userId)).toMatchObject({ resting: false });
      fake.sendMessage(roomId, bob.userId, 'live again');
      await recorder.message('live again');
    },
  );

  it('sends nothing in the clear to a room that was encrypted while its user rested', async () => {
    const policy = { idleTimeoutMs: DAY, restAfterMs: MINUTE, restPollIntervalMs: Infinity };
    const { clock, fake, manager, alice, roomId } = setUp({ connectionPolicy: activityPolicy(policy) });
    await manager.startClient(alice);
    const { userId } = alice;
    await manager.sendMessage({ userId, roomId, text: 'not encrypted yet' });
    await clock.advance(3 * MINUTE);
    expect(manager.clientInfo(userId)).toMatchObject({ resting: true });
    fake.sendState(roomId, alice.userId, 'm.room.encryption', { algorithm: 'm.megolm.v1.aes-sha2' });
    const sending = manager.sendMessage({ userId, roomId, text: 'secret' });
    await expect(sending).rejects.toMatchObject({ code: 'ENCRYPTION_UNAVAILABLE' });
    expect(JSON.stringify(fake.history(roomId))).not.toContain('secret');
  });

  it('never lets a user rest or sleep while a lease is held', async () => {
    const { clock, manager, alice } = setUp({ ...resting(), pollTimeoutMs: 5 * MINUTE });
    await manager.startClient(alice);
    const done = Promise.withResolvers<void>();
    const using = manager.withClient(alice.userId, () => done.promise);
    await clock.advance(5 * HOUR);
    expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'live', resting: false });
    done.resolve();
    await using;
    await clock.advance(2 * HOUR + MINUTE);
    expect(manager.hasClient(alice.userId)).toBe(false);
  });

  it('stops a resting client completely', async () => {
    const { clock, fake, manager, alice } = setUp(resting({ idleTimeoutMs: DAY, restPollIntervalMs: Infinity }));
    await manager.startClient(alice);
    await clock.advance(30 * MINUTE);
    fake.clearRequests();
    await clock.advance(10 * HOUR);
    expect(fake.countRequests('/sync')).toBe(0);
    await manager.stopClient(alice.userId);
    expect(clock.pendingTimers).toBe(0);
    expect(fake.inFlight).toBe(0);
    expect(fake.countRequests('/sync')).toBe(0); // a stop does not end the rest before
  });

  it('evicts a client that was started ahead of its user before those of active users', async () => {
    const on = setUp({ ...overDays, maxClients: 2 }, 3);
    const { manager, alice, bob, all } = on;
    await comeEveryMorning(on, () => manager.startClient(bob)); // bob is active before alice's client is started
    expect(manager.hasClient(alice.userId)).toBe(true);
    await manager.startClient(all[2] ?? bob);
    expect(manager.listClients().map(({ userId }) => userId)).toEqual([bob.userId, all[2]?.userId]);
  });

  /** The user is there from 8 to 9 on three mornings, and gone for the rest of the day. */
  async function comeEveryMorning(
    { clock, manager, alice }: ReturnType<typeof setUp>,
    atQuarterToEight = async (): Promise<unknown> => undefined,
  ): Promise<void> {
    for (let day = 0; day < 3; day++) {
      await manager.startClient(alice);
      for (let quarter = 0; quarter < 4; quarter++) {
        manager.touch(alice.userId);
        await clock.advance(15 * MINUTE);
      }
      await clock.advance(22 * HOUR + 45 * MINUTE);
      expect(manager.hasClient(alice.userId)).toBe(false);
      await atQuarterToEight();
      await clock.advance(15 * MINUTE);
    }
  }

  it('knows nothing of when a user comes any more who was forgotten', async () => {
    const on = setUp(overDays);
    const { clock, manager, alice } = on;
    await comeEveryMorning(on);
    expect(manager.hasClient(alice.userId)).toBe(true);
    await manager.forgetUser(alice.userId, { logOut: false });
    expect(clock.pendingTimers).toBe(0);
    await clock.advance(12 * HOUR);
    await manager.startClient(alice);
    await clock.advance(12 * HOUR);
    expect(manager.hasClient(alice.userId)).toBe(false);
  });

  it('has a regular’s client up before they come, and lets it go when they do not', async () => {
    const on = setUp(overDays);
    const { clock, manager, alice } = on;
    const starts: number[] = [];
    manager.on('clientStarted', () => starts.push((clock.now() % DAY) / HOUR));
    await comeEveryMorning(on);
    expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'live' });
    expect(starts.at(-1)).toBeGreaterThan(7.8);
    expect(starts.at(-1)).toBeLessThanOrEqual(8);
    await clock.advance(3 * HOUR);
    expect(manager.hasClient(alice.userId)).toBe(false);
  });

  it('does as a policy of the application’s own says', async () => {
    const { clock, manager, alice, bob } = setUp({
      connectionPolicy: {
        decide: ({ userId, now }) =>
          userId.startsWith('@user0') ? { mode: 'live', reviewAt: now + HOUR } : { mode: 'asleep' },
      },
    });
    await manager.startClient(alice);
    await manager.startClient(bob);
    await clock.advance(3 * HOUR);
    expect(manager.hasClient(alice.userId)).toBe(true);
    expect(manager.hasClient(bob.userId)).toBe(false);
  });
});

describe('maxHeapBytes', () => {
  it('stops the least recently active clients while the heap is over it', async () => {
    const { clock, manager, all } = setUp({ maxHeapBytes: 1_024 }, 10);
    for (const user of all) await manager.startClient(user);
    await clock.advance(MINUTE);
    expect(manager.listClients()).toHaveLength(9);
    await clock.advance(2 * MINUTE);
    expect(manager.listClients()).toHaveLength(7);
    expect(manager.hasClient(all[0]?.userId ?? '')).toBe(false);
    expect(manager.hasClient(all[9]?.userId ?? '')).toBe(true);
  });
});

describe('DueTimes', () => {
  it('gives who is due, once, whatever the slots are', () => {
    const queue = new DueTimes(100);
    queue.schedule('a', 150);
    queue.schedule('b', 190);
    queue.schedule('c', 1_000);
    queue.schedule('c', 120);
    queue.schedule('d', 130);
    queue.cancel('d');
    expect(queue.takeDue(119)).toEqual([]);
    expect(queue.takeDue(150).toSorted()).toEqual(['a', 'c']);
    expect(queue.takeDue(10_000)).toEqual(['b']);
    expect(queue.size).toBe(0);
  });
});

describe('Habits', () => {
  it('knows a regular’s hour after a few days, and forgets it when it changes', () => {
    const habits = new ActivityHistory();
    const comes = (day: number, hour: number): void => habits.note('a', day * DAY + hour * HOUR);
    for (let day = 0; day < 3; day++) comes(day, 9);
    expect(habits.likelyReturnAt('a', 2 * DAY + 12 * HOUR)).toBe(3 * DAY + 9 * HOUR);
    expect(habits.likelyReturnAt('b', 0)).toBeUndefined();
    for (let day = 3; day < 40; day++) comes(day, 20);
    expect(habits.likelyReturnAt('a', 40 * DAY)).toBe(40 * DAY + 20 * HOUR);
  });

  it('knows the hour of a daily user on every day of two months', () => {
    const habits = new ActivityHistory();
    const unknownOn: number[] = [];
    for (let day = 0; day < 60; day++) {
      habits.note('a', day * DAY + 9 * HOUR);
      const nextReturnAt = habits.likelyReturnAt('a', day * DAY + 12 * HOUR);
      if (nextReturnAt !== (day + 1) * DAY + 9 * HOUR) unknownOn.push(day);
    }
    expect(unknownOn).toEqual([0, 1]);
  });

  it('tells nothing of somebody who comes at any time', () => {
    const habits = new ActivityHistory();
    for (let day = 0; day < 12; day++) habits.note('a', day * DAY + ((day * 7) % 24) * HOUR);
    expect(habits.likelyReturnAt('a', 12 * DAY)).toBeUndefined();
  });
});
