import type { RawEvent } from '../raw-event.js';

export interface HistoryRequest {
  readonly roomId: string;
  /** Pagination token at which to start, backwards. */
  readonly from: string;
  /** Pagination token at which to stop. If absent, reads to the beginning of the room. */
  readonly to?: string | undefined;
  readonly limit: number;
  readonly signal?: AbortSignal | undefined;
}

/** Reads a room's history backwards from a token, as visible to one user. */
export type HistoryReader = (request: HistoryRequest) => Promise<{
  /** Newest first. */
  readonly events: readonly RawEvent[];
  /** Token of the next page. Absent when there are no older events that the user may see. */
  readonly end: string | undefined;
}>;
