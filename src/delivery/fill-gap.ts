import type { HistoryReader } from '../core/ports/history-reader.js';
import type { RawEvent } from '../core/raw-event.js';

const PAGE_SIZE = 100;

/**
 * How an event relates to the older end of a gap. `known`: it is the last delivered event before the gap. `first`: it
 * is the first missing event. `none`: neither.
 */
export type Edge = 'none' | 'first' | 'known';

/** A gap to read from `/messages`, which returns the newest event first. */
export interface GapRequest {
  readonly roomId: string;
  /** Pagination token at the newer end of the gap, where reading begins. */
  readonly newerToken: string;
  /** Pagination token at the older end of the gap, if known. Reading ends there. */
  readonly olderToken: string | undefined;
  /** Tells whether the event is the older end of the gap; events before that are not missing. */
  readonly edge: (event: RawEvent) => Edge;
  /** Maximum number of events. If more are missing, the newest are returned. */
  readonly limit: number;
  readonly signal: AbortSignal;
}

export interface FilledGap {
  /** Oldest first. */
  readonly events: RawEvent[];
  /** Whether the older end of the gap was reached. If false, events are still missing. */
  readonly complete: boolean;
}

/**
 * Reads the events that a `limited` timeline left out from `/messages`, backwards. Requests one event more than
 * `limit`: only that event shows whether more are missing.
 * @see https://spec.matrix.org/v1.16/client-server-api/#syncing
 */
export async function fillGap(read: HistoryReader, request: GapRequest): Promise<FilledGap> {
  const { roomId, olderToken, edge, limit, signal } = request;
  const newestFirst: RawEvent[] = [];
  const result = (complete: boolean): FilledGap => ({ events: newestFirst.slice(0, limit).toReversed(), complete });
  const seenTokens = new Set<string>();
  let from: string | undefined = request.newerToken;
  while (from !== undefined) {
    const page = await read({
      roomId,
      from,
      to: olderToken,
      limit: Math.min(PAGE_SIZE, limit + 1 - newestFirst.length),
      signal,
    });
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
