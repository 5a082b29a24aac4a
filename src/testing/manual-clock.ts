import type { Clock, TimerHandle } from '../core/clock.js';
import { engineLoading } from '../users/session-engine.js';

interface Timer {
  readonly dueAt: number;
  readonly sequence: number;
  readonly callback: () => void;
}

/** Turns of the event loop that `advance` waits after each timer. Enough for requests to the in-process homeserver. */
const SETTLE_TURNS = 20;

/** A clock that stands still until a test advances it. */
export class ManualClock implements Clock {
  #now: number;
  #sequence = 0;
  readonly #timers = new Set<Timer>();

  /** @param now - the initial time, in milliseconds since the Unix epoch */
  constructor(now = 1_700_000_000_000) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  /** Number of timers that have not fired. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  setTimeout(callback: () => void, delayMs: number): TimerHandle {
    const timer = { dueAt: this.#now + Math.max(0, delayMs), sequence: this.#sequence++, callback };
    this.#timers.add(timer);
    return timer;
  }

  clearTimeout(handle: TimerHandle): void {
    this.#timers.delete(handle as Timer);
  }

  /**
   * Advances the time by `ms` and fires due timers in order, including timers set meanwhile. Before the next timer
   * fires, the work that the last one started gets some turns of the event loop.
   */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (let next = this.#nextDue(end); next; next = this.#nextDue(end)) {
      this.#now = Math.max(this.#now, next.dueAt);
      this.#timers.delete(next);
      next.callback();
      await settle();
    }
    this.#now = end;
  }

  #nextDue(end: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueAt > end) continue;
      if (!first || timer.dueAt < first.dueAt || (timer.dueAt === first.dueAt && timer.sequence < first.sequence)) {
        first = timer;
      }
    }
    return first;
  }
}

async function settle(): Promise<void> {
  for (;;) {
    for (let turn = 0; turn < SETTLE_TURNS; turn++) await new Promise((resolve) => setImmediate(resolve));
    // The first start of a manager loads matrix-js-sdk. The time must not advance meanwhile.
    const load = engineLoading();
    if (!load) return;
    await load.catch(() => undefined);
  }
}
