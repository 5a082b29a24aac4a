import type { Clock } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { EventContent } from '../core/raw-event.js';
import { withRetries } from '../http/retry.js';
import type { RetryPolicy } from '../http/retry.js';
import type { QueuedSend as StoredSend, SendState } from '../storage/queued-send.js';
import type { StoredError } from '../storage/dead-letter.js';
import type { Storage } from '../storage/storage.js';
import type { MessageSender, Outgoing } from './message-sender.js';

/** A message accepted with `durable: true`, and what became of it. */
export interface OutboxEntry {
  readonly userId: string;
  readonly roomId: string;
  readonly txnId: string;
  /** Event type. */
  readonly type: string;
  /** `queued`: still to be sent. `failed`: the homeserver refuses it. `sent`: it is an event now. */
  readonly state: SendState;
  /** Milliseconds since the Unix epoch. */
  readonly enqueuedAt: number;
  /** Until it is sent. */
  readonly content?: EventContent;
  /** Of a failed one. */
  readonly error?: StoredError;
  /** Of a sent one. */
  readonly eventId?: string;
}

export interface OutboxOptions {
  readonly storage: Storage;
  readonly sender: MessageSender;
  /** Sends one message as its user; called when its turn has come. */
  readonly post: (outgoing: Outgoing) => Promise<{ eventId: string }>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A message that was accepted is worth any wait, and any wait that the homeserver asks for. */
const PATIENT: RetryPolicy = {
  attempts: Infinity,
  baseDelayMs: 1_000,
  maxDelayMs: 60_000,
  maxRetryAfterMs: Infinity,
  outlastsOutages: true,
};

/** Messages that survive a crash: stored before they are sent, and sent once, by this process or the next. */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #closing = new AbortController();
  #queued = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** How many messages are still to be taken or refused. */
  get queued(): number {
    return this.#queued;
  }

  /** Stores the message, then sends it in its turn. Rejects when the homeserver refuses it; then it is listed. */
  async send(outgoing: Outgoing): Promise<{ eventId: string }> {
    const { storage, clock } = this.#options;
    const { userId, roomId, type, content, txnId } = outgoing;
    const stored = { txnId, roomId, type, content: JSON.stringify(content), enqueuedAt: clock.now() };
    const enqueue = async (): Promise<StoredSend> => {
      const { send } = await storage.enqueueSend(userId, stored);
      if (send.state !== 'failed') return send;
      await storage.deleteSend(userId, txnId); // the caller tries again what was refused before
      return (await storage.enqueueSend(userId, stored)).send;
    };
    const enqueued = enqueue();
    // Its place in the room is taken now, whatever the storage takes.
    return this.#inOrder(outgoing, async () => {
      const send = await enqueued;
      return send.state === 'sent' ? { eventId: send.eventId } : this.#post(outgoing);
    });
  }

  /** Sends what an earlier process had accepted and not sent. Resolves when all of it is sent or refused. */
  async resume(): Promise<void> {
    const { storage, logger } = this.#options;
    const queued = await storage.listSends({ state: 'queued' });
    if (queued.length > 0) logger.info({ messages: queued.length }, 'sending messages of an earlier process');
    await Promise.all(
      queued.map(async (send) => {
        if (send.state !== 'queued') return;
        const { userId, roomId, txnId, type } = send;
        const outgoing = { userId, roomId, txnId, type, content: JSON.parse(send.content) as EventContent };
        await this.#inOrder(outgoing, () => this.#post(outgoing)).catch((error: unknown) => {
          if (!this.#closing.signal.aborted)
            logger.error({ userId, roomId, err: error }, 'a message of an earlier process failed');
        });
      }),
    );
  }

  async list(userId: string | undefined, state: SendState): Promise<OutboxEntry[]> {
    const sends = await this.#options.storage.listSends({ ...(userId !== undefined && { userId }), state });
    return sends.map((send) => {
      if (send.state === 'sent') return send;
      return { ...send, content: JSON.parse(send.content) as EventContent };
    });
  }

  /** Forgets a message; one that is being sent may still arrive. */
  discard(userId: string, txnId: string): Promise<boolean> {
    return this.#options.storage.deleteSend(userId, txnId);
  }

  /** Ends every try at once; what is not sent by then stays stored for the next process. */
  close(): void {
    this.#closing.abort();
  }

  async #inOrder<T>({ userId, roomId }: Outgoing, send: () => Promise<T>): Promise<T> {
    this.#queued++;
    try {
      return await this.#options.sender.inOrder(userId, roomId, send);
    } finally {
      this.#queued--;
    }
  }

  async #post(outgoing: Outgoing): Promise<{ eventId: string }> {
    const { storage, post, clock } = this.#options;
    const { userId, txnId } = outgoing;
    const closing = this.#closing.signal;
    const signal = outgoing.signal ? AbortSignal.any([outgoing.signal, closing]) : closing;
    try {
      const sent = await withRetries(() => post({ ...outgoing, signal }), PATIENT, clock, signal, 'sending');
      await storage.completeSend(userId, txnId, sent.eventId);
      return sent;
    } catch (error) {
      if (outgoing.signal?.aborted && !closing.aborted) await storage.deleteSend(userId, txnId);
      else if (isRefusal(error)) await storage.failSend(userId, txnId, toStored(error));
      throw error;
    }
  }
}

/** Whether trying again would not help. Anything else leaves the message queued. */
function isRefusal(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  return !isManagerError(error, 'ABORTED', 'MANAGER_CLOSED', 'STORAGE', 'CLIENT_FAILED', 'CLIENT_NOT_STARTED');
}

function toStored(error: Error): StoredError {
  return { name: error.name, message: error.message, ...(isManagerError(error) && { code: error.code }) };
}
