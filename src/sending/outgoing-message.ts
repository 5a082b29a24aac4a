import { MatrixClientManagerError } from '../core/errors.js';
import type { EventContent } from '../core/raw-event.js';

export interface OutgoingMessage {
  readonly userId: string;
  readonly roomId: string;
  /** Event type. */
  readonly type: string;
  readonly content: EventContent;
  readonly txnId: string;
  /**
   * Of a message that refers to a file: whether the file was uploaded encrypted. An encrypted file is sent encrypted, and an
   * unencrypted one never to a room that has become encrypted: that rejects with {@link UnencryptedFileError}.
   */
  readonly isFileEncrypted?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The room has become encrypted after the file of the message was uploaded unencrypted. */
export class UnencryptedFileError extends MatrixClientManagerError {
  constructor({ userId, roomId }: OutgoingMessage) {
    const message = `sending to ${roomId} failed: the room became encrypted while the file was uploaded`;
    super('ENCRYPTION_FAILED', message, { userId, roomId });
  }
}
