import { onAbort, timeoutReason } from '../core/abort.js';
import type { Clock, TimerHandle } from '../core/clock.js';

/** Ends a request in time: `timeoutMs` after its start, or after no chunk of a body has been transferred for as long. */
export class RequestTimeout {
  readonly #controller = new AbortController();
  /** Fires when the time is over, and with `end()`. */
  readonly signal = this.#controller.signal;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #timer: TimerHandle;
  #reject: ((reason: unknown) => void) | undefined;
  #writingEnded = false;
  #hasDeadline = false;
  #isOver = false;

  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** Whether the request has timed out. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * Runs `work` until the response has arrived. Rejects when `signal` or the signal of `work` fires, even if `work`
   * ignores that: some fetch functions and bodies do.
   */
  async run<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#reject = reject;
    const removeListener = signal && onAbort(signal, () => this.end(signal.reason));
    try {
      signal?.throwIfAborted();
      work(this.signal).then(resolve, reject);
      return await promise;
    } finally {
      this.stopWriting();
      removeListener?.();
    }
  }

  /** Ends the request, and the transfer of a body. */
  end(reason?: unknown): void {
    this.pause();
    this.#reject?.(reason);
    this.#controller.abort(reason);
  }

  /** Restarts the timer. Has no effect after `startDeadline()`. */
  reset(): void {
    if (this.#hasDeadline) return;
    this.pause();
    this.#timer = this.#clock.setTimeout(() => {
      this.#isOver = true;
      this.end(timeoutReason());
    }, this.#timeoutMs);
  }

  pause(): void {
    this.#clock.clearTimeout(this.#timer);
  }

  /** Starts the timer for the last time: later chunks do not restart it. Used for the short body of an error response. */
  startDeadline(): void {
    this.reset();
    this.#hasDeadline = true;
  }

  /** Stops the timer of the request body: the response has arrived, or the request has failed. */
  stopWriting(): void {
    this.#writingEnded = true;
    this.pause();
  }

  /** Passes the response body on. The timer runs while a chunk is awaited, and pauses while the consumer handles one. */
  async *watchReading(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      this.reset();
      for await (const chunk of body) {
        this.pause();
        yield chunk;
        this.reset();
      }
    } finally {
      this.pause();
    }
  }

  /**
   * Passes the request body on. The timer runs while the network accepts a chunk, and after the last one until the
   * response. It pauses while `body` produces the next chunk.
   */
  async *watchWriting(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    this.pause();
    for await (const chunk of body) {
      if (this.#writingEnded) return;
      this.reset();
      yield chunk;
      if (this.#writingEnded) return;
      if (!this.#hasDeadline) this.pause();
    }
    if (!this.#writingEnded) this.reset();
  }
}
