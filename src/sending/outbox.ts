import * as v from 'valibot';
import { delay, orAborted, throwIfAborted } from '../core/abort.js';
import { toContentPart } from '../core/content-part.js';
import { RecentIds } from '../core/recent-ids.js';
import { retryDelayMs } from '../http/retry.js';
import { SendGivenUpError, toStoredError } from './send-failures.js';
import { OPERATION, RETRY_DELAYS, SendRetrier } from './send-retrier.js';
import type { DurableMessage, SendRetrierContext, SendRetrierOptions } from './send-retrier.js';
import { oneOf, optionsOf, userId } from '../core/validation.js';
import type { EventContent } from '../core/raw-event.js';
import type { SentMessage } from '../core/withheld-keys.js';
import type { OutgoingSend, QueuedSend as StoredSend, SendState, StoredError, Storage } from '../storage/storage.js';
import type { OutgoingMessage } from './outgoing-message.js';
import type { SendQueue } from './send-queue.js';

export interface ListSendsOptions {
  /** Only the sends of this user. @default those of all users */
  readonly userId?: string | undefined;
  /** `queued`: waiting or being sent. `failed`: refused or given up. `sent`: accepted by the homeserver. @default 'queued' */
  readonly state?: 'queued' | 'failed' | 'sent' | undefined;
}

export const listSendsSchema = optionsOf<ListSendsOptions>({
  userId: v.optional(userId),
  state: v.optional(oneOf('queued', 'failed', 'sent')),
});

/** A message accepted with `durable: true`, and its state. */
export interface OutboxEntry {
  readonly userId: string;
  readonly roomId: string;
  readonly txnId: string;
  /** Event type. */
  readonly type: string;
  /** `queued`: not sent yet. `failed`: refused, or given up after `sendTimeoutMs`. `sent`: accepted by the homeserver. */
  readonly state: SendState;
  /** Milliseconds since the Unix epoch. */
  readonly enqueuedAt: number;
  /** Absent when `state` is `sent`. */
  readonly content?: EventContent;
  /** Present when `state` is `failed`. */
  readonly error?: StoredError;
  /** Present when `state` is `sent`. */
  readonly eventId?: string;
}

export interface OutboxOptions extends SendRetrierOptions {
  readonly storage: Storage;
  readonly queue: SendQueue;
  /** Called after a message was refused or given up, and stored as failed. */
  readonly onFailed: (failed: FailedSend) => void;
}

/** A message sent with `durable: true` that was refused or given up. */
export interface FailedSend {
  readonly userId: string;
  readonly roomId: string;
  readonly txnId: string;
  readonly error: Error;
}

/** `givenUp` counts up to this many messages. */
const MAX_GIVEN_UP = 1_000;

/** Messages that survive a crash: each is stored before it is sent, then sent by this process or the next. */
export class Outbox {
  readonly #context: SendRetrierContext;
  readonly #options: OutboxOptions;
  readonly #closing = new AbortController();
  /** Abort the running sends of a message, by user and txnId. Several calls may send the same message. */
  readonly #abortControllers = new Map<string, Set<AbortController>>();
  readonly #retrier: SendRetrier;
  readonly #givenUp = new RecentIds(MAX_GIVEN_UP);

  constructor(context: SendRetrierContext, options: OutboxOptions) {
    this.#context = context;
    this.#options = options;
    this.#retrier = new SendRetrier(context, options);
  }

  /** How many messages are waiting or being sent. */
  get queued(): number {
    return [...this.#abortControllers.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * How many messages have been failing for a minute without an outage: the homeserver does not accept them, or their
   * user has no session or client in this process.
   */
  get stalled(): number {
    return this.#retrier.stalled;
  }

  /** How many messages were given up after `sendTimeoutMs`, and have not been sent again or discarded since. */
  get givenUp(): number {
    return this.#givenUp.size;
  }

  /**
   * Stores the message, then sends it in its turn. Rejects when it is refused or given up; it is then listed as failed.
   * Rejects when the caller's signal fires; the message is then deleted. Rejects at a shutdown; the message stays stored.
   */
  async send(outgoing: OutgoingMessage): Promise<SentMessage> {
    const { storage } = this.#options;
    const { userId, roomId, type, content, txnId } = outgoing;
    const stored = { txnId, roomId, type, content: JSON.stringify(content), enqueuedAt: this.#context.clock.now() };
    const enqueue = async (): Promise<StoredSend> => {
      const { send } = await storage.enqueueSend(userId, stored);
      if (send.state !== 'failed') return send;
      await storage.deleteSend(userId, txnId); // the caller repeats a message that failed earlier
      return (await storage.enqueueSend(userId, stored)).send;
    };
    this.#givenUp.delete(keyOf(userId, txnId));
    const enqueued = enqueue();
    enqueued.catch(() => {}); // awaited below; it may reject earlier, while the message waits for its turn
    try {
      // The place in the room's queue is taken before the storage answers, so that the order of the calls is kept.
      return await this.#runInTurn(outgoing, async (signal) => {
        const send = await enqueued;
        return send.state === 'sent' ? { eventId: send.eventId } : this.#sendAndComplete(outgoing, signal);
      });
    } catch (error) {
      if (outgoing.signal?.aborted && !this.#closing.signal.aborted) {
        await enqueued;
        await storage.deleteSend(userId, txnId);
      }
      throw error;
    }
  }

  /** Sends the queued messages of an earlier process. Never rejects; resolves when all are sent, refused or given up. */
  async resume(): Promise<void> {
    const { logger } = this.#context;
    try {
      const queued = await this.#listUnsent();
      if (queued.length > 0) logger.info({ messages: queued.length }, 'sending durable messages of an earlier process');
      await Promise.all(queued.map((send) => this.#resumeSend(send)));
    } catch (error) {
      if (!this.#closing.signal.aborted)
        logger.error({ err: error }, 'reading the durable messages of an earlier process failed');
    }
  }

  /** The queued messages that this process did not accept. Repeats the read until the storage answers. */
  async #listUnsent(): Promise<StoredSend[]> {
    const { storage } = this.#options;
    const { clock, logger } = this.#context;
    for (let failures = 1; ; failures++) {
      try {
        const queued = await storage.listSends({ state: 'queued' });
        return queued.filter(({ userId, txnId }) => !this.#abortControllers.has(keyOf(userId, txnId)));
      } catch (error) {
        throwIfAborted(this.#closing.signal, OPERATION);
        logger.error({ err: error }, 'reading the durable messages of an earlier process failed; it is retried');
        await delay(clock, retryDelayMs(error, failures, RETRY_DELAYS), this.#closing.signal, OPERATION);
      }
    }
  }

  async list(userId: string | undefined, state: SendState): Promise<OutboxEntry[]> {
    const sends = await this.#options.storage.listSends({ ...(userId !== undefined && { userId }), state });
    return sends.map((send) => {
      if (send.state === 'sent') return send;
      return { ...send, content: JSON.parse(send.content) as EventContent };
    });
  }

  /** Deletes a message and aborts its send, so that the room's next message is sent. The homeserver may still receive it. */
  async discard(userId: string, txnId: string): Promise<boolean> {
    const key = keyOf(userId, txnId);
    const deleted = await this.#options.storage.deleteSend(userId, txnId);
    this.#givenUp.delete(key);
    for (const controller of this.#abortControllers.get(key) ?? []) controller.abort('discarded');
    return deleted;
  }

  /** Aborts the user's sends, and no longer counts those given up. The caller deletes the messages from the storage. */
  abortSendsOf(userId: string): void {
    const isOfUser = (key: string): boolean => key.startsWith(keyOf(userId, ''));
    for (const key of [...this.#givenUp].filter(isOfUser)) this.#givenUp.delete(key);
    for (const [key, controllers] of this.#abortControllers) {
      if (!isOfUser(key)) continue;
      for (const controller of controllers) controller.abort('the user was forgotten');
    }
  }

  /** Aborts every send at once. Unsent messages stay stored for the next process. */
  close(): void {
    this.#closing.abort();
  }

  async #resumeSend(send: StoredSend): Promise<void> {
    if (send.state !== 'queued') return;
    const { userId, roomId, txnId, type } = send;
    try {
      await this.#runInTurn({ userId, roomId, txnId }, async (signal) => {
        const content = await this.#parseContent(send);
        return this.#sendAndComplete({ userId, roomId, txnId, type, content, isResumed: true }, signal);
      });
    } catch {
      // The failure was logged; or the message was discarded; or this process is closing.
    }
  }

  /** Checks the stored content: an earlier version of the library may have accepted one that no homeserver accepts. */
  async #parseContent(send: OutgoingSend & { readonly userId: string }): Promise<EventContent> {
    try {
      return toContentPart(JSON.parse(send.content) as EventContent, 'content');
    } catch (error) {
      await this.#fail(send, error as Error);
      throw error;
    }
  }

  /** Runs `send` in its turn. Rejects at once when the caller's signal, `discard` or `close()` aborts it. */
  async #runInTurn<T>(
    { userId, roomId, txnId, signal: callerSignal }: Pick<OutgoingMessage, 'userId' | 'roomId' | 'txnId' | 'signal'>,
    send: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const key = keyOf(userId, txnId);
    const controller = new AbortController();
    const controllers = this.#abortControllers.get(key) ?? new Set();
    this.#abortControllers.set(key, controllers.add(controller));
    const signal = AbortSignal.any([controller.signal, this.#closing.signal, ...(callerSignal ? [callerSignal] : [])]);
    const sendInTurn = async (): Promise<T> => {
      throwIfAborted(signal, OPERATION);
      return orAborted(send(signal), signal, OPERATION);
    };
    try {
      return await orAborted(this.#options.queue.run(userId, roomId, sendInTurn), signal, OPERATION);
    } finally {
      controllers.delete(controller);
      if (controllers.size === 0) this.#abortControllers.delete(key);
    }
  }

  async #sendAndComplete(outgoing: DurableMessage, signal: AbortSignal): Promise<SentMessage> {
    const { storage } = this.#options;
    const { logger } = this.#context;
    const { userId, roomId, txnId } = outgoing;
    let sent: SentMessage;
    try {
      sent = await this.#retrier.send({ ...outgoing, signal });
    } catch (error) {
      if (error instanceof SendGivenUpError) this.#givenUp.add(keyOf(userId, txnId));
      if (!signal.aborted) await this.#fail(outgoing, error as Error);
      throw error;
    }
    await storage.completeSend(userId, txnId, sent.eventId).catch((err: unknown) => {
      logger.error(
        { userId, roomId, txnId, err },
        'a message was sent, but storing that failed; it is sent again after a restart',
      );
    });
    return sent;
  }

  async #fail({ userId, roomId, txnId }: Omit<FailedSend, 'error'>, error: Error): Promise<void> {
    const { storage, onFailed } = this.#options;
    const { logger } = this.#context;
    const isListed = await storage.failSend(userId, txnId, toStoredError(error)).catch((err: unknown) => {
      logger.error(
        { userId, roomId, txnId, err },
        'a message failed, and storing that failed too; it is sent again after a restart',
      );
      return true;
    });
    if (!isListed) return; // the message was discarded meanwhile
    logger.error(
      { userId, roomId, txnId, err: error },
      'a durable message failed; listSends({ state: "failed" }) lists it',
    );
    onFailed({ userId, roomId, txnId, error });
  }
}

/** A user id contains no NUL, so the key is unambiguous. */
function keyOf(userId: string, txnId: string): string {
  return `${userId}\0${txnId}`;
}
