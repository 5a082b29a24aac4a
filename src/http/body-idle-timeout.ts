import { timeoutReason } from '../core/abort.js';
import type { Clock, TimerHandle } from '../core/clock.js';

/** Aborts `signal` when no chunk of a request or response body has been transferred for `timeoutMs`. */
export class BodyIdleTimeout {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #timer: TimerHandle;
  #writingEnded = false;
  #hasDeadline = false;

  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Restarts the timer. Has no effect after `startDeadline()`. */
  reset(): void {
    if (this.#hasDeadline) return;
    this.pause();
    this.#timer = this.#clock.setTimeout(() => this.#controller.abort(timeoutReason()), this.#timeoutMs);
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
