import { orAborted, throwIfAborted } from './abort.js';
import { isManagerError, MatrixClientManagerError } from './errors.js';

export function managerClosedError(cause?: unknown): MatrixClientManagerError {
  return new MatrixClientManagerError('MANAGER_CLOSED', 'the manager was shut down', { cause });
}

/** The lifecycle of a manager. From the start of its shutdown on, new calls are rejected; later, running calls are aborted. */
export class ManagerLifecycle {
  readonly #inFlight = new AbortController();
  #closing = false;

  /** Fires when running calls are aborted. */
  get signal(): AbortSignal {
    return this.#inFlight.signal;
  }

  beginShutdown(): void {
    this.#closing = true;
  }

  abortInFlight(): void {
    this.#inFlight.abort();
  }

  /** Throws `MANAGER_CLOSED` once the shutdown has begun. */
  assertOpen(): void {
    if (this.#closing) throw managerClosedError();
  }

  /**
   * Runs `work` with a signal that fires with the caller's `signal`, or when running calls are aborted, unless it has
   * fired. Settles as {@link untilCallsAborted}.
   */
  run<T>(work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const combined = signal ? AbortSignal.any([signal, this.signal]) : this.signal;
    const start = async (): Promise<T> => {
      throwIfAborted(combined, 'the call');
      return work(combined);
    };
    return this.untilCallsAborted(start(), signal);
  }

  /**
   * Settles as `work` does. Rejects immediately with `ABORTED` when the caller's `signal` fires, and with `MANAGER_CLOSED`
   * when running calls are aborted. Errors that the shutdown causes inside `work` also become `MANAGER_CLOSED`.
   */
  async untilCallsAborted<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await orAborted(orAborted(work, this.signal, 'the call'), signal, 'the call');
    } catch (error) {
      const isAbortedByCaller = signal?.aborted === true && !this.signal.aborted;
      if (!this.#closing || isAbortedByCaller || !isManagerError(error, 'ABORTED', 'CLIENT_FAILED', 'STORAGE'))
        throw error;
      throw managerClosedError(error);
    }
  }
}
