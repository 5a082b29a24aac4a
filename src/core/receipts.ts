import { isObject } from './raw-event.js';
import type { EventContent } from './raw-event.js';

/** A receipt of one user for one event. */
export interface Receipt {
  readonly eventId: string;
  readonly type: string;
  readonly userId: string;
  readonly receipt: EventContent;
}

/**
 * Homeservers pass on receipts of other servers unchecked: any key may be `__proto__`, and any value null.
 * @see https://spec.matrix.org/v1.16/client-server-api/#mreceipt
 */
export function* readReceipts(content: EventContent): Iterable<Receipt> {
  for (const [eventId, byType] of entries(content)) {
    for (const [type, byUser] of entries(byType)) {
      for (const [userId, receipt] of entries(byUser)) {
        if (isObject(receipt)) yield { eventId, type, userId, receipt };
      }
    }
  }
}

function entries(value: unknown): [string, unknown][] {
  return isObject(value) ? Object.entries(value) : [];
}
