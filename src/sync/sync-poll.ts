import { randomUUID } from 'node:crypto';
import { delay, throwIfAborted, whenAborted } from '../core/abort.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { failureClass, isRetryable } from '../http/failure-class.js';
import { retryDelayMs } from '../http/retry.js';
import { initialLimit, syncLimit, uncachedFilter } from './sync-query.js';
import { requestSync, SYNC_PATH } from './sync-requests.js';
import type { SyncQuery } from './sync-requests.js';
import { readSyncResponse } from './sync-response.js';
import type { ParsedSync } from './sync-response.js';
import type { FastStart } from './fast-start.js';
import type { SyncContext } from './sync-context.js';

/** The part of the client's encryption that the poll uses. */
export interface PollEncryption {
  /** Set when keys could not be stored. The poll then stops: another sync would confirm their receipt, and the homeserver deletes them. */
  readonly failure: MatrixClientManagerError | undefined;
  /** Called before a sync without a position, which does not list the devices that have changed. */
  refetchDeviceLists(): void;
  /** Rejects if the homeserver no longer has the device's keys. */
  assertKnownDevice(): Promise<void>;
}

export interface SyncPollOptions {
  readonly fastStart: FastStart;
  /** The position to resume from. */
  readonly resumesFrom: string | undefined;
  /** Whether an event was ever delivered to the user. */
  readonly hasDeliveredBefore: boolean;
  readonly encryption: PollEncryption | undefined;
  /** Called when the connection to the homeserver is lost and when it is back. */
  readonly onReachableChanged: (connected: boolean) => void;
  /**
   * Called when a sync fails permanently, or fails `START_ATTEMPTS` times during a start. {@link SyncPoll.next} then stays
   * pending until its signal fires, and rejects.
   */
  readonly onFailure: (error: MatrixClientManagerError) => void;
}

export interface SyncResult extends ParsedSync {
  /** How long the request took, in milliseconds. */
  readonly durationMs: number;
}

/** Failed syncs in a row after which the start of a client fails. */
const START_ATTEMPTS = 3;
/** Rejections of the session in a row after which a live client ends. */
const MAX_SESSION_REJECTIONS = 3;
/** Interval between syncs that do not change the position, in milliseconds. It grows up to the second value. */
const MIN_UNCHANGED_MS = 1_000;
const MAX_UNCHANGED_MS = 10_000;
const BACKOFF = { baseDelayMs: 1_000, maxDelayMs: 60_000 };

/**
 * Makes the syncs that the SDK asks for: each call of {@link SyncPoll.next} returns one. Decides when to send a `/sync`
 * and from which position, and retries after a failure; without a limit once the client is live.
 *
 * This file is a little long because the position, the pauses and the failures of the poll depend on each other.
 */
export class SyncPoll {
  readonly #context: SyncContext;
  readonly #options: SyncPollOptions;
  /** How often in a row the homeserver has reported the session or the account as ended. */
  #sessionRejections = 0;
  /** Results that {@link next} has not returned yet. */
  readonly #queuedResults: SyncResult[] = [];
  /** Pause between two syncs while the client rests, in milliseconds; undefined while it does not rest. */
  #restMs: number | undefined;
  /** Aborted by {@link wake}. */
  #restEnd = new AbortController();
  #connected = false;
  /** The position that the homeserver rejected. The SDK repeats it until a sync gives another one. */
  #lostPosition: string | undefined;
  /** The position that the homeserver rejected once. It is tried once more before it counts as lost. */
  #suspectPosition: string | undefined;
  /** Number of positions in a row that were rejected without one successful sync from them. */
  #positionLosses = 0;
  #lastSyncAt: number | undefined;
  /** The access token of the last sync; if it changes, the session was renewed. */
  #lastToken: string | undefined;
  /** Whether the client has rested since the last sync, so that it may lack events. */
  #hasRested = false;
  /** Number of syncs in a row that did not change the position. */
  #unchangedCount = 0;
  /** Whether a sync has succeeded since the start. A later sync from the same position is not a catch-up. */
  #hasSynced = false;
  /**
   * Makes the filter unique until a sync has succeeded, and for each sync without a position, so that no cached response
   * is used. Attempts of the same sync share it: a slow homeserver then has the response ready for the second attempt.
   */
  #nonce = randomUUID();
  /** Earliest time of the next sync, in milliseconds since the Unix epoch. */
  #nextSyncAt = 0;

  constructor(context: SyncContext, options: SyncPollOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** Time of the last successful sync, in milliseconds since the Unix epoch. */
  get lastSyncAt(): number | undefined {
    return this.#lastSyncAt;
  }

  /** Whether the client is connected and has not rested since the last sync. */
  get isCurrent(): boolean {
    return this.#connected && this.#restMs === undefined && !this.#hasRested;
  }

  /** Whether {@link next} will return a result without a request. */
  get hasQueuedResult(): boolean {
    return this.#queuedResults.length > 0;
  }

  /** After the current poll, pauses for `pollIntervalMs` milliseconds before each poll. Infinity: stops polling. */
  rest(pollIntervalMs: number): void {
    this.#restMs = pollIntervalMs;
    if (this.#restEnd.signal.aborted) this.#restEnd = new AbortController();
  }

  /** Ends a rest: polls immediately, and without pauses from then on. */
  wake(): void {
    this.#restMs = undefined;
    this.#restEnd.abort();
  }

  /**
   * Resolves with the next sync, after repeated attempts if needed. Rejects when the signal fires.
   * @param signal - must fire no later than the signal of the context; if it fires earlier, `next` may be called again
   */
  async next(query: SyncQuery, signal = this.#context.signal): Promise<SyncResult> {
    const queued = this.#queuedResults.shift();
    if (queued) return queued;
    const { gate, clock, logger, userId, isStarting } = this.#context;
    const { encryption, fastStart } = this.#options;
    const failure = encryption?.failure;
    if (failure) {
      await whenAborted(signal); // a sync from the new position would confirm keys that are not stored
      throw failure;
    }
    let retrying = false;
    for (let failures = 0; ;) {
      const since = query.since === this.#lostPosition ? undefined : query.since;
      // A reconnecting client does not rest, so that it is not reported as disconnected for the whole rest.
      const mayRest = !retrying && !isStarting() && !fastStart.isRoomLoadDue;
      const rested = mayRest && (await this.#pauseWhileResting(signal));
      // Failures before or during an outage do not count after it.
      if (!isStarting() && (await gate.waitUntilUp(signal))) failures = 0;
      const waitMs = this.#nextSyncAt - clock.now();
      if (this.#unchangedCount > 0 && waitMs > 0) await delay(clock, waitMs, signal, 'sync');
      const startedAt = clock.now();
      try {
        await this.#assertSameDevice();
        // After a failure the homeserver must answer immediately, so that a restored connection is noticed early.
        const immediate = since === undefined || retrying || rested || fastStart.isRoomLoadDue;
        const timeout = immediate ? 0 : query.timeout;
        const result = await this.#sync({ ...query, since, timeout }, signal);
        this.#hasRested = false;
        this.#hasSynced = true;
        this.#lastSyncAt = clock.now();
        this.#setConnected(true);
        this.#sessionRejections = 0;
        this.#suspectPosition = undefined;
        if (since === undefined) this.#lostPosition = undefined; // the new position may equal the lost one
        else this.#positionLosses = 0;
        this.#noteProgress(timeout === 0 || result.batch.position !== since, startedAt);
        return result;
      } catch (error) {
        if (signal.aborted) throw error;
        if (since !== undefined && isManagerError(error) && error.status === 400 && error.errcode) {
          if (this.#suspectPosition !== since) {
            this.#suspectPosition = since;
            await delay(clock, retryDelayMs(error, 1, BACKOFF), signal, 'sync');
            continue;
          }
          this.#lostPosition = since;
          this.#nonce = randomUUID();
          encryption?.refetchDeviceLists();
          logger.warn({ userId, err: error }, 'the homeserver rejected the sync position; starting an initial sync');
          // A homeserver that rejects each of its positions would get one initial sync after the other without a pause.
          if (this.#positionLosses++ > 0) {
            await delay(clock, retryDelayMs(error, this.#positionLosses, BACKOFF), signal, 'sync');
          }
          continue;
        }
        failures++;
        retrying = true;
        this.#setConnected(false);
        await this.#handleFailure(error, failures, signal);
      }
    }
  }

  /** Checks the device after a new token: a login may have created it again under the same id, without its keys. */
  async #assertSameDevice(): Promise<void> {
    const { encryption } = this.#options;
    const token = this.#context.session.current?.accessToken;
    if (this.#lastToken !== undefined && token !== this.#lastToken) await encryption?.assertKnownDevice();
    this.#lastToken = token;
  }

  /** Waits before the next attempt. On a permanent failure it reports the error and rejects when the signal fires. */
  async #handleFailure(error: unknown, failures: number, signal: AbortSignal): Promise<void> {
    const { clock, gate, logger, diagnostics, userId, isStarting } = this.#context;
    const kind = failureClass(error);
    if (kind === 'unavailable' && !isStarting()) return; // gate.waitUntilUp() waits for it
    const isLastAttempt = isStarting() && failures >= START_ATTEMPTS;
    const isFinal = !isRetryable(kind) && (isStarting() || this.#endsClient(error));
    if (isFinal || isLastAttempt) {
      this.#options.onFailure(clientFailure(error, userId));
      await whenAborted(signal);
      throw error;
    }
    const delayMs = retryDelayMs(error, failures, BACKOFF);
    logger.warn({ userId, err: error, failures, delayMs }, 'sync failed, trying again');
    if (isStarting()) await delay(clock, delayMs, signal, 'sync');
    else await gate.delayUntilDown(delayMs, signal);
    diagnostics.publish('requestRepeated', { method: 'GET', path: SYNC_PATH });
  }

  /**
   * Whether a failure that is not retryable ends a live client. An error of the library's own code does, and so does a
   * homeserver that repeatedly reports the session or the account as ended. The client survives every other rejected
   * sync, because the cause may go away: a wrong route to a worker, a limit of active users, a locked account.
   */
  #endsClient(error: unknown): boolean {
    const isRejection = isManagerError(error, 'UNKNOWN_TOKEN', 'USER_DEACTIVATED');
    if (isRejection) return ++this.#sessionRejections >= MAX_SESSION_REJECTIONS;
    return !isManagerError(error) || error.status === undefined;
  }

  /** Pauses while the client rests; returns whether it paused. */
  async #pauseWhileResting(signal: AbortSignal): Promise<boolean> {
    const restMs = this.#restMs;
    if (restMs === undefined) return false;
    this.#hasRested = true;
    const { clock } = this.#context;
    const ended = AbortSignal.any([signal, this.#restEnd.signal]);
    await (restMs === Infinity ? whenAborted(ended) : delay(clock, restMs, ended, 'sync').catch(() => {}));
    throwIfAborted(signal, 'sync');
    return true;
  }

  /** Delays the next sync if the position did not change: a homeserver may answer immediately without events. */
  #noteProgress(moved: boolean, startedAt: number): void {
    this.#unchangedCount = moved ? 0 : this.#unchangedCount + 1;
    this.#nextSyncAt = startedAt + Math.min(MAX_UNCHANGED_MS, MIN_UNCHANGED_MS * this.#unchangedCount);
  }

  /** Returns the first result, and puts further ones into {@link #queuedResults}. */
  async #sync(query: SyncQuery, signal: AbortSignal): Promise<SyncResult> {
    const { clock } = this.#context;
    const { since } = query;
    const startedAt = clock.now();
    const isCatchUp =
      since === undefined ? this.#lostPosition !== undefined : since === this.#options.resumesFrom && !this.#hasSynced;
    const loaded = await this.#loadRooms(since, isCatchUp);
    const syncs = loaded ?? [await this.#plainSync(query, isCatchUp, signal)];
    const durationMs = clock.now() - startedAt;
    const [first, ...others] = syncs.map((sync) => ({ ...sync, durationMs })) as [SyncResult, ...SyncResult[]];
    this.#queuedResults.push(...others);
    return first;
  }

  /** The first or the next rooms of a fast start, with the live events; undefined if a plain sync is to be made. */
  async #loadRooms(since: string | undefined, isCatchUp: boolean): Promise<ParsedSync[] | undefined> {
    const { fastStart, hasDeliveredBefore } = this.#options;
    if (since !== undefined) return fastStart.isRoomLoadDue ? fastStart.loadMoreRooms(since, isCatchUp) : undefined;
    // After earlier deliveries, every room may have missed events, so all rooms are needed.
    return !isCatchUp && !hasDeliveredBefore ? fastStart.loadFirstRooms() : undefined;
  }

  async #plainSync(query: SyncQuery, isCatchUp: boolean, signal: AbortSignal): Promise<ParsedSync> {
    const { limits, userId } = this.#context;
    const { since, timeout } = query;
    const timeoutMs = since === undefined ? limits.startTimeoutMs : timeout + limits.requestTimeoutMs;
    const isFirst = since === undefined || !this.#hasSynced;
    const filter = isFirst ? uncachedFilter(query.filter, this.#nonce) : query.filter;
    const data = await requestSync(this.#context, { ...query, filter }, timeoutMs, signal);
    const limit = since === undefined && !isCatchUp ? initialLimit : syncLimit; // those of the SDK's filter
    const timelineLimit = limit(this.#context.timelineLimit);
    const sync = readSyncResponse(data, { userId, since, isCatchUp, timelineLimit });
    return this.#options.fastStart.recordPlainSync(sync);
  }

  #setConnected(connected: boolean): void {
    if (connected === this.#connected || this.#context.signal.aborted) return;
    this.#connected = connected;
    this.#options.onReachableChanged(connected);
  }
}

/** The error that a failed client reports: the error itself, or `CLIENT_FAILED` with it as the cause. */
export function clientFailure(error: unknown, userId: string): MatrixClientManagerError {
  if (isManagerError(error)) return error;
  return new MatrixClientManagerError('CLIENT_FAILED', `the client of ${userId} failed`, { userId, cause: error });
}
