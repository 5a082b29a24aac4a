import type { RawEvent } from '../raw-event.js';

export interface HistoryRequest {
  readonly roomId: string;
  /** A token to read back from. */
  readonly from: string;
  /** A token to read back to; absent: the room's beginning. */
  readonly to?: string | undefined;
  readonly limit: number;
  readonly signal?: AbortSignal | undefined;
}

/** Reads a room's history back from a token, as the homeserver tells it to one user. */
export type HistoryReader = (request: HistoryRequest) => Promise<{
  /** Newest first. */
  readonly events: readonly RawEvent[];
  /** Where to read on; absent at the beginning of what the user may see. */
  readonly end: string | undefined;
}>;
