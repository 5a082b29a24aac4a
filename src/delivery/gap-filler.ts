import { delay } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import type { HistoryReader } from '../core/history.js';
import type { Logger } from '../core/logger.js';
import type { RawEvent } from '../core/raw-event.js';
import { noTelemetry } from '../core/telemetry.js';
import type { Telemetry } from '../core/telemetry.js';
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
  /** `limit`: more is missing than `gapFillLimit`. `error`: the homeserver does not tell. */
  readonly reason: 'limit' | 'error';
  readonly error?: unknown;
}

export interface GapFillerOptions {
  readonly userId: string;
  readonly readHistory: HistoryReader;
  readonly gapFillLimit: number;
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

/** Fetches what a sync left out, for as long as it takes; tells of what cannot be had. */
export class GapFiller {
  readonly #options: GapFillerOptions;

  constructor(options: GapFillerOptions) {
    this.#options = options;
  }

  /** The missing events, oldest first; undefined when `signal` fires, since then nobody knows. */
  async missing(gap: SeenGap, signal: AbortSignal): Promise<RawEvent[] | undefined> {
    const { userId, readHistory, gapFillLimit, onGap, clock, logger } = this.#options;
    const { telemetry = noTelemetry } = this.#options;
    const { roomId, before, after } = gap;
    const begunAt = clock.now();
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        const { events, complete } = await fillGap(readHistory, { ...gap, limit: gapFillLimit, signal });
        telemetry.gap(userId, roomId, events.length, complete, clock.now() - begunAt);
        if (!complete) onGap({ userId, roomId, from: before, to: events[0]?.event_id ?? after, reason: 'limit' });
        return events;
      } catch (error) {
        if (signal.aborted) break;
        if (isFinal(error)) {
          telemetry.gap(userId, roomId, 0, false, clock.now() - begunAt);
          onGap({ userId, roomId, from: before, to: after, reason: 'error', error });
          return [];
        }
        logger.warn({ userId, roomId, err: error, failures }, 'filling a gap failed, trying again');
        await delay(clock, backoffMs(failures, RETRY), signal, 'filling a gap').catch(() => {});
      }
    }
    return undefined;
  }
}

/** A dead token is not the end: it may be renewed, and if it is not, the client is stopped and comes again. */
function isFinal(error: unknown): boolean {
  return failureClass(error) === 'permanent' && !(isManagerError(error) && error.status === 401);
}
