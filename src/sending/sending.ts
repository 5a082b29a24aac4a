import { randomUUID } from 'node:crypto';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import type { SentMessage } from '../core/withheld-keys.js';
import { toContent } from './content.js';
import type { Outbox } from './outbox.js';
import { UnencryptedFileError } from './outgoing-message.js';
import type { OutgoingMessage } from './outgoing-message.js';
import type { RoomSender } from './room-sender.js';
import type { SendMessageOptions } from './send-message-options.js';
import type { SendQueue } from './send-queue.js';

export interface SendingOptions {
  readonly queue: SendQueue;
  readonly outbox: Outbox;
  readonly roomSender: RoomSender;
  readonly lifecycle: ManagerLifecycle;
}

/**
 * Sends messages: in the order of the calls, durable ones stored before they are sent, encrypted where the room is.
 */
export class Sending {
  readonly #options: SendingOptions;

  constructor(options: SendingOptions) {
    this.#options = options;
  }

  /**
   * Takes the message's place in the order of its room synchronously.
   * @param isFileEncrypted - of a message that refers to a file: whether the file was uploaded encrypted
   */
  async send(message: SendMessageOptions, isFileEncrypted?: boolean): Promise<SentMessage> {
    const { queue, outbox, roomSender, lifecycle } = this.#options;
    const { userId, roomId, type = 'm.room.message', txnId = `mcm.${randomUUID()}`, durable, signal } = message;
    const content = toContent(message, type);
    const outgoing: OutgoingMessage = { userId, roomId, type, txnId, content, signal, isFileEncrypted };
    if (durable) return lifecycle.untilCallsAborted(outbox.send(outgoing), signal);
    return lifecycle.run((untilClosed) => {
      const sendInTurn = (): Promise<SentMessage> => roomSender.send({ ...outgoing, signal: untilClosed });
      return queue.run(userId, roomId, sendInTurn, untilClosed);
    }, signal);
  }

  /** Like {@link send}; resolves to undefined, without having sent, if the room is encrypted and the file is not. */
  async sendWithFile(message: SendMessageOptions, isFileEncrypted: boolean): Promise<SentMessage | undefined> {
    try {
      return await this.send(message, isFileEncrypted);
    } catch (error) {
      if (error instanceof UnencryptedFileError) return undefined;
      throw error;
    }
  }
}
