import { randomInt } from 'node:crypto';
import { abortedError, delay } from '../core/abort.js';
import type { Context } from '../core/context.js';
import { MatrixClientManagerError } from '../core/errors.js';
import type { AdmissionRequest, RequestGate, RequestOutcome } from '../core/ports/request-gate.js';
import { OutageDetector } from './outage-detector.js';
import type { HomeserverState } from './outage-detector.js';
import { RateLimiter } from './rate-limiter.js';
import type { RateLimit } from './rate-limiter.js';

export interface HomeserverGateOptions {
  /** Limit of all requests together. @default no limit */
  readonly rateLimit?: RateLimit | undefined;
  /** Additional limit of Admin API calls. @default no limit */
  readonly adminRateLimit?: RateLimit | undefined;
  /** Sends one cheap request that bypasses the gate. */
  readonly probe: () => Promise<unknown>;
  readonly onStateChanged: (state: HomeserverState) => void;
}

/** After an outage, the waiting clients reconnect within this time at most, in milliseconds. */
const MAX_SPREAD_MS = 4_500;
/** How much each waiting client adds to that time, in milliseconds. */
const SPREAD_PER_CLIENT_MS = 5;
/** Exponent of the reconnect ramp. 1 reconnects at an even pace; a smaller value starts slowly and then speeds up. */
const RAMP = 0.6;

/** Admits all requests to the homeserver: tracks whether it is up, and applies rate limits by priority. */
export class HomeserverGate implements RequestGate {
  readonly #clock: Context['clock'];
  readonly #options: HomeserverGateOptions;
  readonly #outageDetector: OutageDetector;
  readonly #limiter: RateLimiter | undefined;
  readonly #adminLimiter: RateLimiter | undefined;
  readonly #downListeners = new Set<() => void>();
  readonly #waitingClients = new Set<() => void>();
  #lastAnswerAt: number | undefined;

  constructor({ clock }: Pick<Context, 'clock'>, options: HomeserverGateOptions) {
    const { rateLimit, adminRateLimit, probe } = options;
    this.#clock = clock;
    this.#options = options;
    this.#limiter = rateLimit && new RateLimiter(rateLimit, clock);
    this.#adminLimiter = adminRateLimit && new RateLimiter(adminRateLimit, clock);
    this.#outageDetector = new OutageDetector({
      clock,
      probe,
      random,
      onChange: (state) => this.#onStateChange(state),
    });
  }

  /** When the homeserver last responded without a 5xx error, in milliseconds since the Unix epoch. */
  get lastAnswerAt(): number | undefined {
    return this.#lastAnswerAt;
  }

  get state(): HomeserverState {
    return this.#outageDetector.state;
  }

  /** The number of requests that wait for a rate limit, and of clients that wait for the homeserver. */
  get waiting(): { readonly requests: number; readonly clients: number } {
    const requests = (this.#limiter?.waiting ?? 0) + (this.#adminLimiter?.waiting ?? 0);
    return { requests, clients: this.#waitingClients.size };
  }

  /** Resolves when the request may be sent. Rejects immediately with `HOMESERVER_UNAVAILABLE` while the homeserver is down. */
  async enter(request: AdmissionRequest): Promise<void> {
    this.#assertUp(request);
    for (const limiter of [request.admin ? this.#adminLimiter : undefined, this.#limiter]) {
      if (!limiter) continue;
      await limiter.acquire(request.priority ?? 'call', request.signal);
      this.#assertUp(request); // the homeserver may have gone down during the wait
    }
  }

  record(outcome: RequestOutcome): void {
    if (!outcome.failed) this.#lastAnswerAt = this.#clock.now();
    this.#outageDetector.record(outcome);
  }

  onceDown(listener: () => void): () => void {
    this.#downListeners.add(listener);
    return () => this.#downListeners.delete(listener);
  }

  /**
   * Resolves when the homeserver is up. The result is true if the call had to wait. After an outage, waiting callers are
   * released one after the other.
   */
  async waitUntilUp(signal: AbortSignal): Promise<boolean> {
    const hasWaited = this.#outageDetector.state.state === 'down';
    while (this.#outageDetector.state.state === 'down') {
      const spreadMs = await this.#waitForRecovery(signal);
      // Few clients reconnect first, and more later, so that a homeserver that fails again gets few requests.
      const delayMs = Math.round(spreadMs * random() ** RAMP);
      await delay(this.#clock, delayMs, signal, 'waiting for the homeserver');
    }
    return hasWaited;
  }

  /** Waits `delayMs`, but returns early when the homeserver goes down. Then call {@link waitUntilUp}. */
  async delayUntilDown(delayMs: number, signal: AbortSignal): Promise<void> {
    if (this.#outageDetector.state.state === 'down') return;
    const outage = new AbortController();
    const removeListener = this.onceDown(() => outage.abort());
    try {
      await delay(this.#clock, delayMs, AbortSignal.any([signal, outage.signal]), 'waiting before the next attempt');
    } catch (error) {
      if (signal.aborted) throw error;
    } finally {
      removeListener();
    }
  }

  /** Stops probing. */
  close(): void {
    this.#outageDetector.stop();
  }

  #assertUp({ operation, userId, roomId }: AdmissionRequest): void {
    const state = this.#outageDetector.state;
    if (state.state === 'up') return;
    const retryAfterMs = Math.max(0, state.retryAt - this.#clock.now());
    throw new MatrixClientManagerError(
      'HOMESERVER_UNAVAILABLE',
      `${operation} was not sent: the homeserver is down; the next probe is in ${retryAfterMs} ms`,
      { userId, roomId, retryAfterMs },
    );
  }

  /** Resolves after the recovery with the time over which the waiting clients reconnect, in milliseconds. */
  #waitForRecovery(signal: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortedError('waiting for the homeserver', signal.reason));
      const onAbort = (): void => {
        this.#waitingClients.delete(onRecovery);
        reject(abortedError('waiting for the homeserver', signal.reason));
      };
      const onRecovery = (): void => {
        signal.removeEventListener('abort', onAbort);
        resolve(Math.min(MAX_SPREAD_MS, this.#waitingClients.size * SPREAD_PER_CLIENT_MS));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waitingClients.add(onRecovery);
    });
  }

  #onStateChange(state: HomeserverState): void {
    if (state.state === 'up') {
      for (const onRecovery of this.#waitingClients) onRecovery();
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

/** A random number from 0 up to 1. */
function random(): number {
  return randomInt(1_000_000) / 1_000_000;
}
