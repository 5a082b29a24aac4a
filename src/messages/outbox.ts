import { delay, orAborted, throwIfAborted } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { EventContent } from '../core/raw-event.js';
import { RecentIds } from '../core/recent-ids.js';
import { FailingTime } from '../http/failing-time.js';
import type { AnswersOtherwise } from '../http/failing-time.js';
import { failureClass, isRetryable } from '../http/failure-class.js';
import { retryDelayMs } from '../http/retry.js';
import type { OutgoingSend, QueuedSend as StoredSend, SendState } from '../storage/queued-send.js';
import type { StoredError } from '../storage/dead-letter.js';
import type { Storage } from '../storage/storage.js';
import { toContentPart } from './content.js';
import { givenUp, isRefusal, toStored } from './send-failures.js';
import type { MessageSender, Outgoing } from './message-sender.js';

/** A message accepted with `durable: true`, and what became of it. */
export interface OutboxEntry {
  readonly userId: string;
  readonly roomId: string;
  readonly txnId: string;
  /** Event type. */
  readonly type: string;
  /** `queued`: still to be sent. `failed`: refused, or given up after `sendTimeoutMs`. `sent`: it is an event now. */
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
  /** How long a message may fail on a homeserver that answers otherwise, in milliseconds. */
  readonly sendTimeoutMs: number;
  readonly answersOtherwise: AnswersOtherwise;
  /** A message was refused or given up; it is listed as failed. */
  readonly onFailed: (failed: FailedSend) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A message sent with `durable: true` that was refused or given up. */
export interface FailedSend {
  readonly userId: string;
  readonly roomId: string;
  readonly txnId: string;
  readonly error: Error;
}

/** Between two tries of one message. */
const PAUSES = { baseDelayMs: 1_000, maxDelayMs: 60_000 };
/** A message counts as stalled when it has failed for this long without an outage, in milliseconds. */
const STALLED_MS = 60_000;
/** How many messages that were given up are counted. */
const MAX_GIVEN_UP = 1_000;
const OPERATION = 'sending a durable message';

/** A message that is being tried. */
interface Trying {
  readonly failing: FailingTime;
  /** Since when nothing but this process has kept it from being sent, in milliseconds since the Unix epoch. */
  blockedSince: number | undefined;
}

/** Messages that survive a crash: stored before they are sent, and sent once, by this process or the next. */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #closing = new AbortController();
  /** What ends the sends of a message, by user and txnId; several calls may send the same one. */
  readonly #discards = new Map<string, Set<AbortController>>();
  readonly #trying = new Set<Trying>();
  readonly #givenUp = new RecentIds(MAX_GIVEN_UP);
  #queued = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** How many messages are still to be taken or refused. */
  get queued(): number {
    return this.#queued;
  }

  /**
   * How many messages could not be sent for a minute, although the homeserver answers otherwise: it does not take them,
   * or their user has no session or client here.
   */
  get stalled(): number {
    const now = this.#options.clock.now();
    const isStalled = ({ failing, blockedSince = now }: Trying): boolean =>
      failing.ms >= STALLED_MS || now - blockedSince >= STALLED_MS;
    return [...this.#trying].filter(isStalled).length;
  }

  /** How many messages were given up after `sendTimeoutMs`, and neither sent again nor discarded since. */
  get givenUp(): number {
    return this.#givenUp.size;
  }

  /** Stores the message, then sends it in its turn. Rejects when it is refused or given up; then it is listed. */
  async send(outgoing: Outgoing): Promise<{ eventId: string }> {
    const { storage, clock } = this.#options;
    const { userId, roomId, type, content, txnId } = outgoing;
    const stored = { txnId, roomId, type, content: JSON.stringify(content), enqueuedAt: clock.now() };
    const enqueue = async (): Promise<StoredSend> => {
      const { send } = await storage.enqueueSend(userId, stored);
      if (send.state !== 'failed') return send;
      await storage.deleteSend(userId, txnId); // the caller tries again what failed before
      return (await storage.enqueueSend(userId, stored)).send;
    };
    this.#givenUp.delete(keyOf(userId, txnId));
    const enqueued = enqueue();
    enqueued.catch(() => {}); // it may fail while an earlier message is being sent; its turn rejects with it
    try {
      // Its place in the room is taken now, whatever the storage takes.
      return await this.#inOrder(outgoing, async (signal) => {
        const send = await enqueued;
        return send.state === 'sent' ? { eventId: send.eventId } : this.#post(outgoing, signal);
      });
    } catch (error) {
      if (outgoing.signal?.aborted && !this.#closing.signal.aborted) {
        await enqueued;
        await storage.deleteSend(userId, txnId);
      }
      throw error;
    }
  }

  /** Sends what an earlier process had accepted and not sent. Resolves when all of it is sent, refused or given up. */
  async resume(): Promise<void> {
    const { logger } = this.#options;
    const queued = await this.#earlier();
    if (queued.length > 0) logger.info({ messages: queued.length }, 'sending messages of an earlier process');
    await Promise.all(queued.map((send) => this.#resume(send)));
  }

  /** What is queued and not of this process, however often the storage has to be asked. */
  async #earlier(): Promise<StoredSend[]> {
    const { storage, clock, logger } = this.#options;
    for (let failures = 1; ; failures++) {
      try {
        const queued = await storage.listSends({ state: 'queued' });
        return queued.filter(({ userId, txnId }) => !this.#discards.has(keyOf(userId, txnId)));
      } catch (error) {
        throwIfAborted(this.#closing.signal, OPERATION);
        logger.error({ err: error }, 'reading the messages of an earlier process failed, trying again');
        await delay(clock, retryDelayMs(error, failures, PAUSES), this.#closing.signal, OPERATION);
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

  /** Forgets a message, and ends its sending, so that the next one of the room goes on; it may still arrive. */
  async discard(userId: string, txnId: string): Promise<boolean> {
    const key = keyOf(userId, txnId);
    const deleted = await this.#options.storage.deleteSend(userId, txnId);
    this.#givenUp.delete(key);
    for (const discard of this.#discards.get(key) ?? []) discard.abort('discarded');
    return deleted;
  }

  /** Ends the sending of all the user's messages, which the storage has to forget. */
  forget(userId: string): void {
    for (const [key, discards] of this.#discards) {
      if (!key.startsWith(keyOf(userId, ''))) continue;
      for (const discard of discards) discard.abort('the user was forgotten');
    }
  }

  /** Ends every try at once; what is not sent by then stays stored for the next process. */
  close(): void {
    this.#closing.abort();
  }

  async #resume(send: StoredSend): Promise<void> {
    if (send.state !== 'queued') return;
    const { userId, roomId, txnId, type } = send;
    try {
      await this.#inOrder({ userId, roomId, txnId }, async (signal) => {
        const content = await this.#restored(send);
        return this.#post({ userId, roomId, txnId, type, content }, signal);
      });
    } catch {
      // It was refused or given up, which was logged; or it was discarded, or is left to the next process.
    }
  }

  /** What an earlier version has accepted may be what no homeserver takes. */
  async #restored(send: OutgoingSend & { readonly userId: string }): Promise<EventContent> {
    try {
      return toContentPart(JSON.parse(send.content) as EventContent, 'content');
    } catch (error) {
      await this.#fail(send, error as Error);
      throw error;
    }
  }

  /** Runs `send` in its turn, or ends the wait for it as soon as the message is withdrawn. */
  async #inOrder<T>(
    { userId, roomId, txnId, signal: withdrawn }: Pick<Outgoing, 'userId' | 'roomId' | 'txnId' | 'signal'>,
    send: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const key = keyOf(userId, txnId);
    const discard = new AbortController();
    const discards = this.#discards.get(key) ?? new Set();
    this.#discards.set(key, discards.add(discard));
    const signal = AbortSignal.any([discard.signal, this.#closing.signal, ...(withdrawn ? [withdrawn] : [])]);
    const inTurn = async (): Promise<T> => {
      throwIfAborted(signal, OPERATION);
      return orAborted(send(signal), signal, OPERATION);
    };
    this.#queued++;
    try {
      return await orAborted(this.#options.sender.inOrder(userId, roomId, inTurn), signal, OPERATION);
    } finally {
      this.#queued--;
      discards.delete(discard);
      if (discards.size === 0) this.#discards.delete(key);
    }
  }

  async #post(outgoing: Outgoing, signal: AbortSignal): Promise<{ eventId: string }> {
    const { storage, logger } = this.#options;
    const { userId, roomId, txnId } = outgoing;
    let sent: { eventId: string };
    try {
      sent = await this.#patiently({ ...outgoing, signal });
    } catch (error) {
      if (!signal.aborted) await this.#fail(outgoing, error as Error);
      throw error;
    }
    await storage.completeSend(userId, txnId, sent.eventId).catch((err: unknown) => {
      logger.error({ userId, roomId, txnId, err }, 'a message was sent and could not be marked so; it is sent again');
    });
    return sent;
  }

  /** Tries until the homeserver takes or refuses it, or has failed on it for `sendTimeoutMs` while it was up. */
  async #patiently(outgoing: Outgoing & { readonly signal: AbortSignal }): Promise<{ eventId: string }> {
    const { post, clock, answersOtherwise, sendTimeoutMs } = this.#options;
    const { userId, txnId, signal } = outgoing;
    const failing = new FailingTime(clock, answersOtherwise);
    const trying: Trying = { failing, blockedSince: undefined };
    this.#trying.add(trying);
    try {
      for (let failures = 1; ; failures++) {
        try {
          return await post(outgoing);
        } catch (error) {
          throwIfAborted(signal, OPERATION);
          if (isRefusal(error)) throw error;
          await failing.failed(error);
          throwIfAborted(signal, OPERATION);
          if (failing.ms >= sendTimeoutMs && isManagerError(error)) {
            this.#givenUp.add(keyOf(userId, txnId));
            throw givenUp(error, failing.ms);
          }
          this.#noteBlocked(trying, outgoing, error);
          await delay(clock, retryDelayMs(error, failures, PAUSES), signal, OPERATION);
        }
      }
    } finally {
      this.#trying.delete(trying);
    }
  }

  /** Logs once when something in this process keeps a message from being sent. */
  #noteBlocked(trying: Trying, { userId, roomId, txnId }: Outgoing, error: unknown): void {
    const { clock, logger } = this.#options;
    const kind = failureClass(error);
    if (isRetryable(kind) || kind === 'unavailable') trying.blockedSince = undefined;
    else if (trying.blockedSince === undefined) {
      trying.blockedSince = clock.now();
      logger.warn({ userId, roomId, txnId, err: error }, 'a durable message cannot be sent yet, trying again');
    }
  }

  async #fail({ userId, roomId, txnId }: Omit<FailedSend, 'error'>, error: Error): Promise<void> {
    const { storage, logger, onFailed } = this.#options;
    const isListed = await storage.failSend(userId, txnId, toStored(error)).catch((err: unknown) => {
      logger.error(
        { userId, roomId, txnId, err },
        'a failed message could not be marked so; it is tried again after a restart',
      );
      return true;
    });
    if (!isListed) return; // it was discarded meanwhile
    logger.error(
      { userId, roomId, txnId, err: error },
      'a durable message failed; listSends({ state: "failed" }) lists it',
    );
    onFailed({ userId, roomId, txnId, error });
  }
}
/** A user id holds no NUL. */
function keyOf(userId: string, txnId: string): string {
  return `${userId}\0${txnId}`;
}
