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
  /** Sends one message as its user; called when its turn has come. */
  readonly post: (outgoing: Outgoing) => Promise<{ eventId: string }>;
  /** How long a message may fail on a homeserver that answers otherwise, in milliseconds. */
  readonly sendTimeoutMs: number;
  readonly answersOtherwise: AnswersOtherRequests;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A message that is being tried. */
interface Trying {
  readonly failing: FailingTime;
  /** Since when nothing but this process has kept it from being sent, in milliseconds since the Unix epoch. */
  blockedSince: number | undefined;
}

export const OPERATION = 'sending a durable message';
/** Between two tries. */
export const PAUSES = { baseDelayMs: 1_000, maxDelayMs: 60_000 };
/** Users of whom it is remembered when a message of theirs was last taken. */
const MAX_USERS = 10_000;
/** A message counts as stalled when it has failed for this long without an outage, in milliseconds. */
const STALLED_MS = 60_000;

/** Sends messages that are worth any wait that ends, and any wait that the homeserver asks for. */
export class SendTries {
  readonly #options: SendTriesOptions;
  readonly #trying = new Set<Trying>();
  /** When the homeserver last took a message of a user, in milliseconds since the Unix epoch. */
  readonly #lastTakenAt = new RecentMap<number>(MAX_USERS);

  constructor(options: SendTriesOptions) {
    this.#options = options;
  }

  /** How many messages could not be sent for a minute, although there is no outage. */
  get stalled(): number {
    const now = this.#options.clock.now();
    const isStalled = ({ failing, blockedSince = now }: Trying): boolean =>
      failing.ms >= STALLED_MS || now - blockedSince >= STALLED_MS;
    return [...this.#trying].filter(isStalled).length;
  }

  /**
   * Tries until the homeserver takes or refuses the message. A message of an earlier process (`isResumed`) also waits
   * until the application has made its user's session known; for a new one that is the caller's mistake. Rejects with {@link GivenUp} when it has failed for
   * `sendTimeoutMs` while the homeserver was up, and with `ABORTED` when the signal fires.
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

  /** A rate limit that lets other messages of the user through is no failure: the message waits for its turn. */
  #answersOtherwise(userId: string, since: number, error: unknown): boolean | Promise<boolean> {
    const isInTurn = isManagerError(error, 'RATE_LIMITED') && (this.#lastTakenAt.get(userId) ?? -1) >= since;
    return !isInTurn && this.#options.answersOtherwise(since, error);
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
}
