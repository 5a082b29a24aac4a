import { isManagerError } from '../core/errors.js';
import { SingleFlight } from '../core/single-flight.js';
import type { HomeserverGate } from './homeserver-gate.js';

/**
 * Checks whether the homeserver answers while it counts as up. During an outage, `OutageDetector` sends probes of its own
 * instead, which bypass the gate.
 */
export class HomeserverCheck {
  readonly #gate: Pick<HomeserverGate, 'lastAnswerAt' | 'state'>;
  readonly #request: () => Promise<unknown>;
  readonly #requests = new SingleFlight<unknown>();

  /** @param request - sends one cheap request through the gate */
  constructor(gate: Pick<HomeserverGate, 'lastAnswerAt' | 'state'>, request: () => Promise<unknown>) {
    this.#gate = gate;
    this.#request = request;
  }

  /** Sends a request. Rejects if the homeserver does not answer. Concurrent calls share one request. */
  request(): Promise<unknown> {
    return this.#requests.run('', this.#request);
  }

  /**
   * Whether the homeserver answers other requests than the one that failed with `error`. Sends a request only if no other
   * request has shown it since `since`, in milliseconds since the Unix epoch.
   */
  async answersOtherRequests(since: number, error: unknown): Promise<boolean> {
    const { lastAnswerAt = -Infinity, state } = this.#gate;
    if (state.state === 'down') return false;
    // INVALID_RESPONSE may be the answer of a proxy while the homeserver is down, so `lastAnswerAt` does not count then.
    if (lastAnswerAt >= since && !isManagerError(error, 'INVALID_RESPONSE')) return true;
    return this.request().then(
      () => true,
      () => false,
    );
  }
}
