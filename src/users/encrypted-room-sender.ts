import { MatrixClientManagerError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { RawEvent } from '../core/raw-event.js';
import type { Session } from '../http/session.js';
import type { MessageSender, Outgoing } from '../sending/message-sender.js';
import type { TypingNotifier } from '../ephemeral/typing-notifier.js';
import type { Encryption } from './encryption.js';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import type { UserSession } from './user-session.js';
import type { CallerSession, UserSessions } from './user-sessions.js';

export interface EncryptedRoomSenderOptions {
  readonly users: UserSessions;
  readonly sender: MessageSender;
  readonly typing: TypingNotifier;
  readonly encryption: Encryption | undefined;
  readonly lifetime: ManagerLifecycle;
  readonly logger: Logger;
}

/** What users post to rooms and read there, encrypted where the room is, and never in the clear there. */
export class EncryptedRoomSender {
  readonly #options: EncryptedRoomSenderOptions;

  constructor(options: EncryptedRoomSenderOptions) {
    this.#options = options;
  }

  /** Sends one message, encrypted where the room is; ends the user's typing notification there. */
  async send(outgoing: Outgoing): Promise<{ eventId: string }> {
    const { users, sender, typing, lifetime, logger } = this.#options;
    const { userId, roomId, signal } = outgoing;
    return users.acting(
      userId,
      async (actor) => {
        const { session, live } = actor;
        const isEncrypted = await this.isEncrypted(actor, userId, roomId, signal);
        const sent = isEncrypted
          ? await this.#sendEncrypted(session, live, outgoing)
          : await sender.send(session, outgoing);
        live?.messageSent(roomId, sent.eventId);
        if (typing.isTyping(userId, roomId)) {
          await typing.set(session, roomId, false, 0, lifetime.signal).catch((error: unknown) => {
            logger.debug({ userId, roomId, err: error }, 'ending a typing notification failed');
          });
        }
        return sent;
      },
      signal,
    );
  }

  /** Whether what is sent to the room is encrypted. Rejects with `ENCRYPTION_UNAVAILABLE` where the user cannot. */
  async isEncrypted(
    { session, live }: CallerSession,
    userId: string,
    roomId: string,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const ask = (): Promise<boolean> => this.#options.sender.isEncrypted(session, roomId, signal);
    const isEncrypted = await (live ? live.isEncrypted(roomId, ask) : ask());
    if (!isEncrypted || this.#options.encryption?.isFor(userId)) return isEncrypted;
    throw new MatrixClientManagerError(
      'ENCRYPTION_UNAVAILABLE',
      `sending to ${roomId} failed: the room is encrypted, and ${userId} has no encryption here; nothing was sent`,
      { userId, roomId },
    );
  }

  /** How a page gets encrypted events: by the user's client, which is started when there is one to decrypt. */
  pageDecryption(
    userId: string | undefined,
    roomId: string,
    signal: AbortSignal | undefined,
  ): ((events: readonly RawEvent[]) => Promise<RawEvent[]>) | undefined {
    const { users, encryption: keys } = this.#options;
    if (userId === undefined || !keys?.isFor(userId)) return undefined;
    return async (events) => {
      if (!events.some((event) => event.type === 'm.room.encrypted')) return [...events];
      return users.leased(
        userId,
        ({ encryption }) =>
          Promise.all(events.map(async (event) => (await encryption?.decrypt(roomId, event)) ?? event)),
        signal,
      );
    };
  }

  /** Sends to an encrypted room; with the user's client, which is started for it. */
  async #sendEncrypted(
    session: Session,
    live: UserSession | undefined,
    outgoing: Outgoing,
  ): Promise<{ eventId: string }> {
    const { users, sender } = this.#options;
    if (!live) {
      const post = (started: UserSession): Promise<{ eventId: string }> =>
        this.#sendEncrypted(session, started, outgoing);
      return users.leased(outgoing.userId, post, outgoing.signal);
    }
    const { encryption } = live;
    if (!encryption?.encrypts(outgoing.type)) return sender.send(session, outgoing);
    const content = await encryption.encrypt(outgoing);
    return sender.send(live.session, { ...outgoing, type: 'm.room.encrypted', content });
  }
}
