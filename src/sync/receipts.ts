import { isObject } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';

interface Receipt {
  readonly eventId: string;
  readonly type: string;
  readonly userId: string;
  readonly receipt: EventContent;
}

/** The newest receipt of each user, type and thread in one room. */
export class HeldReceipts {
  readonly #receipts = new Map<string, Receipt>();

  add(content: EventContent): void {
    for (const held of receiptsOf(content)) {
      const { type, userId, receipt } = held;
      this.#receipts.set(JSON.stringify([type, userId, receipt.thread_id ?? null]), held);
    }
  }

  /** All of them, as the content of one `m.receipt`; undefined when there are none. */
  get content(): EventContent | undefined {
    return this.#receipts.size === 0 ? undefined : receiptContent(this.#receipts.values());
  }
}

/** The content of an `m.receipt` without what is no receipt: the SDK reads each of them unseen. */
export function cleanReceipts(content: EventContent): EventContent {
  return receiptContent(receiptsOf(content));
}

/**
 * Federated servers write these contents, and homeservers pass them on unchecked: any key may be `__proto__`, any value
 * null.
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
  // Object.fromEntries() makes a key `__proto__` a property like the others, as an assignment does not.
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
