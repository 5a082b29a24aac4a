import { firstAfter } from '../world/stream.js';

export type ReceiptType = 'm.read' | 'm.read.private';

export interface Receipt {
  readonly userId: string;
  readonly type: ReceiptType;
  readonly threadId: string | undefined;
  readonly eventId: string;
  /** Position of the event that was read. */
  readonly readUpTo: number;
  /** When it was set, in milliseconds since the Unix epoch. */
  readonly timestamp: number;
  readonly stream: number;
}

/** The read receipts of a room. */
export class Receipts {
  readonly #current = new Map<string, Receipt>();
  #log: Receipt[] = [];

  /** Position of the last receipt. */
  get lastStream(): number {
    return this.#log.at(-1)?.stream ?? 0;
  }

  /** The user's receipt of that kind, if there is one. */
  get(userId: string, type: ReceiptType, threadId?: string): Receipt | undefined {
    return this.#current.get(keyOf({ userId, type, threadId }));
  }

  set(receipt: Receipt): void {
    this.#current.set(keyOf(receipt), receipt);
    this.#log.push(receipt);
    if (this.#log.length > 1000 && this.#log.length > 2 * this.#current.size) {
      this.#log = this.#log.filter((entry) => this.#isCurrent(entry));
    }
  }

  /** The current receipts set after `position` that `userId` may see: all but private ones of other users. */
  after(position: number, userId: string): Receipt[] {
    return this.#log
      .slice(firstAfter(this.#log, position))
      .filter((receipt) => this.#isCurrent(receipt) && (receipt.type === 'm.read' || receipt.userId === userId));
  }

  /** The position up to which the user has read the room, or one thread, by public or private receipts. */
  readUpTo(userId: string, threadId?: string): number {
    return Math.max(
      this.get(userId, 'm.read', threadId)?.readUpTo ?? 0,
      this.get(userId, 'm.read.private', threadId)?.readUpTo ?? 0,
    );
  }

  #isCurrent(receipt: Receipt): boolean {
    return this.#current.get(keyOf(receipt)) === receipt;
  }
}

function keyOf(receipt: Pick<Receipt, 'userId' | 'type' | 'threadId'>): string {
  return `${receipt.userId}\n${receipt.type}\n${receipt.threadId ?? ''}`;
}

/** The content of an `m.receipt` event with `receipts`. */
export function receiptContent(receipts: readonly Receipt[]): Record<string, Record<string, Record<string, object>>> {
  const content: Record<string, Record<string, Record<string, object>>> = {};
  for (const { eventId, type, userId, timestamp, threadId } of receipts) {
    const byUser = ((content[eventId] ??= {})[type] ??= {});
    byUser[userId] = { ts: timestamp, ...(threadId !== undefined && { thread_id: threadId }) };
  }
  return content;
}
