import type { Clock } from './clock.js';
import { MatrixClientManagerError } from './errors.js';

/** Throws `ABORTED` if `signal` has already fired. */
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
 * Calls `listener` when `signal` fires. Returns a function that removes the listener. All listeners of a signal share one
 * DOM listener, because adding or removing one takes time linear in their number, and a manager's signal has thousands.
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

/** Waits `delayMs` on `clock`. Rejects with `ABORTED` and clears its timer when `signal` fires first. */
export function delay(
  clock: Clock,
  delayMs: number,
  signal: AbortSignal | undefined,
  operation: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(abortedError(operation, signal.reason));
    const timer = clock.setTimeout(() => {
      removeListener?.();
      resolve();
    }, delayMs);
    const removeListener =
      signal &&
      onAbort(signal, () => {
        clock.clearTimeout(timer);
        reject(abortedError(operation, signal.reason));
      });
  });
}

/** Settles as `promise` does, or rejects with `ABORTED` when `signal` fires first. The work behind `promise` continues. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined, operation: string): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      promise.catch(() => {}); // the owner of the promise handles its rejection
      return reject(abortedError(operation, signal.reason));
    }
    const removeListener = onAbort(signal, () => reject(abortedError(operation, signal.reason)));
    settleAfter(promise, removeListener, resolve, reject);
  });
}

/** Passes the result of `promise` on after `cleanUp`. Takes one promise where `then` and `finally` would take two. */
function settleAfter<T>(
  promise: Promise<T>,
  cleanUp: () => void,
  resolve: (value: T) => void,
  reject: (error: unknown) => void,
): void {
  promise.then(
    (value) => {
      cleanUp();
      resolve(value);
    },
    (error: unknown) => {
      cleanUp();
      reject(error);
    },
  );
}

/** Settles as `promise` does, or rejects with `failure()` after `timeoutMs`. The work behind `promise` continues. */
export function orTimeout<T>(
  promise: Promise<T>,
  clock: Clock,
  timeoutMs: number,
  failure: () => MatrixClientManagerError,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => reject(failure()), timeoutMs);
    settleAfter(promise, () => clock.clearTimeout(timer), resolve, reject);
  });
}

/**
 * Runs `work` with a signal that fires when `signal` fires or after `timeoutMs`. `work` must end soon after that. If it
 * fails after the timeout, the rejection is `failure()`.
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

/** The abort reason of a request that has timed out. */
export function timeoutReason(): DOMException {
  return new DOMException('no response in time', 'TimeoutError');
}
