import * as v from 'valibot';
import { durationMs, optionsOf, readCallOptions } from '../core/call-options.js';

/** What a {@link ConnectionPolicy} knows of a user. Times are in milliseconds since the Unix epoch. */
export interface UserActivity {
  readonly userId: string;
  readonly now: number;
  /** When the user last did something through the manager. */
  readonly lastActivityAt: number;
  /** When the client was started because the user was expected, and nothing of them has been seen since. */
  readonly expectedSince?: number;
  /** When the user is likely to come next, by what is known of their days; undefined when nothing can be told. */
  readonly likelyReturnAt?: number;
}

/**
 * How a user is connected: `live` by a long poll, `resting` by a poll now and then (by none when `pollIntervalMs` is
 * Infinity; the position is kept either way), `asleep` without a client. Of a sleeper `wakeAt` says when to start them
 * before they come.
 */
export type ConnectionMode =
  | { readonly mode: 'live'; readonly reviewAt: number }
  | { readonly mode: 'resting'; readonly pollIntervalMs: number; readonly reviewAt: number }
  | { readonly mode: 'asleep'; readonly wakeAt?: number };

/** Decides from a user's activity how they are connected. Asked when a decision is due, never for users in a lease. */
export interface ConnectionPolicy {
  /** `reviewAt` is when to ask again; activity in between makes a resting user live at once, without asking. */
  decide(user: UserActivity): ConnectionMode;
}

export interface ActivityPolicyOptions {
  /** After what time without activity a user is put to sleep, in milliseconds. */
  readonly idleTimeoutMs: number;
  /** After what time without activity a user rests, in milliseconds. @default Infinity: never */
  readonly restAfterMs?: number;
  /** How often a resting user is polled for, in milliseconds; Infinity for never. @default 120_000 (2 minutes) */
  readonly restPollIntervalMs?: number;
  /** How long before their usual time a regular is started, in milliseconds; 0 for never. @default 300_000 (5 minutes) */
  readonly wakeAheadMs?: number;
}

/** How long a client that was started for an expected user waits for them, in milliseconds. */
const EXPECT_FOR_MS = 4_500_000;

const activityPolicySchema = optionsOf<ActivityPolicyOptions>({
  idleTimeoutMs: durationMs(1),
  restAfterMs: v.optional(durationMs(0)),
  restPollIntervalMs: v.optional(durationMs(1)),
  wakeAheadMs: v.optional(durationMs(0)),
});

/**
 * The default policy: live until `idleTimeoutMs`, then asleep, and up again a little before a regular's usual time.
 * With `restAfterMs`, resting in between: events then arrive up to `restPollIntervalMs` late.
 */
export function activityPolicy(options: ActivityPolicyOptions): ConnectionPolicy {
  const read = readCallOptions('activityPolicy()', activityPolicySchema, options);
  const { idleTimeoutMs, restAfterMs = Infinity, restPollIntervalMs = 120_000, wakeAheadMs = 300_000 } = read;
  return {
    decide({ now, lastActivityAt, expectedSince, likelyReturnAt }) {
      const restsAt = lastActivityAt + restAfterMs;
      const sleepsAt = Math.max(lastActivityAt + idleTimeoutMs, (expectedSince ?? -Infinity) + EXPECT_FOR_MS);
      if (now >= sleepsAt) {
        const wakes = likelyReturnAt !== undefined && wakeAheadMs > 0 && likelyReturnAt - wakeAheadMs > now;
        return { mode: 'asleep', ...(wakes && { wakeAt: likelyReturnAt - wakeAheadMs }) };
      }
      if (now >= restsAt) return { mode: 'resting', pollIntervalMs: restPollIntervalMs, reviewAt: sleepsAt };
      return { mode: 'live', reviewAt: Math.min(restsAt, sleepsAt) };
    },
  };
}
