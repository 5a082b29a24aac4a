import { checkOptions, durationMs, nullAsAbsent, optionsOf } from '../core/validation.js';

/** A user's activity, as a {@link ConnectionPolicy} gets it. Times are in milliseconds since the Unix epoch. */
export interface UserActivity {
  readonly userId: string;
  readonly now: number;
  /** When the user last did something through the manager. */
  readonly lastActivityAt: number;
  /** When the client was started ahead of the user's usual hour. Undefined for other starts, and after activity. */
  readonly expectedSince?: number;
  /** When the user is likely to be active next, predicted from earlier days. Undefined without a prediction. */
  readonly likelyReturnAt?: number;
}

/**
 * How a user is connected. `live`: by long polls. `resting`: by one poll every `pollIntervalMs` (Infinity: no polls);
 * the client and its sync position are kept. `asleep`: without a client. `wakeAt` is when to start a new client, ahead
 * of the user's activity; it does not concern the end of a rest. `reviewAt` is when to ask the policy again.
 */
export type ConnectionMode =
  | { readonly mode: 'live'; readonly reviewAt: number }
  | { readonly mode: 'resting'; readonly pollIntervalMs: number; readonly reviewAt: number }
  | { readonly mode: 'asleep'; readonly wakeAt?: number };

/**
 * Decides whether a user's client polls continuously, polls at intervals, or is stopped. It concerns clients without an
 * open `Connection` and without a running call; all other clients are `live`.
 */
export interface ConnectionPolicy {
  /** Called at `reviewAt`. Activity before that makes a resting client live at once, and the policy is asked again. */
  decide(user: UserActivity): ConnectionMode;
}

export interface ActivityPolicyOptions {
  /** After this time without activity the client is stopped, in milliseconds. */
  readonly idleTimeoutMs: number;
  /** After this time without activity the client rests, in milliseconds. @default Infinity: never */
  readonly restAfterMs?: number;
  /**
   * Time between two polls of a resting client, in milliseconds; Infinity for no polls.
   * @default 120_000 (2 minutes)
   */
  readonly restPollIntervalMs?: number;
  /**
   * How long before a user's usual hour to start their client, in milliseconds; 0: never.
   * @default 300_000 (5 minutes)
   */
  readonly wakeAheadMs?: number;
}

/**
 * How long a client that was started ahead of the usual hour stays up without activity, in milliseconds. Longer than
 * the default of `wakeAheadMs` plus that hour, so that the client still runs at the end of the hour.
 */
const PREWARMED_CLIENT_MS = 4_500_000;

const activityPolicySchema = optionsOf<ActivityPolicyOptions>({
  idleTimeoutMs: durationMs(1),
  restAfterMs: nullAsAbsent(durationMs(0)),
  restPollIntervalMs: nullAsAbsent(durationMs(1)),
  wakeAheadMs: nullAsAbsent(durationMs(0)),
});

/**
 * The default policy: live until `idleTimeoutMs` without activity, then asleep, and started again `wakeAheadMs` before
 * the user's usual hour. With `restAfterMs` the client rests in between, and events arrive up to `restPollIntervalMs`
 * late.
 */
export function activityPolicy(options: ActivityPolicyOptions): ConnectionPolicy {
  const read = checkOptions('activityPolicy()', activityPolicySchema, options);
  const { idleTimeoutMs, restAfterMs = Infinity, restPollIntervalMs = 120_000, wakeAheadMs = 300_000 } = read;
  return {
    decide({ now, lastActivityAt, expectedSince, likelyReturnAt }) {
      const restsAt = lastActivityAt + restAfterMs;
      const sleepsAt = Math.max(lastActivityAt + idleTimeoutMs, (expectedSince ?? -Infinity) + PREWARMED_CLIENT_MS);
      if (now >= sleepsAt) {
        const wakes = likelyReturnAt !== undefined && wakeAheadMs > 0 && likelyReturnAt - wakeAheadMs > now;
        return { mode: 'asleep', ...(wakes && { wakeAt: likelyReturnAt - wakeAheadMs }) };
      }
      if (now >= restsAt) return { mode: 'resting', pollIntervalMs: restPollIntervalMs, reviewAt: sleepsAt };
      return { mode: 'live', reviewAt: Math.min(restsAt, sleepsAt) };
    },
  };
}
