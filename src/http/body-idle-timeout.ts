import { timeoutReason } from '../core/abort.js';
import type { Clock, TimerHandle } from '../core/clock.js';

/** Fires its signal when nothing of a body has flowed for a time, to the homeserver or from it. */
export class BodyIdleTimeout {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #timer: TimerHandle;
  #written = false;
  #hasDeadline = false;

  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something has flowed, or begins to. */
  reset(): void {
    if (this.#hasDeadline) return;
    this.pause();
    this.#timer = this.#clock.setTimeout(() => this.#controller.abort(timeoutReason()), this.#timeoutMs);
  }

  pause(): void {
    this.#clock.clearTimeout(this.#timer);
  }

  /** Fires after the time whatever flows from now on: for the short body of a refusal. */
  startDeadline(): void {
    this.reset();
    this.#hasDeadline = true;
  }

  /** Ends it for what is written: there is an answer, or there will be none. */
  stopWriting(): void {
    this.#written = true;
    this.pause();
  }

  /** Counts while the network is waited for, and not while whoever reads is busy. */
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

  /** Counts while the network takes what is written, then until the answer; not while the file is read. */
  async *watchWriting(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    this.pause();
    for await (const chunk of body) {
      if (this.#written) return;
      this.reset();
      yield chunk;
      if (this.#written) return;
      if (!this.#hasDeadline) this.pause();
    }
    if (!this.#written) this.reset();
  }
}
