import type { Clock } from '../core/clock.js';
import { failureClass } from '../http/failure-class.js';

/** Whether the homeserver answers other requests: one since `since` (in milliseconds), or one that is made for this. */
export type AnswersOtherwise = (since: number, error: unknown) => Promise<boolean>;

/**
 * For how long one thing has been failing on a homeserver that answers otherwise. The time of an outage, and what the
 * homeserver asks to wait by a rate limit, do not count: those end.
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
    if (failureClass(error) !== 'transient' || !(await this.#answersOtherwise(since, error))) return;
    this.#ms += this.#countedTo - since;
  }
}
