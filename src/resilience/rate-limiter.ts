import * as v from 'valibot';
import { abortedError } from '../core/abort.js';
import type { Clock, TimerHandle } from '../core/clock.js';
import { priorities } from '../core/ports/request-gate.js';
import type { Priority } from '../core/ports/request-gate.js';
import { checkedAs, optionsOf, shown } from '../core/validation.js';

/** A rate limit: `perSecond` requests on average, and up to `burst` at once after a pause. */
export interface RateLimit {
  /** Requests per second, on average. */
  readonly perSecond: number;
  /** Requests that may be sent at once after a pause. @default perSecond */
  readonly burst?: number;
}

const positive = checkedAs<number>('a number above 0', (value) => Number.isFinite(value) && Number(value) > 0, shown);

export const rateLimitSchema = optionsOf<RateLimit>({ perSecond: positive, burst: v.optional(positive) });

interface QueuedRequest {
  readonly admit: () => void;
}

/** The queues, in the order in which they are served. */
type QueuesByPriority = Readonly<Record<Priority, Set<QueuedRequest>>>;

/** A token bucket with a queue for each priority. */
export class RateLimiter {
  readonly #clock: Clock;
  readonly #perMs: number;
  readonly #burst: number;
  readonly #queues = Object.fromEntries(priorities.map((priority) => [priority, new Set()])) as QueuesByPriority;
  #tokens: number;
  #filledAt: number;
  #timer: TimerHandle;

  constructor(limit: RateLimit, clock: Clock) {
    this.#clock = clock;
    this.#perMs = limit.perSecond / 1_000;
    this.#burst = Math.max(1, limit.burst ?? limit.perSecond);
    this.#tokens = this.#burst;
    this.#filledAt = clock.now();
  }

  /** The number of waiting requests. */
  get waiting(): number {
    let waiting = 0;
    for (const queue of Object.values(this.#queues)) waiting += queue.size;
    return waiting;
  }

  /** Resolves when the request may be sent. Rejects with `ABORTED` when `signal` fires first. */
  async acquire(priority: Priority, signal?: AbortSignal): Promise<void> {
    this.#refill();
    if (this.#tokens >= 1 && this.waiting === 0) {
      this.#tokens--;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const queue = this.#queues[priority];
      const onAbort = (): void => {
        queue.delete(queued);
        if (this.waiting === 0) this.#clearTimer();
        reject(abortedError('a request', signal?.reason));
      };
      const queued: QueuedRequest = {
        admit: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      if (signal?.aborted) return onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      queue.add(queued);
      this.#schedule();
    });
  }

  /** Resolves all waits immediately. The callers must then check whether the homeserver is still up. */
  releaseAll(): void {
    while (this.#admitNext());
    this.#clearTimer();
  }

  #refill(): void {
    const now = this.#clock.now();
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#filledAt) * this.#perMs);
    this.#filledAt = now;
  }

  #schedule(): void {
    if (this.#timer !== undefined) return;
    const delayMs = Math.max(1, Math.ceil((1 - this.#tokens) / this.#perMs));
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = undefined;
      this.#refill();
      while (this.#tokens >= 1 && this.#admitNext()) this.#tokens--;
      if (this.waiting > 0) this.#schedule();
    }, delayMs);
  }

  #clearTimer(): void {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #admitNext(): boolean {
    for (const queue of Object.values(this.#queues)) {
      for (const queued of queue) {
        queue.delete(queued);
        queued.admit();
        return true;
      }
    }
    return false;
  }
}
