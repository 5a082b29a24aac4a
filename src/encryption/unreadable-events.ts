import { decryption } from '../core/decryption.js';
import type { Logger } from '../core/logger.js';
import type { RawEvent } from '../core/raw-event.js';
import { RecentIds } from '../core/recent-ids.js';

/** Number of remembered event ids, so that each event is logged once, even when its page is read again. */
const MAX_REMEMBERED = 1_000;

/** Marks and logs events of one user whose decryption failed unexpectedly. */
export class UnreadableEvents {
  readonly #userId: string;
  readonly #logger: Logger;
  readonly #logged = new RecentIds(MAX_REMEMBERED);

  constructor(userId: string, logger: Logger) {
    this.#userId = userId;
    this.#logger = logger;
  }

  /** Returns the encrypted event marked as `unreadable`, and logs the error once. */
  mark(roomId: string, raw: RawEvent, error: unknown): RawEvent {
    const { event_id: eventId } = raw;
    if (!this.#logged.has(eventId)) {
      this.#logged.add(eventId);
      this.#logger.warn({ userId: this.#userId, roomId, eventId, err: error }, 'decrypting an event failed');
    }
    return { ...raw, [decryption]: { state: 'failed', reason: 'unreadable' } };
  }
}
