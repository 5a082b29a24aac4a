/** The return value of `Clock.setTimeout`, opaque to everyone but that clock. */
export type TimerHandle = unknown;

/** The library's only source of time and timers, so that tests can control it. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  setTimeout(callback: () => void, delayMs: number): TimerHandle;
  clearTimeout(handle: TimerHandle): void;
}

/** The longest delay of Node's timers, 24.8 days. With a longer one they fire immediately. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** The system clock. Longer delays than 24.8 days are shortened to that. */
export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (callback, delayMs) => setTimeout(callback, Math.min(delayMs, MAX_DELAY_MS)),
  clearTimeout: (handle) => clearTimeout(handle as NodeJS.Timeout),
};
