import type { StoredError } from './dead-letter.js';

/** A message that was accepted for sending. */
export interface OutgoingSend {
  /** Unique per user; the homeserver and the queue both tell a repetition by it. */
  readonly txnId: string;
  readonly roomId: string;
  /** Event type, such as `m.room.message`. */
  readonly type: string;
  /** The event's content as JSON text, opaque to the storage. */
  readonly content: string;
  /** Milliseconds since the Unix epoch. */
  readonly enqueuedAt: number;
}

/** A send in the queue, and what became of it. Of a sent one the content is not kept. */
export type QueuedSend =
  | (OutgoingSend & { readonly userId: string; readonly state: 'queued' })
  | (OutgoingSend & { readonly userId: string; readonly state: 'failed'; readonly error: StoredError })
  | (Omit<OutgoingSend, 'content'> & { readonly userId: string; readonly state: 'sent'; readonly eventId: string });

export type SendState = QueuedSend['state'];

/** What `enqueueSend` found: `added` is false where the txnId was known, and `send` says how it stands. */
export interface EnqueueResult {
  readonly added: boolean;
  readonly send: QueuedSend;
}
