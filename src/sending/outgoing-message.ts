import type { EventContent } from '../core/raw-event.js';

export interface OutgoingMessage {
  readonly userId: string;
  readonly roomId: string;
  /** Event type. */
  readonly type: string;
  readonly content: EventContent;
  readonly txnId: string;
  readonly signal?: AbortSignal | undefined;
}
