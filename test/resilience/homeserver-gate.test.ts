import { getEventListeners } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { HomeserverGate } from '../../src/resilience/homeserver-gate.js';
import type { RateLimit } from '../../src/resilience/rate-limiter.js';
import { ManualClock } from '../../src/testing/index.js';
import { rejection } from '../support/rejection.js';

const open: HomeserverGate[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

function setUp(rateLimit?: RateLimit, adminRateLimit?: RateLimit) {
  const clock = new ManualClock();
  let up = false;
  const states: string[] = [];
  const gate = new HomeserverGate(
    { clock },
    {
      rateLimit,
      adminRateLimit,
      probe: () => (up ? Promise.resolve() : Promise.reject(new Error('down'))),
      onStateChanged: ({ state }) => states.push(state),
    },
  );
  open.push(gate);
  const end = (userId: string | undefined, failed: boolean): void =>
    gate.record({ userId, failed, isSync: true, sentAt: clock.now() });
  const goDown = (): void => {
    up = false;
    for (const user of ['@a:x', '@b:x', '@c:x', '@d:x', '@e:x']) end(user, true);
  };
  const comeUp = (): void => void (up = true);
  /** When each of `count` clients that wait is let go. */
  const wait = (count: number): { times: number[]; all: Promise<unknown> } => {
    const times: number[] = [];
    const { signal } = new AbortController();
    const all = Promise.all(
      Array.from({ length: count }, () => gate.waitUntilUp(signal).then(() => times.push(clock.now()))),
    );
    return { times, all };
  };
  return { clock, gate, states, end, goDown, comeUp, wait };
}

const passenger = { operation: 'sending', userId: '@a:x', roomId: '!r:x' };

describe('the gate', () => {
  it('lets everything pass while the homeserver is up, and nobody waits', async () => {
    const { clock, gate, wait } = setUp();
    await gate.enter(passenger);
    await wait(3).all;
    expect(clock.pendingTimers).toBe(0);
  });

  it('fails at once while the homeserver is down, and says when it is looked for again', async () => {
    const { clock, gate, goDown } = setUp();
    goDown();
    const error = await rejection(gate.enter(passenger));
    expect(error).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE', userId: '@a:x', roomId: '!r:x' });
    expect(error.status).toBeUndefined();
    expect(error.retryAfterMs).toBeGreaterThanOrEqual(1_000);
    expect(error.retryAfterMs).toBeLessThanOrEqual(1_250);
    await clock.advance(500);
    const later = await rejection(gate.enter(passenger));
    expect(later.retryAfterMs).toBe((error.retryAfterMs ?? 0) - 500);
  });

  it('lets a client that waits alone go at once', async () => {
    const { clock, goDown, comeUp, wait, gate } = setUp();
    goDown();
    const { times } = wait(1);
    await clock.advance(10_000);
    expect(times).toEqual([]);
    expect(gate.waiting).toEqual({ requests: 0, clients: 1 });
    comeUp();
    let upAt = Infinity;
    while (times.length === 0) {
      if (gate.state.state === 'up') upAt = Math.min(upAt, clock.now());
      await clock.advance(1);
    }
    expect((times[0] ?? 0) - upAt).toBeLessThanOrEqual(20);
  });

  it('lets 1,000 clients go, few first, all within ten seconds of the homeserver being back', async () => {
    const { clock, goDown, comeUp, wait } = setUp();
    goDown();
    const { times } = wait(1_000);
    await clock.advance(30_000);
    comeUp();
    const backAt = clock.now();
    await clock.advance(9_500);
    expect(times).toHaveLength(1_000);
    const upAt = Math.min(...times);
    expect(Math.max(...times) - backAt).toBeLessThanOrEqual(8_500);
    const within = (ms: number): number => times.filter((at) => at - upAt < ms).length;
    expect(within(500)).toBeLessThan(60);
    expect(within(4_000) - within(3_000)).toBeLessThan(400);
    expect(within(3_000)).toBeLessThan(700);
    expect(clock.pendingTimers).toBe(0);
  }, 60_000);

  it('keeps those that were not let go yet when the homeserver goes down again', async () => {
    const { clock, goDown, comeUp, wait, gate } = setUp();
    goDown();
    const { times } = wait(300);
    comeUp();
    while (times.length < 20) await clock.advance(10);
    goDown();
    const gone = times.length;
    await clock.advance(900);
    expect(gone).toBeLessThan(100);
    expect(times).toHaveLength(gone);
    comeUp();
    await clock.advance(20_000);
    expect(times).toHaveLength(300);
    expect(gate.waiting.clients).toBe(0);
  });

  it('forgets who stops waiting', async () => {
    const { clock, goDown, gate } = setUp();
    goDown();
    const controller = new AbortController();
    const waiting = rejection(gate.waitUntilUp(controller.signal));
    controller.abort();
    expect(await waiting).toMatchObject({ code: 'ABORTED' });
    expect(gate.waiting.clients).toBe(0);
    expect(await rejection(gate.waitUntilUp(controller.signal))).toMatchObject({ code: 'ABORTED' });
    gate.close();
    expect(clock.pendingTimers).toBe(0);
  });

  it('sends nothing into an outage that has waited for its turn', async () => {
    const { clock, gate, goDown } = setUp({ perSecond: 1, burst: 1 });
    await gate.enter(passenger);
    const waiting = Array.from({ length: 5 }, () => rejection(gate.enter(passenger)));
    expect(gate.waiting.requests).toBe(5);
    goDown();
    for (const error of await Promise.all(waiting)) expect(error).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE' });
    expect(gate.waiting.requests).toBe(0);
    gate.close();
    expect(clock.pendingTimers).toBe(0);
  });

  it('lets no Admin API call wait for its rate limit in an outage', async () => {
    const { clock, gate, goDown } = setUp(undefined, { perSecond: 1, burst: 1 });
    const call = { operation: 'PUT', admin: true };
    await gate.enter(call);
    const waiting = rejection(gate.enter(call));
    await gate.enter(passenger); // which this limit does not concern
    expect(gate.waiting.requests).toBe(1);
    goDown();
    expect(await waiting).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE' });
    expect(await rejection(gate.enter(call))).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE' });
    gate.close();
    expect(clock.pendingTimers).toBe(0);
  });

  it('ends a pause when the homeserver goes down, and says whether being up had to be waited for', async () => {
    const { clock, gate, goDown, comeUp } = setUp();
    const { signal } = new AbortController();
    expect(await gate.waitUntilUp(signal)).toBe(false);
    const paused = gate.delayUntilDown(600_000, signal);
    goDown();
    await paused;
    await gate.delayUntilDown(600_000, signal); // down already
    const up = gate.waitUntilUp(signal);
    comeUp();
    await clock.advance(3_000);
    expect(await up).toBe(true);
    const controller = new AbortController();
    const stopped = rejection(gate.delayUntilDown(600_000, controller.signal));
    controller.abort();
    expect(await stopped).toMatchObject({ code: 'ABORTED' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('tells of each outage once, and no more of any to one that has taken its listener back', async () => {
    const { clock, gate, states, goDown, comeUp } = setUp();
    const told: string[] = [];
    gate.onceDown(() => told.push('kept'));
    const off = gate.onceDown(() => told.push('taken back'));
    off();
    goDown();
    comeUp();
    await clock.advance(5_000);
    goDown();
    expect(told).toEqual(['kept']);
    expect(states.filter((state, at) => state !== states[at - 1])).toEqual(['down', 'up', 'down']);
  });

  it('leaves no listener on the signal of a client that was let go', async () => {
    const { clock, gate, goDown, comeUp } = setUp();
    const { signal } = new AbortController();
    goDown();
    const up = gate.waitUntilUp(signal);
    comeUp();
    await clock.advance(3_000);
    await up;
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('knows when the homeserver answered last', async () => {
    const { clock, gate, end } = setUp();
    expect(gate.lastAnswerAt).toBeUndefined();
    end('@a:x', true);
    expect(gate.lastAnswerAt).toBeUndefined();
    end('@a:x', false);
    const at = clock.now();
    await clock.advance(1_000);
    end(undefined, true);
    expect(gate.lastAnswerAt).toBe(at);
  });
});
