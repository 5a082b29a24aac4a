import { randomInt } from 'node:crypto';
import { delay } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import { failureClass, isRetryable } from './failure-class.js';

export interface RetryPolicy {
  /** How often a request is sent at most, the first attempt included. */
  readonly attempts: number;
  /** The first back-off, in milliseconds. Each further back-off is twice as long. */
  readonly baseDelayMs: number;
  /** The longest back-off, in milliseconds. */
  readonly maxDelayMs: number;
  /** The longest `Retry-After` to wait for, in milliseconds. With a longer one the request fails. */
  readonly maxRetryAfterMs: number;
  /** Whether a rate limit is waited out, however long and often, and counts as no attempt. The signal must end it. @default false */
  readonly waitsOutRateLimits?: boolean;
}

export const defaultRetryPolicy: RetryPolicy = {
  attempts: 4,
  baseDelayMs: 500,
  maxDelayMs: 10_000,
  maxRetryAfterMs: 60_000,
};

/** Exponential back-off, half of it random, so that many clients do not retry at the same time. */
export function backoffMs(failures: number, policy: Pick<RetryPolicy, 'baseDelayMs' | 'maxDelayMs'>): number {
  const full = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** Math.min(failures - 1, 30));
  return Math.round(full / 2) + randomInt(Math.max(1, Math.round(full / 2)));
}

/** The longest delay before a retry, in milliseconds. The homeserver may recover sooner than it announced. */
const MAX_WAIT_MS = 600_000;

/**
 * The delay before the next attempt, in milliseconds: the homeserver's `Retry-After` if there is one, else our back-off.
 * `Retry-After: 0` is ignored: a homeserver in trouble would otherwise get requests without a pause.
 */
export function retryDelayMs(
  error: unknown,
  failures: number,
  policy: Pick<RetryPolicy, 'baseDelayMs' | 'maxDelayMs'>,
): number {
  const requestedMs = Math.min(requestedDelayMs(error), MAX_WAIT_MS);
  if (requestedMs <= 0) return backoffMs(failures, policy);
  // Many clients may have received the same Retry-After, so a random part is added.
  return requestedMs + randomInt(Math.max(1, Math.round(Math.max(requestedMs / 10, policy.baseDelayMs / 4))));
}

function requestedDelayMs(error: unknown): number {
  return isManagerError(error) ? (error.retryAfterMs ?? 0) : 0;
}

interface Repetition {
  /** Whether it is safe to repeat after this failure. @default always */
  readonly mayRepeat?: (error: unknown) => boolean;
  /** Called before each attempt but the first. @default none */
  readonly onRepeat?: () => void;
}

/** Repeats `attempt` after transient failures and rate limits, within `policy`. */
export async function withRetries<T>(
  attempt: () => Promise<T>,
  policy: RetryPolicy,
  clock: Clock,
  signal: AbortSignal | undefined,
  operation: string,
  { mayRepeat = () => true, onRepeat = () => {} }: Repetition = {},
): Promise<T> {
  for (let failures = 0, limits = 0; ;) {
    try {
      return await attempt();
    } catch (error) {
      const kind = failureClass(error);
      if (!isRetryable(kind) || !mayRepeat(error)) throw error;
      const isWaitedOut = policy.waitsOutRateLimits === true && kind === 'rate-limited';
      const repetition = isWaitedOut ? ++limits : ++failures;
      const isTooMuch = repetition >= policy.attempts || requestedDelayMs(error) > policy.maxRetryAfterMs;
      if (isTooMuch && !isWaitedOut) throw error;
      await delay(clock, retryDelayMs(error, repetition, policy), signal, operation);
      onRepeat();
    }
  }
}
