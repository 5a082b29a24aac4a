import type { ManualClock } from '../../src/testing/manual-clock.js';

/**
 * What `work` comes to, while the clock runs on in small steps. Fails when it needs more than `limitMs` of the
 * clock's time.
 */
export async function advanceUntil<T>(
  clock: ManualClock,
  work: Promise<T>,
  { limitMs = 600_000, stepMs = 500 }: { limitMs?: number; stepMs?: number } = {},
): Promise<T> {
  const state = { over: false };
  const watched = work.finally(() => (state.over = true));
  watched.catch(() => {}); // told below
  const end = clock.now() + limitMs;
  await clock.advance(0);
  while (!state.over) {
    if (clock.now() >= end) throw new Error(`nothing came of it in ${limitMs} ms`);
    await clock.advance(stepMs);
  }
  return watched;
}
