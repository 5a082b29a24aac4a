import { MatrixClientManagerError } from './errors.js';

/**
 * A message was not encrypted, because the user's client has not received the room, such as one that the user has just
 * joined. It may be received later, so a durable message is tried again, for `sendTimeoutMs`.
 */
export class RoomNotReceived extends MatrixClientManagerError {
  constructor({ userId, roomId }: { readonly userId: string; readonly roomId: string }, waitedMs: number) {
    const message =
      `encrypting for ${roomId} failed: the client did not receive the room within ${waitedMs} ms; ` +
      'nothing was sent';
    super('ENCRYPTION_FAILED', message, { userId, roomId });
  }
}
