import { delay } from '../core/abort.js';
import { isManagerError } from '../core/errors.js';
import type { EventBatch, EventReceiver } from '../core/ports/event-source.js';
import { FailingTime } from '../http/failing-time.js';
import { retryDelayMs } from '../http/retry.js';
import type { FastStart } from './fast-start.js';
import { initialLimit, syncFilter, syncLimit, uncachedFilter } from './sync-query.js';
import type { SyncContext } from './sync-context.js';
import type { SyncRequests } from './sync-requests.js';
import { readSyncResponse } from './sync-response.js';
import type { ParsedSync, RoomChanges } from './sync-response.js';

export interface MissedEventsSyncOptions {
  readonly fastStart: FastStart;
  /** How long the sync may fail while the homeserver answers other requests, in milliseconds. */
  readonly gapFillTimeoutMs: number;
}

const BACKOFF = { baseDelayMs: 1_000, maxDelayMs: 60_000 };

/** The client at its current position. */
export interface SyncedClient {
  readonly receiver: EventReceiver;
  /** Adds to the changes the data to resume from the current position, and makes that the batch's position. */
  toBatch(changes: RoomChanges): EventBatch;
  /** A batch in which every room has a gap since `since`, so that delivery reads each room from `/messages`. */
  gapsSince(since: string | undefined): RoomChanges;
}

/**
 * Fetches the events that arrived while the user had no callbacks. It makes one sync from the stored position between
 * two polls. The response goes to delivery only, because the SDK has already processed these events. If the homeserver
 * keeps failing to answer this sync, every room is read from `/messages` instead.
 */
export class MissedEventsSync {
  readonly #context: SyncContext;
  readonly #requests: SyncRequests;
  readonly #options: MissedEventsSyncOptions;
  #missedWanted = false;
  /** Whether the backlog of the first sync is requested too. */
  #backlogWanted = false;
  /** Aborts the current poll, so that {@link run} is called soon. */
  #interrupt = new AbortController();
  #blocksDelivery = false;
  #failures = 0;
  /** Whether the homeserver has rejected the stored position at least twice. */
  #positionRejected = false;
  #rejections = 0;
  /** In milliseconds since the Unix epoch. */
  #nextAttemptAt = 0;
  #failingTime: FailingTime | undefined;
  #signal: AbortSignal;

  constructor(context: SyncContext, requests: SyncRequests, options: MissedEventsSyncOptions) {
    this.#context = context;
    this.#requests = requests;
    this.#options = options;
    this.#signal = AbortSignal.any([context.signal, this.#interrupt.signal]);
  }

  /** The signal for the next poll, aborted when missed events are requested. Read it again after each {@link run}. */
  get signal(): AbortSignal {
    return this.#signal;
  }

  /** Whether the last attempt failed and will be repeated. */
  get isFailing(): boolean {
    return this.#failures > 0;
  }

  /**
   * Whether polled batches must not be delivered, because older missed events are still to come. Stays true between two
   * attempts.
   */
  get blocksDelivery(): boolean {
    return this.#blocksDelivery;
  }

  /** @param backlog - also fetch the backlog of the first sync; this waits until all rooms are loaded */
  request(backlog: boolean): void {
    this.#missedWanted = true;
    this.#backlogWanted ||= backlog;
    this.#interrupt.abort();
  }

  /**
   * Fetches the missed events if they were requested. Call it before each poll: a failed attempt is repeated by a later
   * call.
   * While further rooms are loaded, a requested backlog and the missed events wait for them. While loading them is
   * postponed, the missed events are fetched without the backlog.
   */
  async run(client: SyncedClient): Promise<void> {
    const { clock, signal, answersOtherRequests } = this.#context;
    const { fastStart } = this.#options;
    if (this.#interrupt.signal.aborted) {
      this.#interrupt = new AbortController();
      this.#signal = AbortSignal.any([signal, this.#interrupt.signal]);
    }
    const withBacklog = this.#backlogWanted && !fastStart.hasUnloadedRooms;
    const waits = this.#backlogWanted && fastStart.isRoomLoadDue;
    if (!(withBacklog || this.#missedWanted) || waits || clock.now() < this.#nextAttemptAt) return;
    const wanted = { missed: this.#missedWanted, backlog: this.#backlogWanted };
    this.#failingTime ??= new FailingTime(clock, answersOtherRequests);
    let stored: string | undefined;
    try {
      this.#missedWanted = false;
      if (withBacklog) this.#backlogWanted = false;
      this.#blocksDelivery = true;
      const { lastDelivered, ...checkpoint } = await client.receiver.restart();
      stored = checkpoint.since;
      const gapStart = this.#positionRejected ? undefined : stored;
      const sync = await this.#sync(withBacklog ? undefined : gapStart);
      this.#reset();
      // Without a position of the sync and of a room, what is new in the room begins at the stored position.
      const rooms = sync.batch.rooms.map((room) => (lastDelivered.has(room.roomId) ? room : { ...room, gapStart }));
      await this.#deliver(client, { ...sync, batch: { ...sync.batch, rooms } });
    } catch (error) {
      if (signal.aborted) throw error;
      await this.#failingTime?.failed(error);
      if (this.#isTimedOut) return this.#giveUp(error, client, stored);
      this.#missedWanted ||= wanted.missed;
      this.#backlogWanted ||= wanted.backlog;
      this.#scheduleRetry(error);
    }
  }

  get #isTimedOut(): boolean {
    return (this.#failingTime?.ms ?? 0) >= this.#options.gapFillTimeoutMs;
  }

  #reset(): void {
    this.#blocksDelivery = false;
    this.#failures = 0;
    this.#positionRejected = false;
    this.#rejections = 0;
    this.#failingTime = undefined;
  }

  /** Reads each room from `/messages` instead, because live events wait for the missed events. */
  async #giveUp(cause: unknown, client: SyncedClient, since: string | undefined): Promise<void> {
    const { logger, userId } = this.#context;
    logger.error({ userId, err: cause }, 'the sync for missed events kept failing; reading each room from /messages');
    this.#reset();
    await this.#deliver(client, client.gapsSince(since));
  }

  async #deliver(client: SyncedClient, changes: RoomChanges): Promise<void> {
    await client.receiver.acceptMissed(client.toBatch(this.#options.fastStart.markUnloadedRooms(changes)));
  }

  #scheduleRetry(cause: unknown): void {
    const { clock, logger, userId, signal } = this.#context;
    // A rejected position is dropped after the second time. The sync without a position is then delivered as a gap.
    if (isManagerError(cause) && cause.status === 400 && cause.errcode) this.#positionRejected = ++this.#rejections > 1;
    const left = this.#options.gapFillTimeoutMs - (this.#failingTime?.ms ?? 0);
    const delayMs = Math.min(retryDelayMs(cause, ++this.#failures, BACKOFF), left);
    this.#nextAttemptAt = clock.now() + delayMs;
    logger.warn({ userId, err: cause, delayMs }, 'the sync for missed events failed, trying again');
    void delay(clock, delayMs, signal, 'sync for missed events').then(
      () => this.#interrupt.abort(),
      () => {},
    );
  }

  async #sync(since: string | undefined): Promise<ParsedSync> {
    const { timelineLimit, limits } = this.#context;
    const limit = (since === undefined ? initialLimit : syncLimit)(timelineLimit);
    // Polls go on between two attempts, so the response to the first one would lack events.
    const filter = uncachedFilter(syncFilter(limit));
    const query = { filter, since, timeout: 0, set_presence: 'offline' };
    const data = await this.#requests.sync(
      query,
      since === undefined ? limits.startTimeoutMs : limits.requestTimeoutMs,
    );
    return readSyncResponse(data, { since, isCatchUp: true, timelineLimit: limit });
  }
}
