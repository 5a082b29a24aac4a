import type { Clock } from '../core/clock.js';
import { MatrixClientManagerError } from '../core/errors.js';
import type { CallbackContext, ClientCallback } from './callback.js';

/** The subscription whose callback is called. */
export interface CallSource {
  readonly callback: ClientCallback;
  /** How many calls of the callback still run although the manager no longer waits for them. */
  overdueCalls: number;
}

interface CallbackCallOptions {
  readonly userId: string;
  /** Undefined for an event without a room. */
  readonly roomId: string | undefined;
  readonly clock: Clock;
  /** How long the callback may run, in milliseconds. */
  readonly timeoutMs: number;
  readonly source: CallSource;
}

/**
 * One call of a callback. A running callback cannot be stopped, so its wait may end earlier: an overdue callback still runs.
 */
export class CallbackCall implements CallbackContext {
  readonly #options: CallbackCallOptions;
  readonly #waitEnded = Promise.withResolvers<void>();
  /** Created when the callback reads its signal, since most callbacks do not. */
  #controller: AbortController | undefined;
  #abortReason: MatrixClientManagerError | undefined;
  #hasEnded = false;
  #rejectWait: ((reason: MatrixClientManagerError) => void) | undefined;

  constructor(options: CallbackCallOptions) {
    this.#options = options;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#abortReason) this.#controller.abort(this.#abortReason);
    return this.#controller.signal;
  }

  /** Resolves when the manager no longer waits for the callback: it has returned, is overdue or was interrupted. */
  get waitEnded(): Promise<void> {
    return this.#waitEnded.promise;
  }

  /** Whether it is a call of the callback for this room that the manager waits for, so that the room's queue waits. */
  holdsQueue(source: CallSource, roomId: string | undefined): boolean {
    return !this.#hasEnded && this.#options.source === source && this.#options.roomId === roomId;
  }

  /** Whether the callback's signal was aborted. */
  get isAborted(): boolean {
    return this.#abortReason !== undefined;
  }

  /**
   * Calls the callback. Rejects with its error, with `TIMEOUT` if it is overdue, or with the reason of {@link
   * interrupt}.
   */
  async run(callback: () => unknown): Promise<void> {
    try {
      const returned = callback();
      if (isThenable(returned)) await this.#orInterrupt(returned);
    } finally {
      this.#hasEnded = true;
      this.#waitEnded.resolve();
    }
  }

  /** Aborts the callback's signal. The wait goes on, and the result counts. Does nothing after the end of the wait. */
  abort(reason: MatrixClientManagerError): void {
    if (this.#hasEnded) return;
    this.#abortReason ??= reason;
    this.#controller?.abort(this.#abortReason);
  }

  /** Aborts the callback's signal and ends the wait: {@link run} rejects with `reason`. */
  interrupt(reason: MatrixClientManagerError): void {
    this.abort(reason);
    this.#rejectWait?.(reason);
  }

  #orInterrupt(returned: PromiseLike<unknown>): Promise<void> {
    const { clock, timeoutMs, source } = this.#options;
    return new Promise((resolve, reject) => {
      let isOverdue = false;
      const end = (): void => {
        isOverdue = true;
        source.overdueCalls++;
        this.interrupt(this.#overdueError());
      };
      const timer = timeoutMs === Infinity ? undefined : clock.setTimeout(end, timeoutMs);
      this.#rejectWait = (reason) => {
        clock.clearTimeout(timer);
        reject(reason);
      };
      Promise.resolve(returned)
        .then(() => resolve(), reject)
        .finally(() => {
          clock.clearTimeout(timer);
          if (isOverdue) source.overdueCalls--;
        });
    });
  }

  #overdueError(): MatrixClientManagerError {
    const { userId, roomId, timeoutMs } = this.#options;
    const message = `a callback did not return within ${timeoutMs} ms; return when its \`signal\` fires, or raise callbackTimeoutMs`;
    return new MatrixClientManagerError('TIMEOUT', message, { userId, roomId });
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function';
  return isObject && typeof (value as { then?: unknown }).then === 'function';
}
