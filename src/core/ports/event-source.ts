import type { EventContent, RawEvent } from '../raw-event.js';

/** The events of one room for one user, from one sync response or one application service transaction. */
export interface RoomBatch {
  readonly roomId: string;
  readonly membership: 'join' | 'leave';
  /** Oldest first. */
  readonly timeline: readonly RawEvent[];
  /** Whether events are missing between the previous batch and `timeline`. */
  readonly limited: boolean;
  /** A `/messages` token for the events before `timeline`. */
  readonly prevBatch: string | undefined;
  /** Whether the fast start has not loaded the room yet. `timeline` holds only new events; the backlog follows later. */
  readonly isAwaitingBackfill?: true;
  /** Whether the user is no longer in the room, although the homeserver has sent no leave event. */
  readonly isGone?: true;
  /** Typing notifications and receipts. */
  readonly ephemeral: readonly { readonly type: string; readonly content: EventContent }[];
}

/** A received invitation. */
export interface InviteBatch {
  readonly roomId: string;
  /** Stripped state events. Malformed ones (without type, sender or content) are omitted. */
  readonly state: readonly {
    readonly type: string;
    readonly sender: string;
    readonly state_key: string;
    readonly content: EventContent;
    readonly event_id?: unknown;
    readonly origin_server_ts?: unknown;
  }[];
}

/** The events that one user received with one sync response. */
export interface EventBatch {
  /** The sync token before the batch. Undefined for the first batch ever, whose events are the backlog. */
  readonly since: string | undefined;
  /** The sync token after the batch. */
  readonly nextBatch: string;
  readonly rooms: readonly RoomBatch[];
  readonly invites: readonly InviteBatch[];
  /** Whether the batch contains events from a time when the source was not running. */
  readonly catchUp: boolean;
  /** Whether a first batch has only some of the user's rooms. Later batches bring the others. */
  readonly isPartialInitialSync?: boolean;
  /** Whether the batch brings rooms that the first batch omitted, in their state at `since`. */
  readonly isBackfilledRooms?: boolean;
  /** The data that the source needs to resume from `nextBatch`, as far as it has changed. Stored together with the token. */
  readonly resume?: ResumeData;
}

/** Data that a source stores with a sync token and gets back when it resumes from that token. Opaque to other code. */
export interface ResumeData {
  /** Room id to the room's state, or to null to delete the stored state. */
  readonly rooms: ReadonlyMap<string, string | null>;
  readonly accountData?: string;
}

/**
 * Receives the batches of one user in order. Resolves when the next batch may be passed, possibly before this one has been
 * handled.
 */
export type EventSink = (batch: EventBatch) => Promise<void>;

/**
 * The source of a user's events. Currently this is the sync of the user's own client. Code that uses the source must not
 * rely on that: an application service receives one stream for all users.
 */
export interface EventSource {
  /** Sets the receiver of the batches. Call this once, before the source starts. */
  connect(sink: EventSink): void;
}
