import { assertStillClear, BecameEncrypted } from '../core/became-encrypted.js';
import { MatrixClientManagerError } from '../core/errors.js';
import type { EventContent } from '../core/raw-event.js';
import { isEncryptedType } from '../core/unencrypted-types.js';
import type { SentMessage } from '../core/withheld-keys.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { Session } from '../http/session.js';
import { UnencryptedFileError } from './outgoing-message.js';
import type { OutgoingMessage } from './outgoing-message.js';
import { assertJoined, fetchEncryption, sendEvent } from './send-event.js';

/** An encrypted message, and the devices in the room that cannot decrypt it. */
export interface EncryptedMessage extends Omit<SentMessage, 'eventId'> {
  /** The content to send as `m.room.encrypted`. */
  readonly content: EventContent;
}

/** Encrypts a user's messages. */
export interface MessageEncryption {
  /** Whether the client has received the room. */
  hasRoom(roomId: string): boolean;
  encrypt(message: OutgoingMessage): Promise<EncryptedMessage>;
}

/** What a send needs of the user's client. */
export interface SendingClient {
  readonly session: Session;
  readonly encryption: MessageEncryption | undefined;
  /** Whether the room is encrypted. Calls `askHomeserver` only if neither the client nor {@link SeenRooms} knows. */
  isEncrypted(roomId: string, askHomeserver: () => Promise<boolean>): Promise<boolean>;
  readonly timelines: { noteSent(roomId: string, eventId: string): void };
}

/** The rooms that were seen encrypted, by any user. */
export interface SeenRooms {
  /** Rejects if that cannot be found out. */
  has(roomId: string): Promise<boolean>;
  note(rooms: Iterable<readonly [roomId: string, content: EventContent]>): void;
}

/** The session to send with, and the user's client if it runs. */
export interface SendingCaller {
  readonly session: Session;
  readonly userSession?: SendingClient;
}

/** Runs work as one of the users. */
export interface SendingUsers {
  runAs<T>(userId: string, use: (caller: SendingCaller) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Starts the user's client if needed. */
  withLease<T>(userId: string, use: (client: SendingClient) => Promise<T>, signal?: AbortSignal): Promise<T>;
}

export interface RoomSenderOptions {
  readonly http: HomeserverHttp;
  readonly users: SendingUsers;
  readonly hasEncryption: (userId: string) => boolean;
  readonly encryptedRooms: SeenRooms;
  /** Called after each message, but not after a reaction or redaction. */
  readonly onSent: (session: Session, roomId: string) => Promise<void>;
}

/** Sends messages, encrypted if the room is encrypted and events of their type are. */
export class RoomSender {
  readonly #options: RoomSenderOptions;

  constructor(options: RoomSenderOptions) {
    this.#options = options;
  }

  /** Makes one attempt to send a message as its user. */
  async send(outgoing: OutgoingMessage): Promise<SentMessage> {
    const { users, onSent } = this.#options;
    const { userId, roomId, signal } = outgoing;
    const sendAs = async (caller: SendingCaller): Promise<SentMessage> => {
      const isEncrypted =
        outgoing.isFileEncrypted === true ||
        (isEncryptedType(outgoing.type) && (await this.isEncrypted(caller, roomId, signal)));
      if (isEncrypted && outgoing.isFileEncrypted === false) throw new UnencryptedFileError(outgoing);
      const sent = await (isEncrypted
        ? this.#sendToEncryptedRoom(caller, outgoing)
        : this.#sendClear(caller, outgoing));
      caller.userSession?.timelines.noteSent(roomId, sent.eventId);
      if (isEncryptedType(outgoing.type)) await onSent(caller.session, roomId);
      return sent;
    };
    return users.runAs(userId, sendAs, signal);
  }

  /** Whether the room is encrypted. Rejects with `ENCRYPTION_UNAVAILABLE` if it is and the user has no encryption. */
  async isEncrypted(
    { session, userSession }: SendingCaller,
    roomId: string,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const { hasEncryption, encryptedRooms } = this.#options;
    const { userId } = session;
    // The question can wait for minutes, and a client may see the room encrypted meanwhile: each request that sends
    // something in the clear checks that itself.
    const askHomeserver = (): Promise<boolean> => this.#askHomeserver(session, roomId, signal);
    // What was seen comes first: a homeserver can hide that a room is encrypted.
    const isEncrypted = userSession
      ? await userSession.isEncrypted(roomId, askHomeserver)
      : (await encryptedRooms.has(roomId)) || (await askHomeserver());
    if (!isEncrypted || hasEncryption(userId)) return isEncrypted;
    throw noEncryption(userId, roomId);
  }

  async #askHomeserver(session: Session, roomId: string, signal: AbortSignal | undefined): Promise<boolean> {
    const { http, encryptedRooms } = this.#options;
    const content = await fetchEncryption(http, session, roomId, signal);
    if (content) encryptedRooms.note([[roomId, content]]);
    return content !== undefined;
  }

  /**
   * Sends to a room that is not encrypted. Such a request can wait and be repeated for minutes: if a client sees the room
   * encrypted meanwhile, no further attempt is made in the clear, and the message is sent encrypted.
   */
  async #sendClear(caller: SendingCaller, outgoing: OutgoingMessage): Promise<SentMessage> {
    const { http, hasEncryption, encryptedRooms } = this.#options;
    const { userId, roomId } = outgoing;
    try {
      const isClear = (): Promise<void> => assertStillClear(encryptedRooms.has(roomId));
      return await sendEvent(http, caller.session, outgoing, isEncryptedType(outgoing.type) ? isClear : undefined);
    } catch (error) {
      if (!(error instanceof BecameEncrypted)) throw error;
      if (!hasEncryption(userId))
        throw noEncryption(userId, roomId, 'an earlier attempt may have sent it in the clear');
      if (outgoing.isFileEncrypted === false) throw new UnencryptedFileError(outgoing);
      return this.#sendToEncryptedRoom(caller, outgoing);
    }
  }

  /**
   * Sends to an encrypted room. Starts the user's client if it does not run.
   */
  async #sendToEncryptedRoom({ session, userSession }: SendingCaller, outgoing: OutgoingMessage): Promise<SentMessage> {
    const { http, users } = this.#options;
    const sendWith = async (client: SendingClient): Promise<SentMessage> => {
      const { encryption } = client;
      if (!encryption) throw noEncryption(outgoing.userId, outgoing.roomId);
      // Rejects at once for a user who is not in the room, for whom encrypting would wait in vain.
      if (!encryption.hasRoom(outgoing.roomId)) await assertJoined(http, session, outgoing.roomId, outgoing.signal);
      const { content, ...withheld } = await encryption.encrypt(outgoing);
      const sent = await sendEvent(http, client.session, { ...outgoing, type: 'm.room.encrypted', content });
      return { ...sent, ...withheld };
    };
    return userSession ? sendWith(userSession) : users.withLease(outgoing.userId, sendWith, outgoing.signal);
  }
}

function noEncryption(userId: string, roomId: string, outcome = 'nothing was sent'): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'ENCRYPTION_UNAVAILABLE',
    `sending to ${roomId} failed: the room is encrypted, and encryption is not enabled for ${userId}; ${outcome}`,
    { userId, roomId },
  );
}
