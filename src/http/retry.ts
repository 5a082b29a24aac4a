import { randomInt } from 'node:crypto';
import { delay } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import { failureClass, isRetryable } from './failure-class.js';

export interface RetryPolicy {
  /** How many times a request is sent at most. */
  readonly attempts: number;
  /** The first back-off, in milliseconds; it doubles with every further one. */
  readonly baseDelayMs: number;
  /** The longest back-off of our own, in milliseconds. */
  readonly maxDelayMs: number;
  /** The longest Retry-After that is waited for, in milliseconds; a longer one is the caller's to know. */
  readonly maxRetryAfterMs: number;
}

export const defaultRetryPolicy: RetryPolicy = {
  attempts: 4,
  baseDelayMs: 500,
  maxDelayMs: 10_000,
  maxRetryAfterMs: 60_000,
};

/** Half of the exponential back-off fixed, half random, so that many clients do not come back in step. */
export function backoffMs(failures: number, policy: Pick<RetryPolicy, 'baseDelayMs' | 'maxDelayMs'>): number {
  const full = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** Math.min(failures - 1, 30));
  return Math.round(full / 2) + randomInt(Math.max(1, Math.round(full / 2)));
}

/** The longest that anybody waits for a homeserver before asking again: it may be back sooner than it said. */
const MAX_WAIT_MS = 600_000;

/**
 * What to wait after `error`, in milliseconds: the homeserver's word first, our back-off next. A word that says to
 * come at once is none, or a homeserver in trouble would be asked without a pause.
 */
export function retryDelayMs(
  error: unknown,
  failures: number,
  policy: Pick<RetryPolicy, 'baseDelayMs' | 'maxDelayMs'>,
): number {
  const asked = Math.min(askedMs(error), MAX_WAIT_MS);
  if (asked <= 0) return backoffMs(failures, policy);
  // Whoever was told the same time to wait would come back in step.
  return asked + randomInt(Math.max(1, Math.round(Math.max(asked / 10, policy.baseDelayMs / 4))));
}

function askedMs(error: unknown): number {
  return isManagerError(error) ? (error.retryAfterMs ?? 0) : 0;
}

/**
 * Repeats `attempt` while its failures are transient or rate limits within `policy`. Only for what is safe to repeat:
 * always, or after the failures that `mayRepeat` lets pass.
 */
export async function withRetries<T>(
  attempt: () => Promise<T>,
  policy: RetryPolicy,
  clock: Clock,
  signal: AbortSignal | undefined,
  operation: string,
  mayRepeat: (error: unknown) => boolean = () => true,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (!isRetryable(failureClass(error)) || !mayRepeat(error)) throw error;
      if (failures >= policy.attempts || askedMs(error) > policy.maxRetryAfterMs) throw error;
      await delay(clock, retryDelayMs(error, failures, policy), signal, operation);
    }
  }
}
