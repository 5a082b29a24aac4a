import { orAborted } from './abort.js';
import { isManagerError, MatrixClientManagerError } from './errors.js';

/** Whether the manager is open: calls are refused from the beginning of its end on, and cut short a little later. */
export class Lifetime {
  readonly #cut = new AbortController();
  #ending = false;

  /** Fires when calls are cut short. */
  get signal(): AbortSignal {
    return this.#cut.signal;
  }

  get isEnding(): boolean {
    return this.#ending;
  }

  beginEnd(): void {
    this.#ending = true;
  }

  cutShort(): void {
    this.#cut.abort();
  }

  /** Throws `MANAGER_CLOSED` once the end has begun. */
  assertOpen(): void {
    if (this.#ending) throw new MatrixClientManagerError('MANAGER_CLOSED', 'the manager was shut down');
  }

  /** Fires with the caller's signal, and when calls are cut short. */
  until(signal: AbortSignal | undefined): AbortSignal {
    return signal ? AbortSignal.any([signal, this.signal]) : this.signal;
  }

  /**
   * `work`; the wait for it ends at once with `ABORTED` when the caller's `signal` fires, and with `MANAGER_CLOSED` when
   * calls are cut short. What the end aborts of it ends with `MANAGER_CLOSED`, whatever part of it noticed first.
   */
  async orClosed<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await orAborted(orAborted(work, this.signal, 'the call'), signal, 'the call');
    } catch (error) {
      const isCallers = signal?.aborted === true && !this.signal.aborted;
      if (!this.#ending || isCallers || !isManagerError(error, 'ABORTED', 'CLIENT_FAILED', 'STORAGE')) throw error;
      throw new MatrixClientManagerError('MANAGER_CLOSED', 'the manager was shut down', { cause: error });
    }
  }
}
