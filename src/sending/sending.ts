import { randomUUID } from 'node:crypto';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import { toContent } from './content.js';
import type { MessageSender, OutgoingMessage } from './message-sender.js';
import type { Outbox } from './outbox.js';
import type { SendMessageOptions } from './send-message-options.js';

export interface SendingOptions {
  readonly sender: MessageSender;
  readonly outbox: Outbox;
  /** Makes one attempt to send a message as its user. */
  readonly sendOnce: (outgoing: OutgoingMessage) => Promise<{ eventId: string }>;
  readonly lifecycle: ManagerLifecycle;
}

/** Sends messages in the order of the calls: durable ones through the outbox, others directly. */
export class Sending {
  readonly #options: SendingOptions;

  constructor(options: SendingOptions) {
    this.#options = options;
  }

  /** Takes the message's place in the order of its room synchronously. */
  async send(message: SendMessageOptions): Promise<{ eventId: string }> {
    const { sender, outbox, sendOnce, lifecycle } = this.#options;
    const { userId, roomId, type = 'm.room.message', txnId = `mcm.${randomUUID()}`, durable, signal } = message;
    const outgoing: OutgoingMessage = { userId, roomId, type, txnId, content: toContent(message, type), signal };
    if (durable) return lifecycle.rejectWhenClosed(outbox.send(outgoing), signal);
    const untilClosed = lifecycle.withShutdownSignal(signal);
    const attempt = (): Promise<{ eventId: string }> => sendOnce({ ...outgoing, signal: untilClosed });
    return lifecycle.rejectWhenClosed(sender.inOrder(userId, roomId, attempt, untilClosed), signal);
  }
}
