import { describe, expect, it } from 'vitest';
import type { FakeHomeserver } from '../../src/testing/index.js';
import { advanceUntil } from '../support/advance-until.js';
import { rejection } from '../support/rejection.js';
import { crowd } from './crowd.js';

const SEND = '/rooms/{roomId}/send/{eventType}/{txnId}';
const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

const outages: [string, number, (fake: FakeHomeserver) => () => void][] = [
  ['answers 503', 60, (fake) => fake.faults.status({}, { status: 503 })],
  ['breaks every connection', 30, (fake) => fake.faults.drop({})],
  ['answers nothing', 30, (fake) => fake.faults.hang({})],
];

describe('an outage', () => {
  it.each(outages)(
    'in which the homeserver %s leaves it in peace, and %i clients are back ten seconds after it',
    async (_how, clients, begin) => {
      const { clock, fake, users, first, roomId, texts, requestsPerSecond, live, manager } = await crowd(clients, {
        requestTimeoutMs: 5_000,
      });
      const mend = begin(fake);
      fake.restart();
      await clock.advance(10_000); // the time in which it shows
      const counts = await requestsPerSecond(60);
      expect(Math.max(...counts)).toBeLessThanOrEqual(2);
      expect(sum(counts)).toBeLessThan(45);
      expect(manager.stats().clients).toMatchObject({ live: 0, reconnecting: clients });
      fake.sendMessage(roomId, first.userId, 'while down');
      mend();
      await clock.advance(10_000);
      expect(live()).toBe(clients);
      await clock.advance(1_000);
      for (const { userId } of users) expect(texts.get(userId)).toEqual(['while down']);
    },
    60_000,
  );

  it('in which polls hang ends them, so that they hang no longer than it lasts', async () => {
    const { clock, fake, manager, first, roomId, users, texts, states, live } = await crowd(20);
    const mendPolls = fake.faults.hang({ endpoint: '/sync' });
    fake.sendMessage(roomId, first.userId, 'poll again');
    await clock.advance(1_000);
    const mend = fake.faults.status({}, { status: 503 });
    const calls = users.map((user) => rejection(manager.admin.getUser(user.userId)));
    await advanceUntil(clock, Promise.all(calls));
    expect(states.at(-1)).toMatchObject({ state: 'down' });
    expect(live()).toBe(0);
    mendPolls();
    mend();
    await clock.advance(5_000);
    expect(live()).toBe(20);
    fake.sendMessage(roomId, first.userId, 'back');
    await clock.advance(1_000);
    for (const { userId } of users) expect(texts.get(userId)).toEqual(['poll again', 'back']);
  });

  it('is told, with each new time at which the homeserver is looked for, and so is its end', async () => {
    const { clock, fake, states } = await crowd(10);
    const mend = fake.faults.status({}, { status: 502 });
    fake.restart();
    await clock.advance(20_000);
    mend();
    await clock.advance(5_000);
    const [last, ...before] = states.toReversed();
    expect(last).toEqual({ state: 'up' });
    expect(before.length).toBeGreaterThan(4);
    const times = before.toReversed().map((state) => (state.state === 'down' ? state.retryAt : 0));
    for (const [index, at] of times.entries()) expect(at).toBeGreaterThan(times[index - 1] ?? 0);
    await clock.advance(60_000);
    expect(states.at(-1)).toBe(last);
  });

  it('is noticed by a manager with a single client', async () => {
    const { clock, fake, states, requestsPerSecond } = await crowd(1);
    await clock.advance(100_000);
    fake.faults.status({}, { status: 503 });
    fake.restart();
    await clock.advance(60_000);
    expect(states.some(({ state }) => state === 'down')).toBe(true);
    expect(sum(await requestsPerSecond(60))).toBeLessThan(45);
  });

  it('ends the call of a moment at once, with the time of the next try', async () => {
    const { clock, fake, manager, first, roomId } = await crowd(5);
    fake.faults.status({}, { status: 503 });
    fake.restart();
    await clock.advance(8_000);
    fake.clearRequests();
    const now = clock.now();
    const { userId } = first;
    const calls = [
      manager.sendMessage({ userId, roomId, text: 'now' }),
      manager.sendTyping({ userId, roomId, typing: true }),
      manager.getRoomMessages({ userId, roomId, limit: 900 }),
      manager.admin.getUser(userId),
      manager.provisionUser({ username: 'new' }),
    ];
    for (const call of calls) {
      const error = await rejection(call);
      expect(error.code).toBe('HOMESERVER_UNAVAILABLE');
      expect(error.retryAfterMs).toBeLessThanOrEqual(5_000);
    }
    expect(clock.now()).toBe(now);
    expect(fake.requests).toEqual([]);
  });

  it('makes a start fail at once, which leaves nothing and works later', async () => {
    const { clock, fake, manager } = await crowd(5);
    const late = fake.createUser({ username: 'late' });
    const mend = fake.faults.status({}, { status: 503 });
    fake.restart();
    await clock.advance(8_000);
    const now = clock.now();
    const timers = clock.pendingTimers;
    expect(await rejection(manager.startClient(late))).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE' });
    expect(clock.now()).toBe(now);
    expect(clock.pendingTimers).toBe(timers);
    expect(manager.hasClient(late.userId)).toBe(false);
    mend();
    await clock.advance(10_000);
    await advanceUntil(clock, manager.startClient(late));
    expect(manager.clientInfo(late.userId)).toMatchObject({ state: 'live' });
  });

  it('is outlasted by durable messages, which arrive once and in order', async () => {
    const { clock, fake, manager, first, roomId } = await crowd(5);
    const mend = fake.faults.status({}, { status: 503 });
    fake.restart();
    await clock.advance(8_000);
    const sends = ['one', 'two', 'three'].map((text) =>
      manager.sendMessage({ userId: first.userId, roomId, text, durable: true }),
    );
    await clock.advance(600_000);
    expect(fake.countRequests(SEND)).toBe(0);
    mend();
    await advanceUntil(clock, Promise.all(sends), { limitMs: 60_000 });
    const posted = fake.events(roomId).filter(({ type }) => type === 'm.room.message');
    expect(posted.map(({ content }) => content['body']).filter((body) => body !== 'old')).toEqual([
      'one',
      'two',
      'three',
    ]);
  });

  it('does not hold a shutdown up, and nothing is left', async () => {
    const { clock, fake, manager } = await crowd(20);
    fake.faults.status({}, { status: 503 });
    fake.restart();
    await clock.advance(8_000);
    await advanceUntil(clock, manager.shutdown());
    expect(clock.pendingTimers).toBe(0);
    expect(fake.inFlight).toBe(0);
  });

  it('of syncs alone costs little as well, though the homeserver seems to be back each time', async () => {
    const { clock, fake, requestsPerSecond, live } = await crowd(30);
    const mend = fake.faults.status({ endpoint: '/sync' }, { status: 503 });
    fake.restart();
    await clock.advance(10_000);
    const counts = await requestsPerSecond(60);
    expect(sum(counts) / counts.length).toBeLessThanOrEqual(2);
    await clock.advance(600_000);
    mend();
    await clock.advance(12_000); // five at most until it is noticed, and nobody waits on for the sake of old failures
    expect(live()).toBe(30);
  }, 60_000);

  it('that comes and goes is survived by everybody', async () => {
    const { clock, fake, first, roomId, users, texts, live } = await crowd(30);
    for (let flaps = 0; flaps < 5; flaps++) {
      const mend = fake.faults.status({}, { status: 503 });
      fake.restart();
      await clock.advance(3_000);
      fake.sendMessage(roomId, first.userId, `flap ${flaps}`);
      mend();
      await clock.advance(3_000);
    }
    await clock.advance(10_000);
    expect(live()).toBe(30);
    const all = Array.from({ length: 5 }, (_, flap) => `flap ${flap}`);
    for (const { userId } of users) expect(texts.get(userId)).toEqual(all);
  }, 60_000);
});

describe('no outage', () => {
  it('is one client that fails alone', async () => {
    const { clock, fake, manager, users, roomId, states, live } = await crowd(20);
    const unlucky = users[7]?.userId ?? '';
    fake.faults.status({ userId: unlucky }, { status: 502 });
    fake.restart();
    for (let round = 0; round < 60; round++) {
      const typing = manager.sendTyping({ userId: unlucky, roomId, typing: round % 2 === 0 }).catch(() => {});
      await advanceUntil(clock, typing, { stepMs: 1_000 });
    }
    expect(states).toEqual([]);
    expect(manager.clientInfo(unlucky)).toMatchObject({ state: 'reconnecting' });
    expect(live()).toBe(19);
  });

  it.each([403, 404, 429])('are requests that are answered %i, however many', async (status) => {
    const { clock, fake, manager, users, roomId, states, live } = await crowd(20);
    fake.faults.status({ endpoint: SEND }, { status, errcode: 'M_FORBIDDEN' });
    const sends = users.flatMap(({ userId }) =>
      Array.from({ length: 5 }, () => manager.sendMessage({ userId, roomId, text: 'no' }).catch(() => 'refused')),
    );
    await advanceUntil(clock, Promise.all(sends));
    expect(states).toEqual([]);
    expect(live()).toBe(20);
  });
});
