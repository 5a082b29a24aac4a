import type { Clock, TimerHandle } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import type { RequestOutcome } from '../core/ports/request-gate.js';

/** Whether the homeserver is taken to be reachable. While it is `down`, `retryAt` says when it is looked for next. */
export type HomeserverState =
  | {
      /** Whether it answers. */
      readonly state: 'up';
    }
  | {
      readonly state: 'down';
      /** Milliseconds since the Unix epoch. */
      readonly retryAt: number;
    };

export interface CircuitBreakerOptions {
  readonly clock: Clock;
  /** One cheap request; resolves when the homeserver answers, rejects when it does not. */
  readonly probe: () => Promise<unknown>;
  readonly onChange: (state: HomeserverState) => void;
  /** A number from 0 up to 1, for jitter. */
  readonly random: () => number;
}

/** What happened longer ago than this says nothing about now, in milliseconds. */
const WINDOW_MS = 10_000;
/** Of a busy homeserver the last outcomes tell enough. */
const MAX_OUTCOMES = 100;
/** Fewer failures than these are no outage. */
const MIN_FAILURES = 5;
/** The share of requests that has to fail. */
const FAILING_SHARE = 0.5;
/** Or as many in a row, over this time in milliseconds: where few ask, they wait long between two tries. */
const MIN_FAILURES_IN_A_ROW = 3;
const MIN_FAILING_MS = 1_000;
/** Failures have to hit as many users, or all where there are fewer: one in trouble alone is no outage. */
const MIN_FAILING_USERS = 3;
/** Who has asked for something within this time counts as a user, in milliseconds: longer than a long poll. */
const ACTIVE_USER_MS = 90_000;
/** Pauses before probes, in milliseconds: doubling from the first to the second, each up to a quarter longer. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 2_000;
/** A homeserver that asks for more time gets it, up to this: one request a minute harms none. In milliseconds. */
const MAX_RETRY_AFTER_MS = 60_000;
/** Where the homeserver goes down again within this time of being back, it gets a longer pause. In milliseconds. */
const STABLE_MS = 60_000;
const FLAPPING_PAUSE_MS = 4_000;

interface Outcome extends RequestOutcome {
  readonly at: number;
}

/**
 * Opens when most requests fail, whoever's they are, and looks for the homeserver with one probe at a time until it
 * answers.
 *
 * cockatiel's breaker would do but for its clock, which is the machine's: tests could not drive it.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  /** The last outcomes, oldest first. */
  readonly #outcomes: Outcome[] = [];
  /** When each user asked for something last, oldest first. */
  readonly #lastRequestAt = new Map<string, number>();
  #state: HomeserverState = { state: 'up' };
  /** When the homeserver came back last; undefined where it was never away. */
  #recoveredAt: number | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #timer: TimerHandle;
  #isProbing = false;
  #closed = false;

  constructor(options: CircuitBreakerOptions) {
    this.#options = options;
  }

  get state(): HomeserverState {
    return this.#state;
  }

  /** Notes how a request ended. */
  record(outcome: RequestOutcome): void {
    const at = this.#options.clock.now();
    const who = outcome.userId ?? '';
    this.#lastRequestAt.delete(who);
    this.#lastRequestAt.set(who, at);
    for (const [idle, lastAt] of this.#lastRequestAt) {
      if (at - lastAt <= ACTIVE_USER_MS) break;
      this.#lastRequestAt.delete(idle);
    }
    // What was sent before the homeserver came back is no news of how it is now.
    if (this.#state.state === 'down' || outcome.sentAt < (this.#recoveredAt ?? 0)) return;
    this.#outcomes.push({ ...outcome, at });
    if (this.#outcomes.length > MAX_OUTCOMES) this.#outcomes.shift();
    const failures = outcome.failed ? this.#findOutage(at) : undefined;
    if (!failures) return;
    if (failures.some(({ isSync }) => isSync)) this.#open();
    else void this.#openIfProbeFails();
  }

  /** Ends the probing. */
  close(): void {
    this.#closed = true;
    this.#options.clock.clearTimeout(this.#timer);
  }

  /** The failures that make an outage, where they do. */
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
   * Where only calls fail and no sync does, one thing may be broken (logins, say) on a homeserver that works: it is
   * asked before everybody is kept away from it.
   */
  async #openIfProbeFails(): Promise<void> {
    if (this.#isProbing) return;
    this.#isProbing = true;
    const answered = await this.#options.probe().then(
      () => true,
      (error: unknown) => isHealthyAnswer(error),
    );
    this.#isProbing = false;
    if (this.#closed || this.#state.state === 'down') return;
    if (answered) this.#outcomes.length = 0;
    else this.#open();
  }

  #open(): void {
    const { clock } = this.#options;
    const flaps = clock.now() - (this.#recoveredAt ?? -Infinity) < STABLE_MS;
    this.#pauseMs = flaps ? FLAPPING_PAUSE_MS : FIRST_PAUSE_MS;
    this.#outcomes.length = 0; // what was before the outage says nothing about the time after it
    this.#scheduleProbe();
  }

  /** @param askedMs - how long the homeserver asks to wait */
  #scheduleProbe(askedMs = 0): void {
    if (this.#closed) return;
    const { clock, random } = this.#options;
    const jitter = 1 + random() / 4;
    const pauseMs = Math.max(Math.round(this.#pauseMs * jitter), Math.min(MAX_RETRY_AFTER_MS, askedMs));
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
    if (this.#closed) return;
    this.#recoveredAt = this.#options.clock.now();
    this.#setState({ state: 'up' });
  }

  #setState(state: HomeserverState): void {
    this.#state = state;
    this.#options.onChange(state);
  }
}

/** A refusal is the answer of a homeserver at work, unless it says that there is too much to do. */
function isHealthyAnswer(error: unknown): boolean {
  const status = isManagerError(error) ? (error.status ?? 0) : 0;
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}
