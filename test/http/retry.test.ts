import { describe, expect, it } from 'vitest';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { backoffMs, defaultRetryPolicy, retryDelayMs, withRetries } from '../../src/http/retry.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { advanceUntil } from '../support/advance-until.js';
import { rejection } from '../support/rejection.js';

const policy = { attempts: 4, baseDelayMs: 100, maxDelayMs: 400, maxRetryAfterMs: 60_000 };
const unavailable = (retryAfterMs?: number) =>
  new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', 'x', { status: 503, retryAfterMs });
const limited = (retryAfterMs?: number) => new MatrixClientManagerError('RATE_LIMITED', 'x', { retryAfterMs });

/** Fails with one error after the other, then succeeds. */
function failing(...errors: Error[]) {
  const state = { attempts: 0 };
  const attempt = async (): Promise<string> => {
    state.attempts++;
    const error = errors.shift();
    if (error) throw error;
    return 'done';
  };
  return { state, attempt };
}

describe('withRetries', () => {
  it('repeats what failed for now, with growing pauses', async () => {
    const clock = new ManualClock();
    const { state, attempt } = failing(unavailable(), new MatrixClientManagerError('NETWORK', 'x'), unavailable());
    const start = clock.now();
    await expect(advanceUntil(clock, withRetries(attempt, policy, clock, undefined, 'x'), { stepMs: 1 })).resolves.toBe(
      'done',
    );
    expect(state.attempts).toBe(4);
    expect(clock.now() - start).toBeGreaterThanOrEqual(50 + 100 + 200);
    expect(clock.now() - start).toBeLessThanOrEqual(100 + 200 + 400);
    expect(clock.pendingTimers).toBe(0);
  });

  it('gives up after the last attempt, with the last error and without a pause', async () => {
    const clock = new ManualClock();
    const last = unavailable();
    const { state, attempt } = failing(unavailable(), unavailable(), unavailable(), last, unavailable());
    await expect(advanceUntil(clock, withRetries(attempt, policy, clock, undefined, 'x'))).rejects.toBe(last);
    expect(state.attempts).toBe(4);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    new MatrixClientManagerError('FORBIDDEN', 'x'),
    new MatrixClientManagerError('UNKNOWN_TOKEN', 'x'),
    new MatrixClientManagerError('ABORTED', 'x'),
    new TypeError('a bug'),
  ])('does not repeat $code $name', async (error) => {
    const clock = new ManualClock();
    const { state, attempt } = failing(error);
    await expect(withRetries(attempt, policy, clock, undefined, 'x')).rejects.toBe(error);
    expect(state.attempts).toBe(1);
  });

  it('counts no rate limit that is to be waited out', async () => {
    const clock = new ManualClock();
    const patient = { ...policy, attempts: 2, waitsOutRateLimits: true };
    const limits = Array.from({ length: 5 }, () => limited(70_000));
    const { attempt } = failing(...limits, unavailable(), limited());
    expect(await advanceUntil(clock, withRetries(attempt, patient, clock, undefined, 'x'))).toBe('done');
    const broken = failing(unavailable(), limited(), unavailable());
    await expect(
      advanceUntil(clock, withRetries(broken.attempt, patient, clock, undefined, 'x')),
    ).rejects.toMatchObject({ code: 'HOMESERVER_UNAVAILABLE' });
  });

  it('waits as long as the homeserver asks, not less', async () => {
    const clock = new ManualClock();
    const { state, attempt } = failing(limited(20_000));
    const done = withRetries(attempt, policy, clock, undefined, 'x');
    await clock.advance(19_999);
    expect(state.attempts).toBe(1);
    await clock.advance(2_001);
    await expect(done).resolves.toBe('done');
  });

  it('brings those who were told the same time back one after the other', () => {
    const delays = Array.from({ length: 200 }, () => retryDelayMs(limited(20_000), 1, policy));
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(20_000);
    expect(Math.max(...delays)).toBeLessThan(22_000);
    expect(new Set(delays).size).toBeGreaterThan(100);
  });

  it.each([limited(60_001), unavailable(60_001)])('leaves a longer wait to the caller ($code)', async (error) => {
    const clock = new ManualClock();
    const { state, attempt } = failing(error);
    await expect(withRetries(attempt, policy, clock, undefined, 'x')).rejects.toBe(error);
    expect(state.attempts).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it('waits for as long as the caller allows', async () => {
    const clock = new ManualClock();
    const { state, attempt } = failing(limited(60_000));
    await expect(advanceUntil(clock, withRetries(attempt, policy, clock, undefined, 'x'))).resolves.toBe('done');
    expect(state.attempts).toBe(2);
  });

  it('tells of each attempt but the first, after the pause', async () => {
    const clock = new ManualClock();
    const { state, attempt } = failing(limited(20_000), limited(20_000));
    const told: number[] = [];
    const onRepeat = (): void => void told.push(state.attempts);
    const done = withRetries(attempt, policy, clock, undefined, 'x', { onRepeat });
    await clock.advance(19_999);
    expect(told).toEqual([]);
    await expect(advanceUntil(clock, done)).resolves.toBe('done');
    expect(told).toEqual([1, 2]);
  });

  it('tells of no attempt that is not made', async () => {
    const clock = new ManualClock();
    const told: string[] = [];
    const onRepeat = (): void => void told.push('repeated');
    const { signal } = new AbortController();
    for (const mayRepeat of [() => false, () => true]) {
      const { attempt } = failing(unavailable(), new MatrixClientManagerError('FORBIDDEN', 'x'));
      await rejection(advanceUntil(clock, withRetries(attempt, policy, clock, signal, 'x', { mayRepeat, onRepeat })));
    }
    expect(told).toEqual(['repeated']); // where it may be repeated, before the FORBIDDEN
  });

  it('repeats nothing that is not safe to repeat after this failure', async () => {
    const clock = new ManualClock();
    const [first, second] = [limited(), unavailable()];
    const { state, attempt } = failing(first, second);
    const asked: unknown[] = [];
    const mayRepeat = (error: unknown): boolean => {
      asked.push(error);
      return error === first;
    };
    await expect(advanceUntil(clock, withRetries(attempt, policy, clock, undefined, 'x', { mayRepeat }))).rejects.toBe(
      second,
    );
    expect([state.attempts, asked]).toEqual([2, [first, second]]);
  });

  it('leaves an outage to the caller: what was not tried is not tried again', async () => {
    const clock = new ManualClock();
    const { state, attempt } = failing(new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', 'x'));
    expect((await rejection(withRetries(attempt, policy, clock, undefined, 'x'))).code).toBe('HOMESERVER_UNAVAILABLE');
    expect(state.attempts).toBe(1);
  });

  it('pauses also when the homeserver asks to come back at once', async () => {
    const clock = new ManualClock();
    const { state, attempt } = failing(limited(0));
    const done = withRetries(attempt, policy, clock, undefined, 'x');
    await clock.advance(49);
    expect(state.attempts).toBe(1);
    await clock.advance(51);
    await expect(done).resolves.toBe('done');
  });

  it('ends with its signal, leaving no timer', async () => {
    const clock = new ManualClock();
    const controller = new AbortController();
    const { state, attempt } = failing(unavailable());
    const done = withRetries(attempt, policy, clock, controller.signal, 'x');
    await clock.advance(0);
    controller.abort();
    expect(await rejection(done)).toMatchObject({ code: 'ABORTED' });
    expect({ attempts: state.attempts, timers: clock.pendingTimers }).toEqual({ attempts: 1, timers: 0 });
  });
});

describe('the pause after a failure', () => {
  it('doubles up to its limit, half of it random', () => {
    for (const [failures, full] of [
      [1, 100],
      [2, 200],
      [3, 400],
      [4, 400],
      [5_000, 400],
    ] as const) {
      const seen = Array.from({ length: 200 }, () => backoffMs(failures, policy));
      expect(Math.min(...seen)).toBeGreaterThanOrEqual(full / 2);
      expect(Math.max(...seen)).toBeLessThanOrEqual(full);
      expect(new Set(seen).size).toBeGreaterThan(10);
    }
  });

  it('may be as short as nothing', () => {
    expect(backoffMs(1, { baseDelayMs: 0, maxDelayMs: 0 })).toBe(0);
  });

  it('is what the homeserver asks for, within ten minutes', () => {
    expect(retryDelayMs(limited(5), 1, { baseDelayMs: 0, maxDelayMs: 0 })).toBe(5);
    expect(retryDelayMs(limited(1e12), 1, defaultRetryPolicy)).toBeGreaterThanOrEqual(600_000);
    expect(retryDelayMs(limited(1e12), 1, defaultRetryPolicy)).toBeLessThan(660_000);
    expect(retryDelayMs(new Error('x'), 1, { baseDelayMs: 0, maxDelayMs: 0 })).toBe(0);
  });
});
