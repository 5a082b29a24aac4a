import { timeoutReason } from '../core/abort.js';
import type { Clock, TimerHandle } from '../core/clock.js';

/** Fires its signal when nothing of a body has flowed for a time, to the homeserver or from it. */
export class Silence {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #timer: TimerHandle;
  #written = false;
  #limited = false;

  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something has flowed, or begins to. */
  broken(): void {
    if (this.#limited) return;
    this.end();
    this.#timer = this.#clock.setTimeout(() => this.#controller.abort(timeoutReason()), this.#timeoutMs);
  }

  end(): void {
    this.#clock.clearTimeout(this.#timer);
  }

  /** Fires after the time whatever flows from now on: for the short body of a refusal. */
  limit(): void {
    this.broken();
    this.#limited = true;
  }

  /** Ends it for what is written: there is an answer, or there will be none. */
  written(): void {
    this.#written = true;
    this.end();
  }

  /** Counts while the network is waited for, and not while whoever reads is busy. */
  async *watchReading(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      this.broken();
      for await (const chunk of body) {
        this.end();
        yield chunk;
        this.broken();
      }
    } finally {
      this.end();
    }
  }

  /** Counts while the network takes what is written, then until the answer; not while the file is read. */
  async *watchWriting(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    this.end();
    for await (const chunk of body) {
      if (this.#written) return;
      this.broken();
      yield chunk;
      if (this.#written) return;
      if (!this.#limited) this.end();
    }
    if (!this.#written) this.broken();
  }
}
