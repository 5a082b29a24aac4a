import { orTimeout } from './abort.js';
import type { Clock, TimerHandle } from './clock.js';
import { systemClock } from './clock.js';
import { isManagerError, MatrixClientManagerError } from './errors.js';
import type { ErrorCode } from './errors.js';
import type { Logger } from './logger.js';

/**
 * How the application's functions are called: one may throw, reject, hang, call back at once, or return anything, and
 * the library gets a value or a coded error.
 */

export interface Containment {
  /** What is called, for errors, such as `storage.commit()`. */
  readonly callee: string;
  /** Of the error when it throws or rejects with something that is not the library's own. */
  readonly code: ErrorCode;
  readonly clock: Clock;
  /** How long it may take, in milliseconds. */
  readonly timeoutMs: number;
}

/** Calls a function that may answer by a promise. Rejects with the library's errors only. */
export async function callContained<T>(
  { callee, code, clock, timeoutMs }: Containment,
  call: () => T | PromiseLike<T>,
): Promise<Awaited<T>> {
  const late = (): MatrixClientManagerError =>
    new MatrixClientManagerError(
      code === 'STORAGE' ? code : 'TIMEOUT',
      `${callee} did not answer within ${timeoutMs} ms`,
    );
  try {
    const answering = (async () => call())();
    return await orTimeout(answering as Promise<Awaited<T>>, clock, timeoutMs, late);
  } catch (error) {
    if (isManagerError(error)) throw error;
    // The message of the application's error stands in `cause` only: it may hold a token.
    throw new MatrixClientManagerError(code, `${callee} failed`, { cause: error });
  }
}

/** Adds a catch to what a function returned that should have returned nothing. */
export function catchRejection(returned: unknown, onError: (error: unknown) => void): void {
  Promise.resolve(returned).catch(onError);
}

/** A logger whose failures reach nobody: there is no other place to tell of them. */
export function containedLogger(logger: Logger): Logger {
  const level =
    (name: keyof Logger) =>
    (context: object, message: string): void => {
      try {
        const returned: unknown = logger[name](context, message);
        if (returned !== undefined) catchRejection(returned, () => {});
      } catch {
        // the application's logger has failed
      }
    };
  return { debug: level('debug'), info: level('info'), warn: level('warn'), error: level('error') };
}

/**
 * A clock that always has a time and whose timers fire once, never within `setTimeout` and never after they were
 * cleared. Where the application's clock throws, the last time stands, and timers are the system's.
 */
export function containedClock(clock: Clock, logger: Logger): Clock {
  let last = 0;
  const failed = (method: string, err: unknown): void => logger.error({ method, err }, 'the clock failed');
  return {
    now: () => {
      try {
        const now: unknown = clock.now();
        if (typeof now === 'number' && Number.isFinite(now)) last = now;
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
