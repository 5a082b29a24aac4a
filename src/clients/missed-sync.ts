import { delay } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
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
  /** Whether what came while nobody was there is wanted, and whether the history of the first sync is. */
  #news = false;
  #history = false;
  /** Fires when a poll under way has to make place. */
  #interrupt = new AbortController();
  #begun = false;
  #failures = 0;
  /** Whether the homeserver has rejected the stored position, and that more than once. */
  #positionLost = false;
  #rejections = 0;
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

  /** Whether the homeserver has failed to tell what was missed, and will be asked again. */
  get isFailing(): boolean {
    return this.#failures > 0;
  }

  /** Whether batches are to be dropped, because what lies before them has not come. */
  get isUnderWay(): boolean {
    return this.#begun;
  }

  /** @param history - whether the history of the first sync is asked for too; all rooms have to be there for that */
  want(history: boolean): void {
    this.#news = true;
    this.#history ||= history;
    this.#interrupt.abort();
  }

  /**
   * Makes up for what was missed, if there is something. A failure is made up for before a later poll.
   * @param growth - whether rooms are missing: what waits for them waits while they are `due`, not while they are put off
   */
  async run(
    growth: 'none' | 'due' | 'put-off',
    toBatch: (read: ReadSync, since: string | undefined) => EventBatch,
  ): Promise<void> {
    const { clock, sink, signal } = this.#options;
    if (this.#interrupt.signal.aborted) {
      this.#interrupt = new AbortController();
      this.#signal = AbortSignal.any([signal, this.#interrupt.signal]);
    }
    const all = this.#history && growth === 'none';
    const waits = this.#history && growth === 'due';
    if (!(all || this.#news) || waits || clock.now() < this.#notBefore) return;
    const wanted = { news: this.#news, history: this.#history };
    try {
      this.#news = false;
      if (all) this.#history = false;
      this.#begun = true;
      const stored = await sink.begin();
      const since = all || this.#positionLost ? undefined : stored;
      const read = await this.#ask(since);
      this.#begun = false;
      this.#failures = 0;
      this.#positionLost = false;
      this.#rejections = 0;
      await sink.take(toBatch(read, since));
    } catch (error) {
      if (signal.aborted) throw error;
      this.#news ||= wanted.news;
      this.#history ||= wanted.history;
      this.#failed(error);
    }
  }

  #failed(cause: unknown): void {
    const { clock, logger, userId, signal } = this.#options;
    // The answer without a position is read as a gap, as after a position that a poll has lost.
    if (isManagerError(cause) && cause.status === 400 && cause.errcode) this.#positionLost = ++this.#rejections > 1;
    const delayMs = retryDelayMs(cause, ++this.#failures, BACKOFF);
    this.#notBefore = clock.now() + delayMs;
    logger.warn({ userId, err: cause, delayMs }, 'asking for missed events failed, trying again');
    void delay(clock, delayMs, signal, 'asking for missed events').then(
      () => this.#interrupt.abort(),
      () => {},
    );
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
