import { randomInt } from 'node:crypto';
import { abortedError, delay } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { MatrixClientManagerError } from '../core/errors.js';
import type { AdmissionRequest, RequestGate, RequestOutcome } from '../core/ports/request-gate.js';
import { CircuitBreaker } from './circuit-breaker.js';
import type { HomeserverState } from './circuit-breaker.js';
import { RateLimiter } from './rate-limiter.js';
import type { RateLimit } from './rate-limiter.js';

export interface HomeserverGateOptions {
  readonly clock: Clock;
  /** Requests of all kinds, together. @default no limit */
  readonly rateLimit?: RateLimit | undefined;
  /** Admin API calls, which `rateLimit` counts too. @default no limit */
  readonly adminRateLimit?: RateLimit | undefined;
  /** One cheap request past the gate. */
  readonly probe: () => Promise<unknown>;
  readonly onStateChanged: (state: HomeserverState) => void;
}

/** The clients that wait for a homeserver come back over this time at most, in milliseconds. */
const MAX_SPREAD_MS = 4_500;
/** Time that each of them adds to it. */
const SPREAD_PER_CLIENT_MS = 5;
/** When a part p of them is back, p to the power of this of the time has passed: 1 is an even pace, less begins slower. */
const RAMP = 0.6;

/** The one way to the homeserver: knows whether it is up, and in what order and number requests may go. */
export class HomeserverGate implements RequestGate {
  readonly #options: HomeserverGateOptions;
  readonly #breaker: CircuitBreaker;
  readonly #limiter: RateLimiter | undefined;
  readonly #adminLimiter: RateLimiter | undefined;
  readonly #downListeners = new Set<() => void>();
  readonly #waitingClients = new Set<() => void>();
  #lastAnswerAt: number | undefined;

  constructor(options: HomeserverGateOptions) {
    const { clock, rateLimit, adminRateLimit, probe } = options;
    this.#options = options;
    this.#limiter = rateLimit && new RateLimiter(rateLimit, clock);
    this.#adminLimiter = adminRateLimit && new RateLimiter(adminRateLimit, clock);
    this.#breaker = new CircuitBreaker({
      clock,
      probe,
      random,
      onChange: (state) => this.#onStateChange(state),
    });
  }

  /** When the homeserver last answered anything, in milliseconds since the Unix epoch. */
  get lastAnswerAt(): number | undefined {
    return this.#lastAnswerAt;
  }

  get state(): HomeserverState {
    return this.#breaker.state;
  }

  /** How many requests wait for their turn, and how many clients for the homeserver. */
  get waiting(): { readonly requests: number; readonly clients: number } {
    const requests = (this.#limiter?.waiting ?? 0) + (this.#adminLimiter?.waiting ?? 0);
    return { requests, clients: this.#waitingClients.size };
  }

  /** Lets a request out in its turn. Throws `HOMESERVER_UNAVAILABLE` at once while the homeserver is down. */
  async enter(passenger: AdmissionRequest): Promise<void> {
    this.#assertUp(passenger);
    for (const limiter of [passenger.admin ? this.#adminLimiter : undefined, this.#limiter]) {
      if (!limiter) continue;
      await limiter.acquire(passenger.priority ?? 'call', passenger.signal);
      this.#assertUp(passenger); // it may have gone down meanwhile
    }
  }

  record(outcome: RequestOutcome): void {
    if (!outcome.failed) this.#lastAnswerAt = this.#options.clock.now();
    this.#breaker.record(outcome);
  }

  onceDown(listener: () => void): () => void {
    this.#downListeners.add(listener);
    return () => this.#downListeners.delete(listener);
  }

  /**
   * Resolves when the homeserver is up, with whether that had to be waited for; those who waited are let go one after
   * the other.
   */
  async up(signal: AbortSignal): Promise<boolean> {
    const waits = this.#breaker.state.state === 'down';
    while (this.#breaker.state.state === 'down') {
      const spreadMs = await this.#waitForRecovery(signal);
      // Few first and more later: where the homeserver fails again, only those few will have troubled it.
      const delayMs = Math.round(spreadMs * random() ** RAMP);
      await delay(this.#options.clock, delayMs, signal, 'waiting for the homeserver');
    }
    return waits;
  }

  /** Waits `delayMs`, or until the homeserver is down: then {@link up} is what to wait for. */
  async pause(delayMs: number, signal: AbortSignal): Promise<void> {
    if (this.#breaker.state.state === 'down') return;
    const outage = new AbortController();
    const ignoreOutage = this.onceDown(() => outage.abort());
    try {
      await delay(
        this.#options.clock,
        delayMs,
        AbortSignal.any([signal, outage.signal]),
        'waiting before the next try',
      );
    } catch (error) {
      if (signal.aborted) throw error;
    } finally {
      ignoreOutage();
    }
  }

  /** Ends the probing. */
  close(): void {
    this.#breaker.close();
  }

  #assertUp({ operation, userId, roomId }: AdmissionRequest): void {
    const state = this.#breaker.state;
    if (state.state === 'up') return;
    const retryAfterMs = Math.max(0, state.retryAt - this.#options.clock.now());
    throw new MatrixClientManagerError(
      'HOMESERVER_UNAVAILABLE',
      `${operation} was not tried: the homeserver is down; it is looked for again in ${retryAfterMs} ms`,
      { userId, roomId, retryAfterMs },
    );
  }

  /** Resolves with the time over which those who wait come back. */
  #waitForRecovery(signal: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortedError('waiting for the homeserver', signal.reason));
      const leave = (): void => {
        this.#waitingClients.delete(go);
        reject(abortedError('waiting for the homeserver', signal.reason));
      };
      const go = (): void => {
        signal.removeEventListener('abort', leave);
        resolve(Math.min(MAX_SPREAD_MS, this.#waitingClients.size * SPREAD_PER_CLIENT_MS));
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waitingClients.add(go);
    });
  }

  #onStateChange(state: HomeserverState): void {
    if (state.state === 'up') {
      for (const go of this.#waitingClients) go();
      this.#waitingClients.clear();
    } else {
      this.#limiter?.releaseAll();
      this.#adminLimiter?.releaseAll();
      for (const listener of this.#downListeners) listener();
      this.#downListeners.clear();
    }
    this.#options.onStateChanged(state);
  }
}

/** From 0 up to 1. */
function random(): number {
  return randomInt(1_000_000) / 1_000_000;
}
