import { delay } from '../core/abort.js';
import { isManagerError } from '../core/errors.js';
import type { HistoryReader } from '../core/ports/history-reader.js';
import type { RawEvent } from '../core/raw-event.js';
import { FailingTime } from '../http/failing-time.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import { failureClass } from '../http/failure-class.js';
import { backoffMs } from '../http/retry.js';
import { fillGap } from './fill-gap.js';
import type { GapToRead } from './fill-gap.js';

/**
 * Events that a sync left out and that could not be fetched. `from` and `to` are event ids in the order of the room,
 * unlike the tokens of `/messages`.
 */
export interface Gap {
  readonly userId: string;
  readonly roomId: string;
  /** Event id of the last event before the gap; undefined if no event of the room was delivered before. */
  readonly from: string | undefined;
  /** Event id of the first event after the gap; undefined if there is none yet. */
  readonly to: string | undefined;
  /**
   * `limit`: more events than `gapFillLimit` were missing; the newest of them were delivered. `error`: the homeserver
   * refused the events, or requests failed for `gapFillTimeoutMs`. `gone`: the user is no longer in the room, but sync
   * returned no leave event, as after an admin deleted the room; no more events of it will arrive.
   */
  readonly reason: 'limit' | 'error' | 'gone';
  readonly error?: unknown;
}

/** The context of a gap filler. */
export type GapFillerContext = Pick<HomeserverContext, 'clock' | 'logger' | 'diagnostics' | 'answersOtherRequests'>;

export interface GapFillerOptions {
  readonly userId: string;
  readonly readHistory: HistoryReader;
  readonly gapFillLimit: number;
  /** How long to retry filling a gap, in milliseconds. Only time in which the homeserver answers other requests counts. */
  readonly gapFillTimeoutMs: number;
  readonly onGap: (gap: Gap) => void;
}

/** A gap found in a sync response, with the ids of the events at both sides of it, if they are known. */
interface GapToFill extends GapToRead {
  readonly lastEventBefore: string | undefined;
  readonly firstEventAfter: string | undefined;
}

const RETRY = { baseDelayMs: 1_000, maxDelayMs: 60_000 };

/** Fetches the events that a sync left out, and reports a gap if that fails. Retries throughout homeserver outages. */
export class GapFiller {
  readonly #context: GapFillerContext;
  readonly #options: GapFillerOptions;
  /** Rooms whose last gap could not be filled so far. */
  readonly #stalledRooms = new Set<string>();

  constructor(context: GapFillerContext, options: GapFillerOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** How many rooms have a gap that is being retried, or that was given up after `gapFillTimeoutMs`. */
  get stalledRooms(): number {
    return this.#stalledRooms.size;
  }

  /** Call this when the user has left the room. */
  forget(roomId: string): void {
    this.#stalledRooms.delete(roomId);
  }

  /** Returns the missing events, oldest first; empty if they were given up, undefined if `signal` fired before. */
  async fetchMissing(gap: GapToFill, signal: AbortSignal): Promise<RawEvent[] | undefined> {
    const { clock, logger, diagnostics, answersOtherRequests } = this.#context;
    const { userId, readHistory, gapFillLimit, gapFillTimeoutMs, onGap } = this.#options;
    const { roomId, lastEventBefore, firstEventAfter } = gap;
    const startedAt = clock.now();
    const publishGap = (events: number, complete: boolean): void =>
      diagnostics.publish('gap', { userId, roomId, events, complete, durationMs: clock.now() - startedAt });
    const failingTime = new FailingTime(clock, answersOtherRequests);
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        const { events, complete } = await fillGap(readHistory, gap, gapFillLimit, signal);
        if (signal.aborted) break; // these events are not delivered: the next client fills the gap, and reports it
        this.#stalledRooms.delete(roomId);
        publishGap(events.length, complete);
        const to = events[0]?.event_id ?? firstEventAfter;
        if (!complete) onGap({ userId, roomId, from: lastEventBefore, to, reason: 'limit' });
        return events;
      } catch (error) {
        if (signal.aborted) break;
        await failingTime.failed(error);
        if (signal.aborted) break;
        const hasTimedOut = failingTime.ms >= gapFillTimeoutMs;
        if (hasTimedOut || isPermanent(error)) {
          const failure = { userId, roomId, err: error, failures };
          if (hasTimedOut) logger.error(failure, 'filling a gap took too long, going on without its events');
          else this.#stalledRooms.delete(roomId);
          publishGap(0, false);
          onGap({ userId, roomId, from: lastEventBefore, to: firstEventAfter, reason: 'error', error });
          return [];
        }
        this.#stalledRooms.add(roomId);
        logger.warn({ userId, roomId, err: error, failures }, 'filling a gap failed, trying again');
        const delayMs = Math.min(backoffMs(failures, RETRY), gapFillTimeoutMs - failingTime.ms);
        await delay(clock, delayMs, signal, 'filling a gap').catch(() => {});
      }
    }
    return undefined;
  }
}

/** Whether a retry cannot help. A 401 is retried: the token may be renewed; if not, the client is stopped. */
function isPermanent(error: unknown): boolean {
  return failureClass(error) === 'permanent' && !(isManagerError(error) && error.status === 401);
}
