import { delay, throwIfAborted } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { RecentMap } from '../core/recent-map.js';
import { FailingTime } from '../http/failing-time.js';
import type { AnswersOtherRequests } from '../http/failing-time.js';
import { failureClass, isRetryable } from '../http/failure-class.js';
import { retryDelayMs } from '../http/retry.js';
import type { Outgoing } from './message-sender.js';
import { GivenUp, isRefusal } from './send-failures.js';

export interface SendTriesOptions {
  /** Makes one attempt to send a message as its user. */
  readonly post: (outgoing: Outgoing) => Promise<{ eventId: string }>;
  /** How long a message may fail while the homeserver answers other requests, in milliseconds. */
  readonly sendTimeoutMs: number;
  readonly answersOtherwise: AnswersOtherRequests;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A message that is being sent, or waits for its next attempt. */
interface Trying {
  readonly failing: FailingTime;
  /** Since when attempts fail within this process, such as for want of a session. Milliseconds since the Unix epoch. */
  blockedSince: number | undefined;
}

export const OPERATION = 'sending a durable message';
/** Between two attempts. */
export const PAUSES = { baseDelayMs: 1_000, maxDelayMs: 60_000 };
/** For how many users the time of the last sent message is kept. */
const MAX_USERS = 10_000;
/** A message counts as stalled after it has failed for this long without an outage, in milliseconds. */
const STALLED_MS = 60_000;

/** Repeats the attempts to send durable messages, through outages and rate limits. */
export class SendTries {
  readonly #options: SendTriesOptions;
  readonly #trying = new Set<Trying>();
  /** When the homeserver last took a message of a user, in milliseconds since the Unix epoch. */
  readonly #lastTakenAt = new RecentMap<number>(MAX_USERS);

  constructor(options: SendTriesOptions) {
    this.#options = options;
  }

  /** How many messages have been failing for a minute without an outage. */
  get stalled(): number {
    const now = this.#options.clock.now();
    const isStalled = ({ failing, blockedSince = now }: Trying): boolean =>
      failing.ms >= STALLED_MS || now - blockedSince >= STALLED_MS;
    return [...this.#trying].filter(isStalled).length;
  }

  /**
   * Repeats until the homeserver accepts or refuses the message. A message of an earlier process (`isResumed`) also
   * waits until the user's session is known; a new message then rejects, because the caller made a mistake. Rejects with
   * {@link GivenUp} after the message has failed for `sendTimeoutMs` while the homeserver was up, and with `ABORTED` when
   * the signal is aborted.
   */
  async send(outgoing: Outgoing & { readonly signal: AbortSignal }, isResumed = false): Promise<{ eventId: string }> {
    const { post, clock, sendTimeoutMs } = this.#options;
    const { userId, signal } = outgoing;
    const failing = new FailingTime(clock, (since, error) => this.#answersOtherwise(userId, since, error));
    const trying: Trying = { failing, blockedSince: undefined };
    this.#trying.add(trying);
    try {
      for (let failures = 1; ; failures++) {
        try {
          const sent = await post(outgoing);
          this.#lastTakenAt.set(userId, clock.now());
          return sent;
        } catch (error) {
          throwIfAborted(signal, OPERATION);
          if (isRefusal(error) || (!isResumed && isManagerError(error, 'CLIENT_NOT_STARTED'))) throw error;
          await failing.failed(error);
          throwIfAborted(signal, OPERATION);
          if (failing.ms >= sendTimeoutMs && isManagerError(error)) throw new GivenUp(error, failing.ms);
          this.#noteBlocked(trying, outgoing, error);
          await delay(clock, retryDelayMs(error, failures, PAUSES), signal, OPERATION);
        }
      }
    } finally {
      this.#trying.delete(trying);
    }
  }

  /** A rate limit that lets the user's other messages through is not a failure: the message waits for its turn. */
  #answersOtherwise(userId: string, since: number, error: unknown): boolean | Promise<boolean> {
    const isInTurn = isManagerError(error, 'RATE_LIMITED') && (this.#lastTakenAt.get(userId) ?? -1) >= since;
    return !isInTurn && this.#options.answersOtherwise(since, error);
  }

  /** Logs once when a message cannot be sent for a reason in this process, such as a missing session. */
  #noteBlocked(trying: Trying, { userId, roomId, txnId }: Outgoing, error: unknown): void {
    const { clock, logger } = this.#options;
    const kind = failureClass(error);
    if (isRetryable(kind) || kind === 'unavailable') trying.blockedSince = undefined;
    else if (trying.blockedSince === undefined) {
      trying.blockedSince = clock.now();
      logger.warn({ userId, roomId, txnId, err: error }, 'a durable message cannot be sent yet; it is retried');
    }
  }
}
