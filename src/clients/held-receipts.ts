import { isObject } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';

interface HeldReceipt {
  readonly eventId: string;
  readonly type: string;
  readonly userId: string;
  readonly receipt: unknown;
}

/** The newest receipt of each user, type and thread in one room. */
export class HeldReceipts {
  readonly #receipts = new Map<string, HeldReceipt>();

  /** @see https://spec.matrix.org/v1.16/client-server-api/#mreceipt */
  add(content: EventContent): void {
    for (const [eventId, byType] of entries(content)) {
      for (const [type, byUser] of entries(byType)) {
        for (const [userId, receipt] of entries(byUser)) {
          const thread = isObject(receipt) ? String(receipt.thread_id) : '';
          this.#receipts.set(`${type} ${userId} ${thread}`, { eventId, type, userId, receipt });
        }
      }
    }
  }

  /** All of them, as the content of one `m.receipt`. */
  get content(): EventContent {
    const content: Record<string, Record<string, Record<string, unknown>>> = {};
    for (const { eventId, type, userId, receipt } of this.#receipts.values()) {
      ((content[eventId] ??= {})[type] ??= {})[userId] = receipt;
    }
    return content;
  }
}

function entries(value: unknown): [string, unknown][] {
  return isObject(value) ? Object.entries(value) : [];
}
