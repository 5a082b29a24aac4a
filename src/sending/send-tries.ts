import { delay, throwIfAborted } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { FailingTime } from '../http/failing-time.js';
import type { AnswersOtherwise } from '../http/failing-time.js';
import { failureClass, isRetryable } from '../http/failure-class.js';
import { retryDelayMs } from '../http/retry.js';
import type { Outgoing } from './message-sender.js';
import { GivenUp, isRefusal } from './send-failures.js';

export interface SendTriesOptions {
  /** Sends one message as its user; called when its turn has come. */
  readonly post: (outgoing: Outgoing) => Promise<{ eventId: string }>;
  /** How long a message may fail on a homeserver that answers otherwise, in milliseconds. */
  readonly sendTimeoutMs: number;
  readonly answersOtherwise: AnswersOtherwise;
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
/** A message counts as stalled when it has failed for this long without an outage, in milliseconds. */
const STALLED_MS = 60_000;

/** Sends messages that are worth any wait that ends, and any wait that the homeserver asks for. */
export class SendTries {
  readonly #options: SendTriesOptions;
  readonly #trying = new Set<Trying>();

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
   * Tries until the homeserver takes or refuses the message. Rejects with {@link GivenUp} when it has failed for
   * `sendTimeoutMs` while the homeserver was up, and with `ABORTED` when the signal fires.
   */
  async send(outgoing: Outgoing & { readonly signal: AbortSignal }): Promise<{ eventId: string }> {
    const { post, clock, answersOtherwise, sendTimeoutMs } = this.#options;
    const { signal } = outgoing;
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
          if (failing.ms >= sendTimeoutMs && isManagerError(error)) throw new GivenUp(error, failing.ms);
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
}
