import type { EventContent } from '../core/raw-event.js';
import { readReceipts } from '../core/receipts.js';
import type { Receipt } from '../core/receipts.js';

/** The newest receipt of each user, type and thread in one room. */
export class LatestReceipts {
  readonly #receipts = new Map<string, Receipt>();

  add(content: EventContent): void {
    for (const entry of readReceipts(content)) {
      const { type, userId, receipt } = entry;
      if (!isThread(receipt.thread_id)) continue;
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
  return receiptContent([...readReceipts(content)].filter(({ receipt }) => isThread(receipt.thread_id)));
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
