import type { Clock } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import { failureClass, isRetryable } from './failure-class.js';

/** Whether the homeserver answers other requests: one since `since` (in milliseconds), or one that is made for this. */
export type AnswersOtherwise = (since: number, error: unknown) => boolean | Promise<boolean>;

/**
 * For how long one thing has been failing on a homeserver that answers otherwise. The time of an outage does not count:
 * it ends. Nor does the time before a failure that has nothing to do with the homeserver.
 */
export class FailingTime {
  readonly #clock: Clock;
  readonly #answersOtherwise: AnswersOtherwise;
  /** Up to when it is known how the time has passed, in milliseconds since the Unix epoch. */
  #countedTo: number;
  #ms = 0;

  constructor(clock: Clock, answersOtherwise: AnswersOtherwise) {
    this.#clock = clock;
    this.#answersOtherwise = answersOtherwise;
    this.#countedTo = clock.now();
  }

  /** In milliseconds. */
  get ms(): number {
    return this.#ms;
  }

  /** Notes that a try has failed. */
  async failed(error: unknown): Promise<void> {
    const since = this.#countedTo;
    this.#countedTo = this.#clock.now();
    const isAnswer = isManagerError(error) && error.status !== undefined;
    if (!isAnswer && !isRetryable(failureClass(error))) return;
    if (await this.#answersOtherwise(since, error)) this.#ms += this.#countedTo - since;
  }
}
