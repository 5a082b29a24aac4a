import { MatrixClientManagerError } from '../core/errors.js';
import type { Session } from '../http/session.js';
import type { MessageSender, OutgoingMessage } from '../sending/message-sender.js';
import type { EphemeralSender } from '../ephemeral/ephemeral-sender.js';
import type { Encryption } from './encryption.js';
import type { UserSession } from './user-session.js';
import type { CallerSession, UserSessions } from './user-sessions.js';

export interface EncryptedRoomSenderOptions {
  readonly users: UserSessions;
  readonly sender: MessageSender;
  readonly ephemeral: EphemeralSender;
  readonly encryption: Encryption | undefined;
}

/** Sends messages, encrypted if the room is encrypted. */
export class EncryptedRoomSender {
  readonly #options: EncryptedRoomSenderOptions;

  constructor(options: EncryptedRoomSenderOptions) {
    this.#options = options;
  }

  /** Sends one message, encrypted if the room is, and ends the user's typing notification in the room. */
  async send(outgoing: OutgoingMessage): Promise<{ eventId: string }> {
    const { users, sender, ephemeral } = this.#options;
    const { userId, roomId, signal } = outgoing;
    return users.runAs(
      userId,
      async (caller) => {
        const { session, userSession } = caller;
        const isEncrypted = await this.isEncrypted(caller, roomId, signal);
        const sent = isEncrypted
          ? await this.#sendEncrypted(session, userSession, outgoing)
          : await sender.send(session, outgoing);
        userSession?.messageSent(roomId, sent.eventId);
        await ephemeral.endTyping(session, roomId);
        return sent;
      },
      signal,
    );
  }

  /** Whether the room is encrypted. Rejects with `ENCRYPTION_UNAVAILABLE` if it is and the user has no encryption. */
  async isEncrypted(
    { session, userSession }: CallerSession,
    roomId: string,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const { userId } = session;
    const askHomeserver = (): Promise<boolean> => this.#options.sender.isEncrypted(session, roomId, signal);
    const isEncrypted = await (userSession ? userSession.isEncrypted(roomId, askHomeserver) : askHomeserver());
    if (!isEncrypted || this.#options.encryption?.isFor(userId)) return isEncrypted;
    throw new MatrixClientManagerError(
      'ENCRYPTION_UNAVAILABLE',
      `sending to ${roomId} failed: the room is encrypted, and encryption is not enabled for ${userId}; nothing was sent`,
      { userId, roomId },
    );
  }

  /** Sends to an encrypted room. Starts the user's client if `userSession` is undefined. */
  async #sendEncrypted(
    session: Session,
    userSession: UserSession | undefined,
    outgoing: OutgoingMessage,
  ): Promise<{ eventId: string }> {
    const { users, sender } = this.#options;
    if (!userSession) {
      const sendStarted = (started: UserSession): Promise<{ eventId: string }> =>
        this.#sendEncrypted(session, started, outgoing);
      return users.withLease(outgoing.userId, sendStarted, outgoing.signal);
    }
    const { encryption } = userSession;
    if (!encryption?.encrypts(outgoing.type)) return sender.send(session, outgoing);
    const content = await encryption.encrypt(outgoing);
    return sender.send(userSession.session, { ...outgoing, type: 'm.room.encrypted', content });
  }
}
