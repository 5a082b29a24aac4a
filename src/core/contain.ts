import { orTimeout } from './abort.js';
import type { Clock, TimerHandle } from './clock.js';
import { systemClock } from './clock.js';
import { isManagerError, MatrixClientManagerError } from './errors.js';
import type { ErrorCode } from './errors.js';
import type { Logger } from './logger.js';

/**
 * Calls to functions of the application. Such a function may throw, reject, hang, or return a wrong type. The library
 * still gets a value or an error with a code.
 */

export interface Containment {
  /** The name of the called function, for errors, such as `storage.commit()`. */
  readonly callee: string;
  /** The error code if the function fails with an error that is not a MatrixClientManagerError. */
  readonly code: ErrorCode;
  readonly clock: Clock;
  /** How long the call may take, in milliseconds. */
  readonly timeoutMs: number;
}

/** Calls a synchronous or asynchronous function. Every rejection is a MatrixClientManagerError. */
export async function callContained<T>(
  { callee, code, clock, timeoutMs }: Containment,
  call: () => T | PromiseLike<T>,
): Promise<Awaited<T>> {
  const timeoutError = (): MatrixClientManagerError =>
    new MatrixClientManagerError(
      code === 'STORAGE' ? code : 'TIMEOUT',
      `${callee} did not answer within ${timeoutMs} ms`,
    );
  try {
    const result = (async () => call())();
    return await orTimeout(result as Promise<Awaited<T>>, clock, timeoutMs, timeoutError);
  } catch (error) {
    if (isManagerError(error)) throw error;
    // The message of the application's error is kept in `cause` only: it may contain a token.
    throw new MatrixClientManagerError(code, `${callee} failed`, { cause: error });
  }
}

/** Handles the rejection of a promise that a function returned although it should return nothing. */
export function catchRejection(returned: unknown, onError: (error: unknown) => void): void {
  Promise.resolve(returned).catch(onError);
}

/** Wraps the application's logger and discards its failures, because there is no other place to report them. */
export function containedLogger(logger: Logger): Logger {
  const level =
    (name: keyof Logger) =>
    (context: object, message: string): void => {
      try {
        const returned: unknown = logger[name](context, message);
        if (returned !== undefined) catchRejection(returned, () => {});
      } catch {
        // the application's logger threw
      }
    };
  return { debug: level('debug'), info: level('info'), warn: level('warn'), error: level('error') };
}

/** The latest time of a `Date`, in milliseconds since the Unix epoch. */
const MAX_TIME_MS = 8.64e15;

/**
 * Wraps the application's clock. `now()` always returns a whole number that is a valid `Date`. Timers fire once,
 * asynchronously, and never after they were cleared. If the application's clock throws, `now()` repeats its last time,
 * and timers use the system clock.
 */
export function containedClock(clock: Clock, logger: Logger): Clock {
  let last = 0;
  const failed = (method: string, err: unknown): void => logger.error({ method, err }, 'the clock failed');
  return {
    now: () => {
      try {
        const now: unknown = clock.now();
        if (typeof now === 'number' && Math.abs(now) <= MAX_TIME_MS) last = Math.trunc(now);
        else catchRejection(now, () => {});
      } catch (error) {
        failed('now', error);
      }
      return last;
    },
    setTimeout: (callback, delayMs) => {
      const timer = { isOver: false, isSetting: true, from: clock, handle: undefined as TimerHandle };
      const fire = (): void => {
        if (timer.isOver) return;
        if (timer.isSetting) {
          queueMicrotask(fire);
          return;
        }
        timer.isOver = true;
        callback();
      };
      try {
        timer.handle = clock.setTimeout(fire, delayMs);
      } catch (error) {
        failed('setTimeout', error);
        timer.from = systemClock;
        timer.handle = systemClock.setTimeout(fire, delayMs);
      }
      timer.isSetting = false;
      return timer;
    },
    clearTimeout: (given) => {
      const timer = given as { isOver: boolean; from: Clock; handle: TimerHandle } | undefined;
      if (!timer) return;
      timer.isOver = true;
      try {
        const returned: unknown = timer.from.clearTimeout(timer.handle);
        if (returned !== undefined) catchRejection(returned, () => {});
      } catch (error) {
        failed('clearTimeout', error);
      }
    },
  };
}
