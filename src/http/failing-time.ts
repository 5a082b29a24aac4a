import type { Clock } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import { RoomNotReceived } from '../core/room-not-received.js';
import { failureClass, isRetryable } from './failure-class.js';

/**
 * Whether the homeserver answers other requests. True if it has answered one after `since` (milliseconds since the Unix
 * epoch), or answers a probe that is sent now.
 */
export type AnswersOtherRequests = (since: number, error: unknown) => boolean | Promise<boolean>;

/**
 * Measures how long one operation has been failing while the homeserver answers other requests. Time during an outage
 * does not count, nor does the time before a failure that the homeserver did not cause.
 */
export class FailingTime {
  readonly #clock: Clock;
  readonly #countsAsFailing: AnswersOtherRequests;
  /** End of the time that was already examined, in milliseconds since the Unix epoch. */
  #countedTo: number;
  #ms = 0;

  /** @param countsAsFailing - whether the time before a failure counts */
  constructor(clock: Clock, countsAsFailing: AnswersOtherRequests) {
    this.#clock = clock;
    this.#countsAsFailing = countsAsFailing;
    this.#countedTo = clock.now();
  }

  /** The failing time so far, in milliseconds. */
  get ms(): number {
    return this.#ms;
  }

  /** Records a failed attempt. */
  async failed(error: unknown): Promise<void> {
    const since = this.#countedTo;
    this.#countedTo = this.#clock.now();
    const hasStatus = isManagerError(error) && error.status !== undefined;
    const isOfHomeserver = hasStatus || isRetryable(failureClass(error)) || error instanceof RoomNotReceived;
    if (!isOfHomeserver) return;
    if (await this.#countsAsFailing(since, error)) this.#ms += this.#countedTo - since;
  }
}
