import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/core/clock.js';

describe('systemClock', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('fires when the delay is over, and never when cleared', () => {
    const fired: string[] = [];
    systemClock.setTimeout(() => fired.push('kept'), 100);
    systemClock.clearTimeout(systemClock.setTimeout(() => fired.push('cleared'), 100));
    vi.advanceTimersByTime(99);
    expect(fired).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(fired).toEqual(['kept']);
  });

  it.each([2 ** 31, Number.MAX_SAFE_INTEGER, Infinity])(
    'does not fire at once with a delay that is too long for the machine (%d)',
    (delayMs) => {
      let fired = false;
      const timer = systemClock.setTimeout(() => (fired = true), delayMs);
      vi.advanceTimersByTime(1_000);
      systemClock.clearTimeout(timer);
      expect(fired).toBe(false);
    },
  );
});
