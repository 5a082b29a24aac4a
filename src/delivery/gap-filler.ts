import { delay } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import type { HistoryReader } from '../core/ports/history-reader.js';
import type { Logger } from '../core/logger.js';
import type { RawEvent } from '../core/raw-event.js';
import { noTelemetry } from '../core/telemetry.js';
import type { Telemetry } from '../core/telemetry.js';
import { FailingTime } from '../http/failing-time.js';
import type { AnswersOtherRequests } from '../http/failing-time.js';
import { failureClass } from '../http/failure-class.js';
import { backoffMs } from '../http/retry.js';
import { fillGap } from './fill-gap.js';
import type { GapRequest } from './fill-gap.js';

/** Events that the homeserver left out and that could not be fetched. */
export interface Gap {
  readonly userId: string;
  readonly roomId: string;
  /** The last event before the gap; undefined when the room is new to the user. */
  readonly from: string | undefined;
  /** The first event after it; undefined when none has come yet. */
  readonly to: string | undefined;
  /**
   * `limit`: more is missing than `gapFillLimit`. `error`: the homeserver does not tell, or not within
   * `gapFillTimeoutMs`. `gone`: the homeserver does not count the user to the room any more and has told no leave, as
   * after an admin has deleted the room; there is nothing more of it.
   */
  readonly reason: 'limit' | 'error' | 'gone';
  readonly error?: unknown;
}

export interface GapFillerOptions {
  readonly userId: string;
  readonly readHistory: HistoryReader;
  readonly gapFillLimit: number;
  /**
   * How long a gap is tried to be filled while the homeserver answers other requests, in milliseconds.
   * @default Infinity
   */
  readonly gapFillTimeoutMs?: number;
  /** @default it does */
  readonly answersOtherwise?: AnswersOtherRequests;
  readonly onGap: (gap: Gap) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  /** @default none */
  readonly telemetry?: Telemetry;
}

/** A gap as a sync response shows it: its ends are events of the timeline, where there are any. */
export interface SeenGap extends Omit<GapRequest, 'limit' | 'signal'> {
  readonly before: string | undefined;
  readonly after: string | undefined;
}

const RETRY = { baseDelayMs: 1_000, maxDelayMs: 60_000 };

/** Fetches what a sync left out; tells of what cannot be had. An outage of the homeserver is waited for. */
export class GapFiller {
  readonly #options: GapFillerOptions;
  /** Rooms whose last gap the homeserver has failed to tell so far. */
  readonly #stalled = new Set<string>();

  constructor(options: GapFillerOptions) {
    this.#options = options;
  }

  /** How many rooms have a gap that is being tried again, or was given up. */
  get stalledRooms(): number {
    return this.#stalled.size;
  }

  /** The user has left the room. */
  forget(roomId: string): void {
    this.#stalled.delete(roomId);
  }

  /** The missing events, oldest first; undefined when `signal` fires, since then nobody knows. */
  async missing(gap: SeenGap, signal: AbortSignal): Promise<RawEvent[] | undefined> {
    const { userId, readHistory, gapFillLimit, gapFillTimeoutMs = Infinity, onGap, clock, logger } = this.#options;
    const { telemetry = noTelemetry, answersOtherwise = () => true } = this.#options;
    const { roomId, before, after } = gap;
    const begunAt = clock.now();
    const failing = new FailingTime(clock, answersOtherwise);
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        const { events, complete } = await fillGap(readHistory, { ...gap, limit: gapFillLimit, signal });
        this.#stalled.delete(roomId);
        telemetry.gap(userId, roomId, events.length, complete, clock.now() - begunAt);
        if (!complete) onGap({ userId, roomId, from: before, to: events[0]?.event_id ?? after, reason: 'limit' });
        return events;
      } catch (error) {
        if (signal.aborted) break;
        await failing.failed(error);
        if (signal.aborted) break;
        const isOver = failing.ms >= gapFillTimeoutMs;
        if (isOver || isFinal(error)) {
          if (!isOver) this.#stalled.delete(roomId);
          else logger.error({ userId, roomId, err: error, failures }, 'filling a gap took too long, going on without');
          telemetry.gap(userId, roomId, 0, false, clock.now() - begunAt);
          onGap({ userId, roomId, from: before, to: after, reason: 'error', error });
          return [];
        }
        this.#stalled.add(roomId);
        logger.warn({ userId, roomId, err: error, failures }, 'filling a gap failed, trying again');
        const delayMs = Math.min(backoffMs(failures, RETRY), gapFillTimeoutMs - failing.ms);
        await delay(clock, delayMs, signal, 'filling a gap').catch(() => {});
      }
    }
    return undefined;
  }
}

/** A dead token is not the end: it may be renewed, and if it is not, the client is stopped and comes again. */
function isFinal(error: unknown): boolean {
  return failureClass(error) === 'permanent' && !(isManagerError(error) && error.status === 401);
}
