import type { Clock, TimerHandle } from 'matrix-client-manager';

interface Timer {
  readonly dueAt: number;
  readonly callback: () => void;
  handle?: NodeJS.Timeout;
}

/** The machine's clock, which can jump ahead: what becomes due on the way fires at once, in order. */
export class FastClock implements Clock {
  #skippedMs = 0;
  readonly #timers = new Set<Timer>();

  now(): number {
    return Date.now() + this.#skippedMs;
  }

  setTimeout(callback: () => void, delayMs: number): TimerHandle {
    const timer: Timer = { dueAt: this.now() + delayMs, callback };
    this.#timers.add(timer);
    timer.handle = setTimeout(() => this.#fire(timer), delayMs);
    return timer;
  }

  clearTimeout(handle: TimerHandle): void {
    const timer = handle as Timer | undefined;
    if (!timer) return;
    this.#timers.delete(timer);
    clearTimeout(timer.handle);
  }

  skip(ms: number): void {
    const end = this.now() + ms;
    for (let next = this.#firstDue(end); next; next = this.#firstDue(end)) {
      this.#skippedMs += Math.max(0, next.dueAt - this.now());
      this.#fire(next);
    }
    this.#skippedMs += Math.max(0, end - this.now());
  }

  #firstDue(by: number): Timer | undefined {
    return [...this.#timers].filter(({ dueAt }) => dueAt <= by).toSorted((a, b) => a.dueAt - b.dueAt)[0];
  }

  #fire(timer: Timer): void {
    this.clearTimeout(timer);
    timer.callback();
  }
}
