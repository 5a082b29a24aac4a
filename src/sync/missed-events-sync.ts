import { delay } from '../core/abort.js';
import { isManagerError } from '../core/errors.js';
import type { EventBatch, EventReceiver } from '../core/ports/event-source.js';
import { FailingTime } from '../http/failing-time.js';
import { retryDelayMs } from '../http/retry.js';
import type { FastStart } from './fast-start.js';
import type { SyncContext } from './sync-context.js';
import { syncOnce } from './sync-requests.js';
import type { RoomChanges } from './sync-response.js';

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
  readonly #fastStart: FastStart;
  #missedWanted = false;
  /** Whether the backlog of the first sync is requested too. */
  #backlogWanted = false;
  /** Aborts the current poll, so that {@link run} is called soon. */
  #interrupt = new AbortController();
  /** Failed attempts in a row, and how often the homeserver has rejected the stored position in them. */
  #failures = 0;
  #rejections = 0;
  /** In milliseconds since the Unix epoch. */
  #nextAttemptAt = 0;
  /** Set from the first attempt until one succeeds or the sync is given up. */
  #failingTime: FailingTime | undefined;
  #signal: AbortSignal;

  constructor(context: SyncContext, fastStart: FastStart) {
    this.#context = context;
    this.#fastStart = fastStart;
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
    return this.#failingTime !== undefined;
  }

  /** @param backlog - also fetch the backlog of the first sync; this waits until all rooms are loaded */
  request(backlog: boolean): void {
    this.#missedWanted = true;
    this.#backlogWanted ||= backlog;
    this.#interrupt.abort();
  }

  /** Aborts the current poll, which is then made again: what it asks for has changed. */
  repeatPoll(): void {
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
    const fastStart = this.#fastStart;
    if (this.#interrupt.signal.aborted) {
      this.#interrupt = new AbortController();
      this.#signal = AbortSignal.any([signal, this.#interrupt.signal]);
    }
    const withBacklog = this.#backlogWanted && !fastStart.hasUnloadedRooms;
    const waits = this.#backlogWanted && fastStart.isRoomLoadDue;
    if (!(withBacklog || this.#missedWanted) || waits || clock.now() < this.#nextAttemptAt) return;
    this.#failingTime ??= new FailingTime(clock, answersOtherRequests);
    let stored: string | undefined;
    try {
      this.#missedWanted = false;
      if (withBacklog) this.#backlogWanted = false;
      const { lastDelivered, ...checkpoint } = await client.receiver.restart();
      stored = checkpoint.since;
      // After the second rejection the stored position is dropped. The sync without one is then delivered as a gap.
      const gapStart = this.#rejections > 1 ? undefined : stored;
      // Polls go on between two attempts, so a cached response would lack events.
      const sync = await syncOnce(this.#context, { since: withBacklog ? undefined : gapStart, isCatchUp: true });
      this.#reset();
      // Without a position of the sync and of a room, what is new in the room begins at the stored position.
      const rooms = sync.batch.rooms.map((room) => (lastDelivered.has(room.roomId) ? room : { ...room, gapStart }));
      await this.#deliver(client, { ...sync, batch: { ...sync.batch, rooms } });
    } catch (error) {
      if (signal.aborted) throw error;
      await this.#failingTime?.failed(error);
      if (this.#remainingMs <= 0) return this.#giveUp(error, client, stored);
      this.#missedWanted = true;
      this.#backlogWanted ||= withBacklog;
      this.#scheduleRetry(error);
    }
  }

  /** How long the sync may go on failing, in milliseconds. */
  get #remainingMs(): number {
    return this.#context.gapFillTimeoutMs - (this.#failingTime?.ms ?? 0);
  }

  #reset(): void {
    this.#failures = 0;
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
    await client.receiver.acceptMissed(client.toBatch(this.#fastStart.markUnloadedRooms(changes)));
  }

  #scheduleRetry(cause: unknown): void {
    const { clock, logger, userId, signal } = this.#context;
    if (isManagerError(cause) && cause.status === 400 && cause.errcode) this.#rejections++;
    const delayMs = Math.min(retryDelayMs(cause, ++this.#failures, BACKOFF), this.#remainingMs);
    this.#nextAttemptAt = clock.now() + delayMs;
    logger.warn({ userId, err: cause, delayMs }, 'the sync for missed events failed, trying again');
    void delay(clock, delayMs, signal, 'sync for missed events').then(
      () => this.#interrupt.abort(),
      () => {},
    );
  }
}
