import { isObject } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';

interface Receipt {
  readonly eventId: string;
  readonly type: string;
  readonly userId: string;
  readonly receipt: EventContent;
}

/** The newest receipt of each user, type and thread in one room. */
export class LatestReceipts {
  readonly #receipts = new Map<string, Receipt>();

  add(content: EventContent): void {
    for (const entry of receiptsOf(content)) {
      const { type, userId, receipt } = entry;
      this.#receipts.set(JSON.stringify([type, userId, receipt.thread_id ?? null]), entry);
    }
  }

  /** All receipts as the content of one `m.receipt` event; undefined if there are none. */
  get content(): EventContent | undefined {
    return this.#receipts.size === 0 ? undefined : receiptContent(this.#receipts.values());
  }
}

/** The content of an `m.receipt` event without malformed receipts, which the SDK would read unchecked. */
export function cleanReceipts(content: EventContent): EventContent {
  return receiptContent(receiptsOf(content));
}

/**
 * Homeservers pass on receipts of other servers unchecked: any key may be `__proto__`, and any value null.
 * @see https://spec.matrix.org/v1.16/client-server-api/#mreceipt
 */
function* receiptsOf(content: EventContent): Iterable<Receipt> {
  for (const [eventId, byType] of entries(content)) {
    for (const [type, byUser] of entries(byType)) {
      for (const [userId, receipt] of entries(byUser)) {
        if (isObject(receipt) && isThread(receipt.thread_id)) yield { eventId, type, userId, receipt };
      }
    }
  }
}

function receiptContent(receipts: Iterable<Receipt>): EventContent {
  const content = new Map<string, Map<string, Map<string, EventContent>>>();
  for (const { eventId, type, userId, receipt } of receipts) {
    const byType = content.get(eventId) ?? new Map<string, Map<string, EventContent>>();
    const byUser = byType.get(type) ?? new Map<string, EventContent>();
    byUser.set(userId, receipt);
    byType.set(type, byUser);
    content.set(eventId, byType);
  }
  // Object.fromEntries() makes `__proto__` an own property; an assignment would set the prototype.
  const byEvent = [...content].map(([eventId, byType]) => {
    const types = [...byType].map(([type, byUser]) => [type, Object.fromEntries(byUser)] as const);
    return [eventId, Object.fromEntries(types)] as const;
  });
  return Object.fromEntries(byEvent);
}

function isThread(threadId: unknown): boolean {
  return threadId === undefined || threadId === null || typeof threadId === 'string';
}

function entries(value: unknown): [string, unknown][] {
  return isObject(value) ? Object.entries(value) : [];
}
