import type { Clock } from './clock.js';
import { MatrixClientManagerError } from './errors.js';

/** Throws `ABORTED` when `signal` has fired. */
export function throwIfAborted(signal: AbortSignal | undefined, operation: string): void {
  if (signal?.aborted) throw abortedError(operation, signal.reason);
}

export function abortedError(operation: string, reason?: unknown): MatrixClientManagerError {
  return new MatrixClientManagerError('ABORTED', `${operation} was aborted`, { cause: reason });
}

/** Waits `delayMs` on `clock`; rejects with `ABORTED`, its timer cleared, when `signal` fires first. */
export function delay(
  clock: Clock,
  delayMs: number,
  signal: AbortSignal | undefined,
  operation: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(abortedError(operation, signal.reason));
    const onAbort = (): void => {
      clock.clearTimeout(timer);
      reject(abortedError(operation, signal?.reason));
    };
    const timer = clock.setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** `promise`, or a rejection with `ABORTED` as soon as `signal` fires; the promise itself goes on. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined, operation: string): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      promise.catch(() => {}); // its owner handles it; this caller has already left
      return reject(abortedError(operation, signal.reason));
    }
    const onAbort = (): void => reject(abortedError(operation, signal.reason));
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** With what a request is aborted when its time is over. */
export function timeoutReason(): DOMException {
  return new DOMException('no answer in time', 'TimeoutError');
}
