import type { Clock } from './clock.js';
import { MatrixClientManagerError } from './errors.js';

/** Throws `ABORTED` when `signal` has fired. */
export function throwIfAborted(signal: AbortSignal | undefined, operation: string): void {
  if (signal?.aborted) throw abortedError(operation, signal.reason);
}

export function abortedError(operation: string, reason?: unknown): MatrixClientManagerError {
  return new MatrixClientManagerError('ABORTED', `${operation} was aborted`, { cause: reason });
}

interface Listeners {
  readonly all: Set<() => void>;
  readonly fire: () => void;
}

const listenersBySignal = new WeakMap<AbortSignal, Listeners>();

/**
 * Calls `listener` when `signal` fires; returns what undoes that. A signal walks through all its listeners for each one
 * that comes or goes, and thousands of calls wait on a manager's: so it gets a single one for all of them.
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  const { all, fire } = listenersBySignal.get(signal) ?? listenTo(signal);
  all.add(listener);
  return () => {
    if (!all.delete(listener) || all.size > 0) return;
    signal.removeEventListener('abort', fire);
    listenersBySignal.delete(signal);
  };
}

function listenTo(signal: AbortSignal): Listeners {
  const all = new Set<() => void>();
  const fire = (): void => {
    for (const listener of all) listener();
  };
  signal.addEventListener('abort', fire, { once: true });
  listenersBySignal.set(signal, { all, fire });
  return { all, fire };
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
    const timer = clock.setTimeout(() => {
      ignore?.();
      resolve();
    }, delayMs);
    const ignore =
      signal &&
      onAbort(signal, () => {
        clock.clearTimeout(timer);
        reject(abortedError(operation, signal.reason));
      });
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
    const ignore = onAbort(signal, () => reject(abortedError(operation, signal.reason)));
    promise.then(resolve, reject).finally(ignore);
  });
}

/** `promise`, or a rejection with `failure()` after `timeoutMs` on `clock`; the promise itself goes on. */
export function orTimeout<T>(
  promise: Promise<T>,
  clock: Clock,
  timeoutMs: number,
  failure: () => MatrixClientManagerError,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => reject(failure()), timeoutMs);
    promise.then(resolve, reject).finally(() => clock.clearTimeout(timer));
  });
}

/**
 * Runs `work`, which ends soon after its signal fires: that is when `signal` does, or after `timeoutMs` on `clock`. In
 * the latter case a failure of `work` becomes `failure()`.
 */
export async function withDeadline<T>(
  { clock, timeoutMs, signal }: { readonly clock: Clock; readonly timeoutMs: number; readonly signal: AbortSignal },
  failure: () => MatrixClientManagerError,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = new AbortController();
  const timer = clock.setTimeout(() => deadline.abort(failure()), timeoutMs);
  try {
    return await work(AbortSignal.any([signal, deadline.signal]));
  } catch (error) {
    throw deadline.signal.aborted && !signal.aborted ? deadline.signal.reason : error;
  } finally {
    clock.clearTimeout(timer);
  }
}

/** Resolves when `signal` fires. */
export function whenAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

/** With what a request is aborted when its time is over. */
export function timeoutReason(): DOMException {
  return new DOMException('no answer in time', 'TimeoutError');
}
