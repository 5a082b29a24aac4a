import type { Clock, TimerHandle } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import type { RequestOutcome } from '../core/ports/request-gate.js';

/** Whether the homeserver is considered reachable. While it is `down`, `retryAt` is the time of the next probe. */
export type HomeserverState =
  | {
      /** Whether the homeserver responds. */
      readonly state: 'up';
    }
  | {
      readonly state: 'down';
      /** Milliseconds since the Unix epoch. */
      readonly retryAt: number;
    };

export interface OutageDetectorOptions {
  readonly clock: Clock;
  /** Sends one cheap request. Resolves when the homeserver responds, rejects when it does not. */
  readonly probe: () => Promise<unknown>;
  readonly onChange: (state: HomeserverState) => void;
  /** Returns a number from 0 up to 1, for jitter. */
  readonly random: () => number;
}

/** Outcomes older than this are ignored, in milliseconds. */
const WINDOW_MS = 10_000;
/** How many outcomes are kept. */
const MAX_OUTCOMES = 100;
/** Minimum number of failures for an outage. */
const MIN_FAILURES = 5;
/** Minimum share of requests that fail during an outage. */
const FAILING_SHARE = 0.5;
/**
 * Alternative condition for an outage, for few users with long pauses between attempts: this many failures in a row, over
 * at least this time in milliseconds.
 */
const MIN_FAILURES_IN_A_ROW = 3;
const MIN_FAILING_MS = 1_000;
/** Minimum number of affected users, or all if there are fewer. Problems of a single user are not an outage. */
const MIN_FAILING_USERS = 3;
/** A user counts as active for this time after a request, in milliseconds. Longer than a long poll. */
const ACTIVE_USER_MS = 90_000;
/** Pauses before probes, in milliseconds. They double from the first to the longest, plus up to 25% jitter. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 2_000;
/** The longest `Retry-After` that delays a probe, in milliseconds. One request a minute is harmless. */
const MAX_RETRY_AFTER_MS = 60_000;
/** If the homeserver goes down again within STABLE_MS of its recovery, the first pause is FLAPPING_PAUSE_MS. */
const STABLE_MS = 60_000;
const FLAPPING_PAUSE_MS = 4_000;

interface Outcome extends RequestOutcome {
  readonly at: number;
}

/**
 * Detects an outage of the homeserver from the outcomes of all users' requests: most recent requests fail, or several in
 * a row fail. During an outage it sends one probe at a time until the homeserver responds.
 *
 * cockatiel's circuit breaker is not used because tests could not control its clock.
 */
export class OutageDetector {
  readonly #options: OutageDetectorOptions;
  /** The last outcomes, oldest first. */
  readonly #outcomes: Outcome[] = [];
  /** Time of the last request of each active user, oldest first. */
  readonly #lastRequestAt = new Map<string, number>();
  #state: HomeserverState = { state: 'up' };
  /** When the homeserver last recovered. Undefined if it was never down. */
  #recoveredAt: number | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #timer: TimerHandle;
  #isProbing = false;
  #stopped = false;

  constructor(options: OutageDetectorOptions) {
    this.#options = options;
  }

  get state(): HomeserverState {
    return this.#state;
  }

  /** Records the outcome of a request. */
  record(outcome: RequestOutcome): void {
    const at = this.#options.clock.now();
    const userId = outcome.userId ?? '';
    this.#lastRequestAt.delete(userId);
    this.#lastRequestAt.set(userId, at);
    for (const [activeUserId, lastAt] of this.#lastRequestAt) {
      if (at - lastAt <= ACTIVE_USER_MS) break;
      this.#lastRequestAt.delete(activeUserId);
    }
    // Requests that were sent before the recovery say nothing about the current state.
    if (this.#state.state === 'down' || outcome.sentAt < (this.#recoveredAt ?? 0)) return;
    this.#outcomes.push({ ...outcome, at });
    if (this.#outcomes.length > MAX_OUTCOMES) this.#outcomes.shift();
    const failures = outcome.failed ? this.#findOutage(at) : undefined;
    if (!failures) return;
    if (failures.some(({ isSync }) => isSync)) this.#goDown();
    else void this.#goDownIfProbeFails();
  }

  /** Stops probing. */
  stop(): void {
    this.#stopped = true;
    this.#options.clock.clearTimeout(this.#timer);
  }

  /** The failures that constitute an outage, or undefined. */
  #findOutage(now: number): readonly Outcome[] | undefined {
    return [this.#majorityFailures(now), this.#consecutiveFailures(now)].find(
      (failures) => failures && this.#affectsEnoughUsers(failures),
    );
  }

  #majorityFailures(now: number): readonly Outcome[] | undefined {
    const recent = this.#outcomes.filter(({ at }) => now - at <= WINDOW_MS);
    const failures = recent.filter(({ failed }) => failed);
    return failures.length < MIN_FAILURES || failures.length < recent.length * FAILING_SHARE ? undefined : failures;
  }

  #consecutiveFailures(now: number): readonly Outcome[] | undefined {
    const lastSuccess = this.#outcomes.findLastIndex(({ failed }) => !failed);
    const row = this.#outcomes.slice(lastSuccess + 1).filter(({ at }) => now - at <= ACTIVE_USER_MS);
    const [first] = row;
    return !first || row.length < MIN_FAILURES_IN_A_ROW || now - first.at < MIN_FAILING_MS ? undefined : row;
  }

  #affectsEnoughUsers(failures: readonly Outcome[]): boolean {
    return new Set(failures.map(({ userId }) => userId)).size >= Math.min(MIN_FAILING_USERS, this.#lastRequestAt.size);
  }

  /**
   * Assumes an outage only if a probe fails. Used when calls fail but no sync does: then a single endpoint (such as login) may be
   * broken on a homeserver that otherwise works.
   */
  async #goDownIfProbeFails(): Promise<void> {
    if (this.#isProbing) return;
    this.#isProbing = true;
    const hasResponded = await this.#options.probe().then(
      () => true,
      (error: unknown) => isHealthyAnswer(error),
    );
    this.#isProbing = false;
    if (this.#stopped || this.#state.state === 'down') return;
    if (hasResponded) this.#outcomes.length = 0;
    else this.#goDown();
  }

  #goDown(): void {
    const { clock } = this.#options;
    const isFlapping = clock.now() - (this.#recoveredAt ?? -Infinity) < STABLE_MS;
    this.#pauseMs = isFlapping ? FLAPPING_PAUSE_MS : FIRST_PAUSE_MS;
    this.#outcomes.length = 0; // outcomes from before the outage are irrelevant after it
    this.#scheduleProbe();
  }

  /** @param retryAfterMs - the delay that the homeserver asked for */
  #scheduleProbe(retryAfterMs = 0): void {
    if (this.#stopped) return;
    const { clock, random } = this.#options;
    const jitter = 1 + random() / 4;
    const pauseMs = Math.max(Math.round(this.#pauseMs * jitter), Math.min(MAX_RETRY_AFTER_MS, retryAfterMs));
    this.#pauseMs = Math.min(LONGEST_PAUSE_MS, this.#pauseMs * 2);
    this.#setState({ state: 'down', retryAt: clock.now() + pauseMs });
    this.#timer = clock.setTimeout(() => void this.#probe(), pauseMs);
  }

  async #probe(): Promise<void> {
    try {
      await this.#options.probe();
    } catch (error) {
      if (!isHealthyAnswer(error)) return this.#scheduleProbe(isManagerError(error) ? error.retryAfterMs : undefined);
    }
    if (this.#stopped) return;
    this.#recoveredAt = this.#options.clock.now();
    this.#setState({ state: 'up' });
  }

  #setState(state: HomeserverState): void {
    this.#state = state;
    this.#options.onChange(state);
  }
}

/** Whether the error is a 4xx response, which a working homeserver sends. Except 408 and 429, which indicate overload. */
function isHealthyAnswer(error: unknown): boolean {
  const status = isManagerError(error) ? (error.status ?? 0) : 0;
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}
