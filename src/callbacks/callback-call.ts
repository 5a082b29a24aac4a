import type { Clock } from '../core/clock.js';
import { MatrixClientManagerError } from '../core/errors.js';
import type { CallbackContext } from './callback.js';

export interface CallbackCallOptions {
  readonly userId: string;
  readonly roomId: string;
  readonly clock: Clock;
  /** How long the callback may run, in milliseconds. */
  readonly timeoutMs: number;
  /** The callback has run for longer than `timeoutMs`, and still does. */
  readonly onOverdue: () => void;
  /** It has returned after all. */
  readonly onReturned: () => void;
}

/** One call of a callback. Nothing can stop a callback, so a call ends when the manager no longer waits for it. */
export class CallbackCall implements CallbackContext {
  readonly #options: CallbackCallOptions;
  readonly #ended = Promise.withResolvers<void>();
  #hasEnded = false;
  /** Made when the callback asks for its signal: few do. */
  #controller: AbortController | undefined;
  #abortReason: MatrixClientManagerError | undefined;
  #endWaiting: ((reason: MatrixClientManagerError) => void) | undefined;

  constructor(options: CallbackCallOptions) {
    this.#options = options;
  }

  get userId(): string {
    return this.#options.userId;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#abortReason) this.#controller.abort(this.#abortReason);
    return this.#controller.signal;
  }

  /** Resolves when the call has ended. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Whether the callback was told that nobody waits for it. */
  get isAborted(): boolean {
    return this.#abortReason !== undefined;
  }

  /** Calls the callback. Rejects as it does, with `TIMEOUT` when it is overdue, or as {@link interrupt} says. */
  async run(callback: () => unknown): Promise<void> {
    try {
      const returned = callback();
      if (isThenable(returned)) await this.#orInterrupted(returned);
    } finally {
      this.#hasEnded = true;
      this.#endWaiting = undefined;
      this.#ended.resolve();
    }
  }

  /** Tells the callback to end. What it returns counts all the same. */
  abort(reason: MatrixClientManagerError): void {
    if (this.#hasEnded || this.#abortReason) return;
    this.#abortReason = reason;
    this.#controller?.abort(reason);
  }

  /** {@link abort}, and ends the call with `reason`. */
  interrupt(reason: MatrixClientManagerError): void {
    this.abort(reason);
    this.#endWaiting?.(reason);
  }

  #orInterrupted(returned: PromiseLike<unknown>): Promise<void> {
    const { clock, timeoutMs, onOverdue, onReturned } = this.#options;
    return new Promise((resolve, reject) => {
      let isOverdue = false;
      const timer =
        timeoutMs === Infinity
          ? undefined
          : clock.setTimeout(() => {
              isOverdue = true;
              onOverdue();
              this.interrupt(this.#overdueError());
            }, timeoutMs);
      this.#endWaiting = (reason) => {
        clock.clearTimeout(timer);
        reject(reason);
      };
      Promise.resolve(returned)
        .then(() => resolve(), reject)
        .finally(() => {
          clock.clearTimeout(timer);
          if (isOverdue) onReturned();
        });
    });
  }

  #overdueError(): MatrixClientManagerError {
    const { userId, roomId, timeoutMs } = this.#options;
    const message = `a callback did not return within ${timeoutMs} ms; end it when its \`signal\` fires, or raise callbackTimeoutMs`;
    return new MatrixClientManagerError('TIMEOUT', message, { userId, roomId });
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function';
  return isObject && typeof (value as { then?: unknown }).then === 'function';
}
