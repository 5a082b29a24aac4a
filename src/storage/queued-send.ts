import type { StoredError } from './dead-letter.js';

/** A message that was accepted for durable sending. */
export interface OutgoingSend {
  /** Unique per user. The homeserver and the queue detect duplicates by it. */
  readonly txnId: string;
  readonly roomId: string;
  /** Event type, such as `m.room.message`. */
  readonly type: string;
  /** The event's content as JSON text, opaque to the storage. */
  readonly content: string;
  /** Milliseconds since the Unix epoch. */
  readonly enqueuedAt: number;
}

/** A durable send and its state. The content of a sent message is not stored. */
export type QueuedSend =
  | (OutgoingSend & { readonly userId: string; readonly state: 'queued' })
  | (OutgoingSend & { readonly userId: string; readonly state: 'failed'; readonly error: StoredError })
  | (Omit<OutgoingSend, 'content'> & { readonly userId: string; readonly state: 'sent'; readonly eventId: string });

export type SendState = QueuedSend['state'];

/** The result of `enqueueSend`. If the user already has a send with the `txnId`, `added` is false and `send` is that one. */
export interface EnqueueResult {
  readonly added: boolean;
  readonly send: QueuedSend;
}
