import { orAborted } from './abort.js';
import { isManagerError, MatrixClientManagerError } from './errors.js';

/** Whether the manager is open: calls are refused from the beginning of its end on, and cut short a little later. */
export class ManagerLifecycle {
  readonly #inFlight = new AbortController();
  #closing = false;

  /** Fires when calls are cut short. */
  get signal(): AbortSignal {
    return this.#inFlight.signal;
  }

  get isClosing(): boolean {
    return this.#closing;
  }

  beginShutdown(): void {
    this.#closing = true;
  }

  abortInFlight(): void {
    this.#inFlight.abort();
  }

  /** Throws `MANAGER_CLOSED` once the end has begun. */
  assertOpen(): void {
    if (this.#closing) throw new MatrixClientManagerError('MANAGER_CLOSED', 'the manager was shut down');
  }

  /** Fires with the caller's signal, and when calls are cut short. */
  withShutdownSignal(signal: AbortSignal | undefined): AbortSignal {
    return signal ? AbortSignal.any([signal, this.signal]) : this.signal;
  }

  /**
   * `work`; the wait for it ends at once with `ABORTED` when the caller's `signal` fires, and with `MANAGER_CLOSED` when
   * calls are cut short. What the end aborts of it ends with `MANAGER_CLOSED`, whatever part of it noticed first.
   */
  async rejectWhenClosed<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await orAborted(orAborted(work, this.signal, 'the call'), signal, 'the call');
    } catch (error) {
      const isCallers = signal?.aborted === true && !this.signal.aborted;
      if (!this.#closing || isCallers || !isManagerError(error, 'ABORTED', 'CLIENT_FAILED', 'STORAGE')) throw error;
      throw new MatrixClientManagerError('MANAGER_CLOSED', 'the manager was shut down', { cause: error });
    }
  }
}
