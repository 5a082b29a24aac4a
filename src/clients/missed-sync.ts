import { delay } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import type { EventBatch } from '../core/event-source.js';
import type { Logger } from '../core/logger.js';
import { retryDelayMs } from '../http/retry.js';
import { cacheBuster, initialLimit, syncFilter, syncLimit } from './sync-query.js';
import type { SyncRequests } from './sync-requests.js';
import { readSyncResponse } from './sync-response.js';
import type { ReadSync } from './sync-response.js';

/** Where what came while nobody was there to take it is delivered to. */
export interface MissedSink {
  /** Gets ready; resolves to the position to ask from, undefined for everything. */
  begin(): Promise<string | undefined>;
  take(batch: EventBatch): Promise<void>;
}

export interface MissedSyncOptions {
  readonly userId: string;
  readonly requests: SyncRequests;
  readonly sink: MissedSink;
  readonly timelineLimit: number;
  readonly startTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends every poll. */
  readonly signal: AbortSignal;
}

const BACKOFF = { baseDelayMs: 1_000, maxDelayMs: 60_000 };

/**
 * Asks once more for what came while nobody was there to take it: a sync from the stored position, between two polls
 * and past the SDK, which has had all of it.
 */
export class MissedSync {
  readonly #options: MissedSyncOptions;
  #wanted: 'none' | 'news' | 'all' = 'none';
  /** Fires when a poll under way has to make place. */
  #interrupt = new AbortController();
  #begun = false;
  #failures = 0;
  #notBefore = 0;
  #asked = 0;
  #signal: AbortSignal;

  constructor(options: MissedSyncOptions) {
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, this.#interrupt.signal]);
  }

  /** Ends a poll when there is something to ask for. */
  get signal(): AbortSignal {
    return this.#signal;
  }

  /** Whether batches are to be dropped, because what lies before them has not come. */
  get isUnderWay(): boolean {
    return this.#begun;
  }

  /** @param history - whether the history of the first sync is asked for too; all rooms have to be there for that */
  want(history: boolean): void {
    if (this.#wanted !== 'all') this.#wanted = history ? 'all' : 'news';
    this.#interrupt.abort();
  }

  /** Makes up for what was missed, if there is something. A failure is made up for before a later poll. */
  async run(isGrowing: boolean, toBatch: (read: ReadSync, since: string | undefined) => EventBatch): Promise<void> {
    const { clock, logger, sink, userId, signal } = this.#options;
    if (this.#interrupt.signal.aborted) {
      this.#interrupt = new AbortController();
      this.#signal = AbortSignal.any([signal, this.#interrupt.signal]);
    }
    if (this.#wanted === 'none' || (this.#wanted === 'all' && isGrowing) || clock.now() < this.#notBefore) return;
    const wanted = this.#wanted;
    try {
      this.#wanted = 'none';
      this.#begun = true;
      const since = await sink.begin();
      const read = await this.#ask(wanted === 'all' ? undefined : since);
      this.#begun = false;
      this.#failures = 0;
      await sink.take(toBatch(read, wanted === 'all' ? undefined : since));
    } catch (error) {
      if (signal.aborted) throw error;
      if (this.#wanted === 'none') this.#wanted = wanted;
      const delayMs = retryDelayMs(error, ++this.#failures, BACKOFF);
      this.#notBefore = clock.now() + delayMs;
      logger.warn({ userId, err: error, delayMs }, 'asking for missed events failed, trying again');
      void delay(clock, delayMs, signal, 'asking for missed events').then(
        () => this.#interrupt.abort(),
        () => {},
      );
    }
  }

  async #ask(since: string | undefined): Promise<ReadSync> {
    const { clock, requests, timelineLimit, startTimeoutMs, requestTimeoutMs } = this.#options;
    const limit = (since === undefined ? initialLimit : syncLimit)(timelineLimit);
    // Synapse answers for two minutes as it did to the same question; what has come since would be missing.
    const timeout = since === undefined ? cacheBuster(clock) : 1 + ((cacheBuster(clock) + this.#asked++) % 1_000);
    const query = { filter: syncFilter(limit), since, timeout, set_presence: 'offline' };
    const data = await requests.sync(query, timeout + (since === undefined ? startTimeoutMs : requestTimeoutMs));
    return readSyncResponse(data, { since, catchUp: true, timelineLimit: limit });
  }
}
