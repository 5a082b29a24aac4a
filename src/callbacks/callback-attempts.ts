import { delay } from '../core/abort.js';
import type { ClientEvent } from '../core/client-event.js';
import type { Clock } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import type { Claim } from '../core/ports/claim.js';
import { deduplicationId } from './handled-events.js';
import type { RunningCalls } from './running-calls.js';
import type { Subscription } from './subscription.js';

/** The longest pause between two attempts, in milliseconds. */
const MAX_PAUSE_MS = 300_000;

/**
 * `failed`: the event became a dead letter. `stopped`: the event has to be delivered again. `unwanted`: the callback was
 * removed.
 */
export type Outcome = 'succeeded' | 'failed' | 'stopped' | 'unwanted';

export interface CallbackAttemptsOptions {
  /** How often a failing callback is called with an event. */
  readonly attempts: number;
  /** The pause before attempt 2, in milliseconds; it doubles with each further one. */
  readonly retryDelayMs: number;
  readonly onError: (event: ClientEvent, error: unknown, attempt: number) => void;
  /**
   * Called after the last attempt has failed. The event counts as handled once this resolves. After a rejection it is
   * called again, so that the dead letter is not lost, except after `OWNED_ELSEWHERE`.
   * `claim`: the one that the event was dispatched with
   */
  readonly onDeadLetter: (event: ClientEvent, error: unknown, attempts: number, claim?: Claim) => Promise<void>;
}

/** Calls a callback with an event until it succeeds. */
export class CallbackAttempts {
  readonly #clock: Clock;
  readonly #runningCalls: RunningCalls;
  readonly #options: CallbackAttemptsOptions;
  /** Whether {@link close} was called. */
  #isClosed = false;

  constructor(clock: Clock, runningCalls: RunningCalls, options: CallbackAttemptsOptions) {
    this.#clock = clock;
    this.#runningCalls = runningCalls;
    this.#options = options;
  }

  /** Call this before all callbacks are removed at the shutdown. */
  close(): void {
    this.#isClosed = true;
  }

  /** Calls the callback until it succeeds, up to `attempts` times. After the last failure stores a dead letter. */
  async run(subscription: Subscription, event: ClientEvent, signal: AbortSignal, claim?: Claim): Promise<Outcome> {
    const id = deduplicationId(event);
    for (let attempt = 1; ; attempt++) {
      if (signal.aborted) return 'stopped';
      if (!subscription.wants(event)) return 'unwanted'; // removed meanwhile
      const call = this.#runningCalls.prepare(subscription, event);
      try {
        await this.#runningCalls.run(call, subscription.callback, event, attempt);
        if (id !== undefined) subscription.failedIds.delete(id);
        return 'succeeded';
      } catch (error) {
        if (call.isAborted && !subscription.wants(event)) {
          // Removed while it ran. If it was the last callback, the event is kept for callbacks that are added later.
          return signal.aborted && !this.#isClosed ? 'stopped' : 'unwanted';
        }
        this.#options.onError(event, error, attempt);
        if (signal.aborted && call.isAborted) return 'stopped'; // it failed because its signal was aborted
        if (attempt >= this.#options.attempts) {
          if (!(await this.#storeDeadLetter(signal, event, error, attempt, claim))) return 'stopped';
          if (id !== undefined) subscription.failedIds.add(id);
          return 'failed';
        }
        if (!(await this.#pause(attempt, signal))) return 'stopped';
      }
    }
  }

  /** Stores the event as a dead letter, with retries. Resolves to false if `signal` fired before that succeeded. */
  async #storeDeadLetter(
    signal: AbortSignal,
    ...letter: Parameters<CallbackAttemptsOptions['onDeadLetter']>
  ): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      try {
        await this.#options.onDeadLetter(...letter);
        return true;
      } catch (error) {
        if (isManagerError(error, 'OWNED_ELSEWHERE')) throw error;
        // `onDeadLetter` has logged the failure. The event must not count as handled before it is stored.
        if (!(await this.#pause(tries, signal))) return false;
      }
    }
  }

  /** Waits with exponential back-off. Resolves to false if `signal` fires. */
  async #pause(failures: number, signal: AbortSignal): Promise<boolean> {
    const delayMs = Math.min(MAX_PAUSE_MS, this.#options.retryDelayMs * 2 ** (failures - 1));
    const waited = delay(this.#clock, delayMs, signal, 'retrying a callback').then(() => true);
    return waited.catch(() => false);
  }
}
