import type { Clock } from '../../core/clock.js';

/** A sync with so many messages to the device counts as one of several. Synapse returns 100 at most, others differ. */
const MESSAGES_OF_FULL_SYNC = 50;
/** How often it is looked whether the queue is empty, in milliseconds. */
const LOOK_INTERVAL_MS = 1_000;
/** How long after the last queued message events are decrypted again with its key, in milliseconds. */
const RETRY_MS = 5_000;
/** How long messages to the device extend the wait for a key in all, in milliseconds: strangers can send them too. */
const MAX_EXTENSION_MS = 300_000;

/**
 * Whether the homeserver still holds messages to the device, with room keys among them. It returns them in several syncs,
 * but the events that need the keys may all come with the first one, as after a long absence.
 */
export class QueuedKeys {
  readonly #clock: Clock;
  #isHolding = false;
  #emptySince = -Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param messages - number of messages to the device in a sync that the SDK has processed */
  synced(messages: number): void {
    const wasHolding = this.#isHolding;
    this.#isHolding = messages >= MESSAGES_OF_FULL_SYNC;
    if (wasHolding && !this.#isHolding) this.#emptySince = this.#clock.now();
  }

  /**
   * Until when to wait for a key, as far as is known now; ask again then.
   * @param until - the time without queued messages, in milliseconds since the Unix epoch
   */
  deadline(until: number): number {
    const extended = this.#isHolding ? this.#clock.now() + LOOK_INTERVAL_MS : this.#emptySince + RETRY_MS;
    return Math.max(until, Math.min(extended, until + MAX_EXTENSION_MS));
  }
}
