import type { Clock, TimerHandle } from '../core/clock.js';
import { userSessionLoading } from '../users/load-user-session.js';

interface Timer {
  readonly dueAt: number;
  readonly sequence: number;
  readonly callback: () => void;
}

/** Turns of the event loop that `advance` gives to what a timer started: enough for loopback requests in process. */
const SETTLE_TURNS = 20;

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  #now: number;
  #sequence = 0;
  readonly #timers = new Set<Timer>();

  /** @param now - the first time it shows, in milliseconds since the Unix epoch */
  constructor(now = 1_700_000_000_000) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  /** How many timers are waiting. */
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
   * Moves time on by `ms`, firing what comes due in order (timers set on the way included) and letting what each
   * timer started settle before the next one fires.
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
    // The first start of a manager loads matrix-js-sdk, and time must not run on meanwhile.
    const load = userSessionLoading();
    if (!load) return;
    await load.catch(() => undefined);
  }
}
