/** What `Clock.setTimeout` returns; only the clock that made it knows what is inside. */
export type TimerHandle = unknown;

/** Where the library takes all its time from, so that tests can drive it. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  setTimeout(callback: () => void, delayMs: number): TimerHandle;
  clearTimeout(handle: TimerHandle): void;
}

/** The longest delay of Node's timers, 24.8 days; they fire at once when given a longer one. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** The machine's own clock. Delays beyond 24.8 days end there. */
export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (callback, delayMs) => setTimeout(callback, Math.min(delayMs, MAX_DELAY_MS)),
  clearTimeout: (handle) => clearTimeout(handle as NodeJS.Timeout),
};
