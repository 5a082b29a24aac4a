import { delay } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import type { EventBatch } from '../core/ports/event-source.js';
import type { Logger } from '../core/logger.js';
import { FailingTime } from '../http/failing-time.js';
import type { AnswersOtherRequests } from '../http/failing-time.js';
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
  /** How long it may fail while the homeserver answers other requests, in milliseconds. */
  readonly gapFillTimeoutMs: number;
  readonly answersOtherwise: AnswersOtherRequests;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends every poll. */
  readonly signal: AbortSignal;
}

const BACKOFF = { baseDelayMs: 1_000, maxDelayMs: 60_000 };

/** How what was missed becomes a batch. */
export interface MissedBatches {
  /** @param since - the position asked from */
  fromAnswer(read: ReadSync, since: string | undefined): EventBatch;
  /** Has each room asked for what came in it since then. */
  withGaps(since: string | undefined): EventBatch;
}

/**
 * Asks once more for what came while nobody was there to take it: a sync from the stored position, between two polls
 * and past the SDK, which has had all of it. Where the homeserver fails to answer that, each room is asked instead.
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
  #failing: FailingTime | undefined;
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
  async run(growth: 'none' | 'due' | 'put-off', batches: MissedBatches): Promise<void> {
    const { clock, sink, signal, answersOtherwise } = this.#options;
    if (this.#interrupt.signal.aborted) {
      this.#interrupt = new AbortController();
      this.#signal = AbortSignal.any([signal, this.#interrupt.signal]);
    }
    const all = this.#history && growth === 'none';
    const waits = this.#history && growth === 'due';
    if (!(all || this.#news) || waits || clock.now() < this.#notBefore) return;
    const wanted = { news: this.#news, history: this.#history };
    this.#failing ??= new FailingTime(clock, answersOtherwise);
    let stored: string | undefined;
    try {
      this.#news = false;
      if (all) this.#history = false;
      this.#begun = true;
      stored = await sink.begin();
      const since = all || this.#positionLost ? undefined : stored;
      const read = await this.#ask(since);
      this.#end();
      await sink.take(batches.fromAnswer(read, since));
    } catch (error) {
      if (signal.aborted) throw error;
      await this.#failing?.failed(error);
      if (this.#isOver) return this.#giveUp(error, batches.withGaps(stored));
      this.#news ||= wanted.news;
      this.#history ||= wanted.history;
      this.#failed(error);
    }
  }

  get #isOver(): boolean {
    return (this.#failing?.ms ?? 0) >= this.#options.gapFillTimeoutMs;
  }

  #end(): void {
    this.#begun = false;
    this.#failures = 0;
    this.#positionLost = false;
    this.#rejections = 0;
    this.#failing = undefined;
  }

  /** Live events must not be held back for good. What a room does not tell either becomes a gap of that room. */
  async #giveUp(cause: unknown, batch: EventBatch): Promise<void> {
    const { logger, userId, sink } = this.#options;
    logger.error({ userId, err: cause }, 'asking for missed events took too long, asking room by room');
    this.#end();
    this.#history = false;
    await sink.take(batch);
  }

  #failed(cause: unknown): void {
    const { clock, logger, userId, signal } = this.#options;
    // The answer without a position is read as a gap, as after a position that a poll has lost.
    if (isManagerError(cause) && cause.status === 400 && cause.errcode) this.#positionLost = ++this.#rejections > 1;
    const left = this.#options.gapFillTimeoutMs - (this.#failing?.ms ?? 0);
    const delayMs = Math.min(retryDelayMs(cause, ++this.#failures, BACKOFF), left);
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
