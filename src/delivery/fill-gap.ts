import type { HistoryReader } from '../core/history.js';
import type { RawEvent } from '../core/raw-event.js';

const PAGE = 100;

export interface GapRequest {
  readonly roomId: string;
  /** Token of the gap's newer end. */
  readonly from: string;
  /** Token of its older end, where one is known. */
  readonly to: string | undefined;
  /** Whether the event is the older end: it and what lies before it are not missing. */
  readonly isKnown: (event: RawEvent) => boolean;
  /** How many events are fetched at most. */
  readonly limit: number;
  readonly signal: AbortSignal;
}

export interface FilledGap {
  /** Oldest first. */
  readonly events: RawEvent[];
  /** Whether the older end was reached, so that nothing is missing. */
  readonly complete: boolean;
}

/**
 * Reads what a `limited` timeline left out, from its newer end back.
 * @see https://spec.matrix.org/v1.16/client-server-api/#syncing
 */
export async function fillGap(read: HistoryReader, request: GapRequest): Promise<FilledGap> {
  const { roomId, to, isKnown, limit, signal } = request;
  const newestFirst: RawEvent[] = [];
  let from: string | undefined = request.from;
  while (from !== undefined && newestFirst.length < limit) {
    const page = await read({ roomId, from, to, limit: Math.min(PAGE, limit - newestFirst.length), signal });
    for (const event of page.events) {
      if (isKnown(event)) return { events: newestFirst.toReversed(), complete: true };
      newestFirst.push(event);
    }
    if (page.end === from) break; // a homeserver that goes round in circles
    from = page.end;
  }
  return { events: newestFirst.toReversed(), complete: from === undefined };
}
