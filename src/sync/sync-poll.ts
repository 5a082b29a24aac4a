import { whenAborted, abortedError, delay } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { RequestGate } from '../core/ports/request-gate.js';
import type { Telemetry } from '../core/telemetry.js';
import { failureClass, isRetryable } from '../http/failure-class.js';
import { invalidResponse } from '../http/response-error.js';
import { retryDelayMs } from '../http/retry.js';
import type { Session } from '../http/session.js';
import { clientFailure, EndOfSession } from './client-failure.js';
import type { FastStart, SyncChunk } from './fast-start.js';
import { cacheBuster, initialLimit, syncLimit } from './sync-query.js';
import { SYNC_PATH } from './sync-requests.js';
import type { SyncQuery, SyncRequests } from './sync-requests.js';
import { MalformedSync, readSyncResponse } from './sync-response.js';

/** What a client needs to know of the way to the homeserver. */
export interface ClientGate extends RequestGate {
  /** Resolves when the homeserver is up, with whether that took waiting; those who waited come one after the other. */
  up(signal: AbortSignal): Promise<boolean>;
  /** Waits `delayMs`, or until the homeserver is down. */
  pause(delayMs: number, signal: AbortSignal): Promise<void>;
}

/** What the poll needs of the client's encryption. */
export interface PollEncryption {
  /** Why no further sync may be asked for: a change of keys could not be stored. */
  readonly failure: MatrixClientManagerError | undefined;
  /** The next sync is a fresh one, which does not tell whose devices have changed. */
  forgetDeviceLists(): void;
  /** Rejects where the homeserver does not have the device's keys any more. */
  assertKnownDevice(): Promise<void>;
}

export interface SyncPollOptions {
  readonly userId: string;
  readonly session: Session;
  readonly requests: SyncRequests;
  readonly fast: FastStart;
  /** The position to resume from. */
  readonly resumesFrom: string | undefined;
  /** Whether anything has been delivered to the user before. */
  readonly isKnown: boolean;
  readonly gate: ClientGate;
  readonly encryption?: PollEncryption | undefined;
  readonly telemetry: Telemetry;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timelineLimit: number;
  readonly startTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** Ends the poll. */
  readonly signal: AbortSignal;
  /** Whether the client has not had its first sync. */
  readonly isStarting: () => boolean;
  /** Called when the connection to the homeserver is lost and when it is back. */
  readonly onConnection: (connected: boolean) => void;
  /** Called when the homeserver rejects the position; a fresh sync follows. */
  readonly onPositionLost: (error: MatrixClientManagerError) => void;
  /** Called when there is no going on; what asked for a sync gets an answer from the signal only. */
  readonly onFailure: (error: MatrixClientManagerError) => void;
}

/** What one sync brought. */
export interface SyncResult extends SyncChunk {
  readonly durationMs: number;
}

/** Sync failures in a row, each with a back-off before the next try, that a client takes before its start fails. */
const START_ATTEMPTS = 3;
/** Time between syncs that do not move the position: it grows to the second value, in milliseconds. */
const MIN_UNCHANGED_MS = 1_000;
const MAX_UNCHANGED_MS = 10_000;
const BACKOFF = { baseDelayMs: 1_000, maxDelayMs: 60_000 };

/**
 * Asks for one sync after the other: when, from where, and again after a failure, for as long as that takes.
 *
 * This file is a little long because the position, the pauses and the failures of the poll decide about each other.
 */
export class SyncPoll {
  readonly #options: SyncPollOptions;
  readonly #endOfSession = new EndOfSession();
  /** Answers that the SDK has not asked for yet. */
  readonly #answers: SyncResult[] = [];
  /** How long to wait from one sync to the next while the user rests; undefined while they do not. */
  #restMs: number | undefined;
  #endRest: (() => void) | undefined;
  #connected = false;
  /** The position that the homeserver rejected: the SDK goes on asking from it until it gets another. */
  #lostPosition: string | undefined;
  /** The position that the homeserver rejected once: it is asked again before the position is given up. */
  #doubtedPosition: string | undefined;
  /** Positions rejected in a row, none of which served for a sync. */
  #losses = 0;
  #lastSyncAt: number | undefined;
  /** The token of which it is known that its device is the client's own. */
  #token: string | undefined;
  /** Whether the client has rested since its last sync. */
  #behind = false;
  /** Answers in a row that did not move the position. */
  #unchanged = 0;
  /** Whether what had been missed before the start has come: the position may stay the same after it. */
  #caughtUp = false;
  /** When the next sync may go out; in the past where there is no reason to wait. */
  #notBefore = 0;

  constructor(options: SyncPollOptions) {
    this.#options = options;
  }

  /** When the homeserver last answered, in milliseconds since the Unix epoch. */
  get lastSyncAt(): number | undefined {
    return this.#lastSyncAt;
  }

  /** Whether it is connected, and does not rest. */
  get isCurrent(): boolean {
    return this.#connected && this.#restMs === undefined && !this.#behind;
  }

  /** Whether something has been answered and not been asked for yet. */
  get hasAnswer(): boolean {
    return this.#answers.length > 0;
  }

  /** Polls only every `pollIntervalMs` after the poll that is under way; never, where that is Infinity. */
  rest(pollIntervalMs: number): void {
    this.#restMs = pollIntervalMs;
  }

  /** Polls at once, and goes on without pauses. */
  wake(): void {
    if (this.#restMs === undefined) return;
    this.#restMs = undefined;
    this.#endRest?.();
  }

  /**
   * One sync that succeeds, however long that takes. Rejects when the signal fires.
   * @param signal - the signal of the options, or one that fires with it and earlier, after which it is asked again
   */
  async next(query: SyncQuery, signal = this.#options.signal): Promise<SyncResult> {
    const ready = this.#answers.shift();
    if (ready) return ready;
    const { encryption, gate, clock, fast, isStarting, onPositionLost } = this.#options;
    const failure = encryption?.failure;
    if (failure) {
      await whenAborted(signal); // to ask from the new position would be to say that its keys have arrived
      throw failure;
    }
    let retrying = false;
    for (let failures = 0; ;) {
      const asked = query.since === undefined ? undefined : String(query.since);
      const since = asked === this.#lostPosition ? undefined : asked;
      // A reconnecting client does not rest, so that it is not reported as disconnected for the whole rest.
      const mayRest = !retrying && !isStarting() && !fast.isDue;
      const rested = mayRest && (await this.#pause(signal));
      // What failed before or in an outage says nothing about the time after it.
      if (!isStarting() && (await gate.up(signal))) failures = 0;
      const waitMs = this.#notBefore - clock.now();
      if (this.#unchanged > 0 && waitMs > 0) await delay(clock, waitMs, signal, 'sync');
      const startedAt = clock.now();
      try {
        await this.#assertSameDevice();
        const atOnce = retrying || rested || fast.isDue || !query.timeout;
        const answer = await this.#ask(query, since, atOnce, signal);
        this.#behind = false;
        this.#caughtUp = true;
        this.#lastSyncAt = clock.now();
        this.#connection(true);
        this.#endOfSession.reset();
        this.#doubtedPosition = undefined;
        if (since === undefined) this.#lostPosition = undefined; // the new one may be the same
        else this.#losses = 0;
        this.#noteProgress(atOnce || answer.read.batch.nextBatch !== since, startedAt);
        return answer;
      } catch (error) {
        if (signal.aborted) throw error;
        if (since !== undefined && isManagerError(error) && error.status === 400 && error.errcode) {
          if (this.#doubtedPosition !== since) {
            this.#doubtedPosition = since;
            await delay(clock, retryDelayMs(error, 1, BACKOFF), signal, 'sync');
            continue;
          }
          this.#lostPosition = since;
          encryption?.forgetDeviceLists();
          onPositionLost(error);
          // One that takes none of its own positions would be asked for one initial sync after the other.
          if (this.#losses++ > 0) await delay(clock, retryDelayMs(error, this.#losses, BACKOFF), signal, 'sync');
          continue;
        }
        failures++;
        retrying = true;
        this.#connection(false);
        await this.#handleFailure(error, failures, signal);
      }
    }
  }

  /** A token may have died with its device: the one that was logged in then has its id, and none of its keys. */
  async #assertSameDevice(): Promise<void> {
    const { encryption, session } = this.#options;
    const token = session.current?.accessToken;
    if (this.#token !== undefined && token !== this.#token) await encryption?.assertKnownDevice();
    this.#token = token;
  }

  /** Waits before the next try, or gives up: then only a stop ends the call. */
  async #handleFailure(error: unknown, failures: number, signal: AbortSignal): Promise<void> {
    const { clock, gate, logger, telemetry, userId, isStarting, onFailure } = this.#options;
    const kind = failureClass(error);
    if (kind === 'unavailable' && !isStarting()) return; // gate.up() waits for it
    const isLastAttempt = isStarting() && failures >= START_ATTEMPTS;
    const isFinal = !isRetryable(kind) && (isStarting() || this.#endOfSession.endsClient(error));
    if (isFinal || isLastAttempt) {
      onFailure(clientFailure(error, userId));
      await whenAborted(signal);
      throw error;
    }
    const delayMs = retryDelayMs(error, failures, BACKOFF);
    logger.warn({ userId, err: error, failures, delayMs }, 'sync failed, trying again');
    if (isStarting()) await delay(clock, delayMs, signal, 'sync');
    else await gate.pause(delayMs, signal);
    telemetry.requestRepeated('GET', SYNC_PATH);
  }

  /** Waits as long as the user rests; returns whether they did. */
  async #pause(signal: AbortSignal): Promise<boolean> {
    const restMs = this.#restMs;
    if (restMs === undefined) return false;
    this.#behind = true;
    const { clock } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const end = (): void => {
        if (timer !== undefined) clock.clearTimeout(timer);
        signal.removeEventListener('abort', leave);
        this.#endRest = undefined;
        resolve();
      };
      const leave = (): void => {
        end();
        reject(abortedError('sync', signal.reason));
      };
      const timer = restMs === Infinity ? undefined : clock.setTimeout(end, restMs);
      if (signal.aborted) return leave();
      signal.addEventListener('abort', leave, { once: true });
      this.#endRest = end;
    });
    return true;
  }

  /** A homeserver that answers at once that nothing has happened would be asked in a tight loop. */
  #noteProgress(moved: boolean, startedAt: number): void {
    this.#unchanged = moved ? 0 : this.#unchanged + 1;
    this.#notBefore = startedAt + Math.min(MAX_UNCHANGED_MS, MIN_UNCHANGED_MS * this.#unchanged);
  }

  /** Asks for what is next; what comes with it waits in {@link #answers}. */
  async #ask(query: SyncQuery, since: string | undefined, atOnce: boolean, signal: AbortSignal): Promise<SyncResult> {
    const { clock, fast, resumesFrom, userId } = this.#options;
    const begunAt = clock.now();
    const catchUp = since === undefined ? this.#lostPosition !== undefined : since === resumesFrom && !this.#caughtUp;
    try {
      const early = await this.#askFast(since, catchUp);
      if (since === undefined && !early) fast.finish();
      const parts = early ?? [await this.#askPlain(query, since, atOnce, catchUp, signal)];
      const durationMs = clock.now() - begunAt;
      const [first, ...others] = parts.map((part) => ({ ...part, durationMs })) as [SyncResult, ...SyncResult[]];
      this.#answers.push(...others);
      return first;
    } catch (error) {
      const subject = { operation: `sync of ${userId}`, userId };
      if (error instanceof MalformedSync) throw invalidResponse(subject, error.message, 200);
      throw error;
    }
  }

  async #askFast(since: string | undefined, catchUp: boolean): Promise<SyncChunk[] | undefined> {
    const { fast, isKnown } = this.#options;
    if (since !== undefined) return fast.isDue ? this.#grow(since, catchUp) : undefined;
    // A user who was delivered to before is owed missed events in every room.
    return !catchUp && !isKnown ? fast.begin() : undefined;
  }

  /** Undefined where the rooms that are missing have to wait, and news must not wait with them. */
  async #grow(since: string, catchUp: boolean): Promise<SyncChunk[] | undefined> {
    const { fast } = this.#options;
    try {
      return await fast.loadMoreRooms(since, catchUp);
    } catch (error) {
      if (!fast.postpone(error)) throw error;
      return undefined;
    }
  }

  async #askPlain(
    query: SyncQuery,
    since: string | undefined,
    atOnce: boolean,
    catchUp: boolean,
    signal: AbortSignal,
  ): Promise<SyncChunk> {
    const { clock, fast, requests, requestTimeoutMs, startTimeoutMs, timelineLimit } = this.#options;
    // After a failure the answer must come at once, so that everybody knows that the connection is back. A first sync
    // is answered at once whatever the timeout.
    const timeout = since === undefined ? cacheBuster(clock) : atOnce ? 0 : Number(query.timeout);
    const timeoutMs = since === undefined ? startTimeoutMs : timeout + requestTimeoutMs;
    const data = await requests.sync({ ...query, since, timeout }, timeoutMs, signal);
    const limit = query.since === undefined ? initialLimit(timelineLimit) : syncLimit(timelineLimit);
    const read = readSyncResponse(data, { since, catchUp, timelineLimit: limit });
    return fast.hasMissingRooms ? { read: fast.markMissingRooms(read), growing: true } : { read, growing: false };
  }

  #connection(connected: boolean): void {
    if (connected === this.#connected || this.#options.signal.aborted) return;
    this.#connected = connected;
    this.#options.onConnection(connected);
  }
}
