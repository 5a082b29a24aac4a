import type { HistoryReader } from '../core/ports/history-reader.js';
import type { RawEvent } from '../core/raw-event.js';

const PAGE = 100;

/** Where a gap begins: the event is not there yet, is itself the first missing one, or is the last known one. */
export type Edge = 'none' | 'first' | 'known';

export interface GapRequest {
  readonly roomId: string;
  /** Token of the gap's newer end. */
  readonly from: string;
  /** Token of its older end, where one is known. */
  readonly to: string | undefined;
  /** Whether the event is the older end, so that what lies before it is not missing. */
  readonly edge: (event: RawEvent) => Edge;
  /** How many events are returned at most, the newest ones. */
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
 * Reads what a `limited` timeline left out, from its newer end back. One event beyond `limit` is asked for, because
 * only the next event tells whether anything is missing.
 * @see https://spec.matrix.org/v1.16/client-server-api/#syncing
 */
export async function fillGap(read: HistoryReader, request: GapRequest): Promise<FilledGap> {
  const { roomId, to, edge, limit, signal } = request;
  const newestFirst: RawEvent[] = [];
  const filled = (complete: boolean): FilledGap => ({ events: newestFirst.slice(0, limit).toReversed(), complete });
  const seen = new Set<string>();
  let from: string | undefined = request.from;
  while (from !== undefined) {
    const page = await read({ roomId, from, to, limit: Math.min(PAGE, limit + 1 - newestFirst.length), signal });
    for (const event of page.events) {
      const kind = edge(event);
      if (kind === 'known') return filled(true);
      if (newestFirst.length === limit) return filled(false);
      newestFirst.push(event);
      if (kind === 'first') return filled(true);
    }
    seen.add(from);
    from = page.end;
    if (from !== undefined && seen.has(from)) return filled(false); // a homeserver that goes round in circles
  }
  return filled(true);
}
