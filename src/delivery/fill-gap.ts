import type { HistoryReader } from '../core/ports/history-reader.js';
import type { RawEvent } from '../core/raw-event.js';

const PAGE_SIZE = 100;

/**
 * How an event relates to the older end of a gap. `known`: it is the last delivered event before the gap. `first`: it
 * is the first missing event. `none`: neither.
 */
export type Edge = 'none' | 'first' | 'known';

/** A gap to read from `/messages`, which returns the newest event first. */
export interface GapToRead {
  readonly roomId: string;
  /** Pagination token at the newer end of the gap, where reading begins. */
  readonly newerToken: string;
  /** Pagination token at the older end of the gap, if known. Reading ends there. */
  readonly olderToken: string | undefined;
  /** Tells whether the event is the older end of the gap; events before that are not missing. */
  readonly edge: (event: RawEvent) => Edge;
}

/** The events of a gap, oldest first. `complete`: whether the older end of the gap was reached. */
export interface FilledGap {
  readonly events: RawEvent[];
  readonly complete: boolean;
}

/**
 * Reads the events that a `limited` timeline left out from `/messages`, backwards. Requests one event more than
 * `limit`: only that event shows whether more are missing.
 * @param limit - maximum number of events; if more are missing, the newest are returned
 * @see https://spec.matrix.org/v1.16/client-server-api/#syncing
 */
export async function fillGap(
  read: HistoryReader,
  { roomId, newerToken, olderToken, edge }: GapToRead,
  limit: number,
  signal: AbortSignal,
): Promise<FilledGap> {
  const newestFirst: RawEvent[] = [];
  const result = (complete: boolean): FilledGap => ({ events: newestFirst.slice(0, limit).toReversed(), complete });
  const seenTokens = new Set<string>();
  let from: string | undefined = newerToken;
  while (from !== undefined) {
    const pageSize = Math.min(PAGE_SIZE, limit + 1 - newestFirst.length);
    const page = await read({ roomId, from, to: olderToken, limit: pageSize, signal });
    for (const event of page.events) {
      const eventEdge = edge(event);
      if (eventEdge === 'known') return result(true);
      if (newestFirst.length === limit) return result(false);
      newestFirst.push(event);
      if (eventEdge === 'first') return result(true);
    }
    seenTokens.add(from);
    from = page.end;
    if (from !== undefined && seenTokens.has(from)) return result(false); // a repeated token: avoid a loop
  }
  return result(true);
}
