import { delay, throwIfAborted } from '../core/abort.js';
import { isManagerError } from '../core/errors.js';
import { RecentMap } from '../core/recent-map.js';
import type { SentMessage } from '../core/withheld-keys.js';
import { FailingTime } from '../http/failing-time.js';
import { failureClass, isRetryable } from '../http/failure-class.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import { retryDelayMs } from '../http/retry.js';
import type { OutgoingMessage } from './outgoing-message.js';
import { SendGivenUpError, isRefusal } from './send-failures.js';

export interface SendRetrierOptions {
  /** Makes one attempt to send a message as its user. */
  readonly sendOnce: (outgoing: OutgoingMessage) => Promise<SentMessage>;
  /** How long a message may fail while the homeserver answers other requests, in milliseconds. */
  readonly sendTimeoutMs: number;
}

export type SendRetrierContext = Pick<HomeserverContext, 'clock' | 'logger' | 'answersOtherRequests'>;

export interface DurableMessage extends OutgoingMessage {
  /** Whether an earlier process accepted the message. */
  readonly isResumed?: boolean;
}

/** A message that is being sent, or waits for its next attempt. */
interface PendingSend {
  readonly failing: FailingTime;
  /** Since when attempts fail within this process, such as for want of a session. Milliseconds since the Unix epoch. */
  blockedSince: number | undefined;
}

export const OPERATION = 'sending a durable message';
/** Between two attempts. */
export const RETRY_DELAYS = { baseDelayMs: 1_000, maxDelayMs: 60_000 };
/** For how many users the time of the last sent message is kept. */
const MAX_USERS = 10_000;
/** A message counts as stalled after it has failed for this long without an outage, in milliseconds. */
const STALLED_MS = 60_000;

/** Repeats the attempts to send durable messages, through outages and rate limits. */
export class SendRetrier {
  readonly #context: SendRetrierContext;
  readonly #options: SendRetrierOptions;
  readonly #pending = new Set<PendingSend>();
  /** When the homeserver last accepted a message of a user, in milliseconds since the Unix epoch. */
  readonly #lastAcceptedAt = new RecentMap<number>(MAX_USERS);

  constructor(context: SendRetrierContext, options: SendRetrierOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** How many messages have been failing for a minute without an outage. */
  get stalled(): number {
    const now = this.#context.clock.now();
    const isStalled = ({ failing, blockedSince = now }: PendingSend): boolean =>
      failing.ms >= STALLED_MS || now - blockedSince >= STALLED_MS;
    return [...this.#pending].filter(isStalled).length;
  }

  /**
   * Repeats until the homeserver accepts or refuses the message. A message of an earlier process also waits until the
   * user's session is known; a new message then rejects, because the caller made a mistake. Rejects
   * with {@link SendGivenUpError} after the message has failed for `sendTimeoutMs` while the homeserver was up, and
   * with `ABORTED` when the signal is aborted.
   */
  async send(outgoing: DurableMessage & { readonly signal: AbortSignal }): Promise<SentMessage> {
    const { sendOnce, sendTimeoutMs } = this.#options;
    const { clock } = this.#context;
    const { userId, signal } = outgoing;
    const failing = new FailingTime(clock, (since, error) => this.#countsAsFailing(userId, since, error));
    const pending: PendingSend = { failing, blockedSince: undefined };
    this.#pending.add(pending);
    try {
      for (let failures = 1; ; failures++) {
        try {
          const sent = await sendOnce(outgoing);
          this.#lastAcceptedAt.set(userId, clock.now());
          return sent;
        } catch (error) {
          throwIfAborted(signal, OPERATION);
          if (isRefusal(error) || (!outgoing.isResumed && isManagerError(error, 'CLIENT_NOT_STARTED'))) throw error;
          await failing.failed(error);
          throwIfAborted(signal, OPERATION);
          if (failing.ms >= sendTimeoutMs && isManagerError(error)) throw new SendGivenUpError(error, failing.ms);
          this.#noteBlocked(pending, outgoing, error);
          await delay(clock, retryDelayMs(error, failures, RETRY_DELAYS), signal, OPERATION);
        }
      }
    } finally {
      this.#pending.delete(pending);
    }
  }

  /**
   * Whether the time of this failure counts towards `sendTimeoutMs`. It does not during a rate limit in which the
   * homeserver has accepted another message of the user: this message only waits for its turn.
   */
  #countsAsFailing(userId: string, since: number, error: unknown): boolean | Promise<boolean> {
    const isInTurn = isManagerError(error, 'RATE_LIMITED') && (this.#lastAcceptedAt.get(userId) ?? -1) >= since;
    return !isInTurn && this.#context.answersOtherRequests(since, error);
  }

  /** Logs once when a message cannot be sent for a reason in this process, such as a missing session. */
  #noteBlocked(pending: PendingSend, { userId, roomId, txnId }: OutgoingMessage, error: unknown): void {
    const { clock, logger } = this.#context;
    const kind = failureClass(error);
    if (isRetryable(kind) || kind === 'unavailable') pending.blockedSince = undefined;
    else if (pending.blockedSince === undefined) {
      pending.blockedSince = clock.now();
      logger.warn({ userId, roomId, txnId, err: error }, 'a durable message cannot be sent yet; it is retried');
    }
  }
}
