import { randomUUID } from 'node:crypto';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import { toContent } from './content.js';
import type { Outbox } from './outbox.js';
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

  /** Takes the message's place in the order of its room synchronously. */
  async send(message: SendMessageOptions): Promise<{ eventId: string }> {
    const { queue, outbox, roomSender, lifecycle } = this.#options;
    const { userId, roomId, type = 'm.room.message', txnId = `mcm.${randomUUID()}`, durable, signal } = message;
    const outgoing: OutgoingMessage = { userId, roomId, type, txnId, content: toContent(message, type), signal };
    if (durable) return lifecycle.untilCallsAborted(outbox.send(outgoing), signal);
    return lifecycle.run((untilClosed) => {
      const sendInTurn = (): Promise<{ eventId: string }> => roomSender.send({ ...outgoing, signal: untilClosed });
      return queue.run(userId, roomId, sendInTurn, untilClosed);
    }, signal);
  }
}
