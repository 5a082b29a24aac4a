import { decryption } from '../core/decryption.js';
import type { Logger } from '../core/logger.js';
import type { RawEvent } from '../core/raw-event.js';
import { RecentIds } from '../core/recent-ids.js';

/** How many events are remembered, so that each is logged once although pages are read again. */
const MAX_REMEMBERED = 1_000;

/** Events of one user that failed to be decrypted in an unexpected way. */
export class UnreadableEvents {
  readonly #userId: string;
  readonly #logger: Logger;
  readonly #logged = new RecentIds(MAX_REMEMBERED);

  constructor(userId: string, logger: Logger) {
    this.#userId = userId;
    this.#logger = logger;
  }

  /** The event as it came, with the mark of one that is `unreadable`. */
  mark(roomId: string, raw: RawEvent, error: unknown): RawEvent {
    const { event_id: eventId } = raw;
    if (this.#logged.add(eventId)) {
      this.#logger.warn({ userId: this.#userId, roomId, eventId, err: error }, 'decrypting an event failed');
    }
    return { ...raw, [decryption]: { state: 'failed', reason: 'unreadable' } };
  }
}
