import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { Priority } from '../../src/core/ports/request-gate.js';
import { RateLimiter } from '../../src/resilience/rate-limiter.js';
import { ManualClock } from '../../src/testing/index.js';
import { rejection } from '../support/rejection.js';

function setUp(perSecond: number, burst?: number) {
  const clock = new ManualClock();
  const limiter = new RateLimiter({ perSecond, ...(burst !== undefined && { burst }) }, clock);
  const begun = clock.now();
  /** Names in the order in which they went out, and when. */
  const out: { name: string; at: number }[] = [];
  const take = (name: string, priority: Priority = 'call', signal?: AbortSignal): Promise<void> =>
    limiter.acquire(priority, signal).then(() => void out.push({ name, at: clock.now() - begun }));
  return { clock, limiter, out, take };
}

describe('a rate limit', () => {
  it('lets a burst out at once, and the rest at its rate', async () => {
    const { clock, out, take } = setUp(10, 3);
    for (let n = 0; n < 8; n++) void take(`${n}`);
    await clock.advance(10_000);
    expect(out.map(({ at }) => at)).toEqual([0, 0, 0, 100, 200, 300, 400, 500]);
  });

  it('never exceeds its rate over a longer time', async () => {
    const { clock, out, take } = setUp(7, 2);
    for (let n = 0; n < 100; n++) void take(`${n}`);
    await clock.advance(10_000);
    expect(out.length).toBeGreaterThanOrEqual(70);
    expect(out.length).toBeLessThanOrEqual(72);
  });

  it('allows one per minute, and saves up no more than the burst', async () => {
    const { clock, out, take } = setUp(1 / 60, 1);
    await clock.advance(600_000);
    for (let n = 0; n < 3; n++) void take(`${n}`);
    await clock.advance(121_000);
    expect(out.map(({ at }) => at - 600_000)).toEqual([0, 60_000, 120_000]);
  });

  it('lets sends go before calls, calls before syncs, and typing last', async () => {
    const { clock, out, take } = setUp(1, 1);
    void take('first');
    void take('typing', 'typing');
    void take('sync', 'sync');
    void take('call', 'call');
    void take('send', 'send');
    await clock.advance(2_000);
    void take('late send', 'send');
    await clock.advance(10_000);
    expect(out.map(({ name }) => name)).toEqual(['first', 'send', 'call', 'late send', 'sync', 'typing']);
  });

  it('is first come, first served among equals', async () => {
    const { clock, out, take } = setUp(100, 1);
    for (let n = 0; n < 50; n++) void take(`${n}`, 'sync');
    await clock.advance(5_000);
    expect(out.map(({ name }) => name)).toEqual(Array.from({ length: 50 }, (_, n) => `${n}`));
  });

  it('lets nobody overtake those who wait already', async () => {
    const { clock, out, take } = setUp(1, 1);
    void take('first');
    void take('waits');
    await clock.advance(1_000);
    void take('new');
    await clock.advance(5_000);
    expect(out.map(({ name }) => name)).toEqual(['first', 'waits', 'new']);
  });

  it('leaves no timer and no place behind when those who wait are aborted', async () => {
    const { clock, limiter, out, take } = setUp(1, 1);
    await take('first');
    const controller = new AbortController();
    const waiting = [take('a', 'call', controller.signal), take('b', 'sync', controller.signal)].map((one) =>
      rejection(one),
    );
    expect(limiter.waiting).toBe(2);
    controller.abort();
    for (const error of await Promise.all(waiting)) expect(error.code).toBe('ABORTED');
    expect(limiter.waiting).toBe(0);
    expect(clock.pendingTimers).toBe(0);
    expect(await rejection(take('c', 'call', controller.signal))).toMatchObject({ code: 'ABORTED' });
    expect(clock.pendingTimers).toBe(0);
    await clock.advance(5_000);
    expect(out).toHaveLength(1);
  });

  it('still serves the others when one is aborted', async () => {
    const { clock, out, take } = setUp(1, 1);
    void take('first');
    const controller = new AbortController();
    const aborted = rejection(take('aborted', 'send', controller.signal));
    void take('patient');
    controller.abort();
    await aborted;
    await clock.advance(1_000);
    expect(out.map(({ name }) => name)).toEqual(['first', 'patient']);
  });

  it('counts what came back during a pause without requests', async () => {
    const { clock, out, take } = setUp(1, 2);
    void take('a');
    void take('b');
    await clock.advance(2_000);
    void take('c');
    void take('d');
    expect(clock.pendingTimers).toBe(0);
    await clock.advance(0);
    expect(out.map(({ at }) => at)).toEqual([0, 0, 2_000, 2_000]);
  });

  it('lets nobody overtake at the very moment when the next one is due', async () => {
    const { clock, out, take } = setUp(1, 1);
    void take('first');
    clock.setTimeout(() => void take('new'), 1_000); // fires before the limiter's own timer
    void take('waits');
    await clock.advance(5_000);
    expect(out.map(({ name }) => name)).toEqual(['first', 'waits', 'new']);
  });

  it('leaves no listener on the signal of a request that went out', async () => {
    const { clock, take } = setUp(1, 1);
    const { signal } = new AbortController();
    void take('first', 'call', signal);
    void take('waits', 'call', signal);
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    await clock.advance(1_000);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it('can end every wait at once', async () => {
    const { clock, limiter, out, take } = setUp(1, 1);
    for (let n = 0; n < 10; n++) void take(`${n}`, 'sync');
    limiter.releaseAll();
    await clock.advance(0);
    expect(out).toHaveLength(10);
    expect(clock.pendingTimers).toBe(0);
  });
});
