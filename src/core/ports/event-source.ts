import type { EventContent, RawEvent } from '../raw-event.js';

/** What one sync response, or one push of an application service, brought for one user in one room. */
export interface RoomBatch {
  readonly roomId: string;
  readonly membership: 'join' | 'leave';
  /** Oldest first. */
  readonly timeline: readonly RawEvent[];
  /** Whether events are missing between what came before and `timeline`. */
  readonly limited: boolean;
  /** A `/messages` token for what lies before `timeline`. */
  readonly prevBatch: string | undefined;
  /** Whether the room is one of those that come late, and only its news come with this: its history is still to come. */
  readonly isWithoutHistory?: true;
  /** Whether the homeserver does not count the user to the room any more, and has told no leave. */
  readonly isGone?: true;
  /** Typing notifications and receipts. */
  readonly ephemeral: readonly { readonly type: string; readonly content: EventContent }[];
}

/** An invitation that came in. */
export interface InviteBatch {
  readonly roomId: string;
  /** Stripped state; what is not an object with type, sender and content has been left out. */
  readonly state: readonly {
    readonly type: string;
    readonly sender: string;
    readonly state_key: string;
    readonly content: EventContent;
    readonly event_id?: unknown;
    readonly origin_server_ts?: unknown;
  }[];
}

/** What came for one user at once. */
export interface EventBatch {
  /** The position before the batch; undefined when it is the first one ever, whose events are history. */
  readonly since: string | undefined;
  /** The position after it. */
  readonly nextBatch: string;
  readonly rooms: readonly RoomBatch[];
  readonly invites: readonly InviteBatch[];
  /** Whether the batch tells what happened while the source was not listening. */
  readonly catchUp: boolean;
  /** Whether a first batch has some of the user's rooms only; late ones bring the others. */
  readonly isPartialInitialSync?: boolean;
  /** Whether it brings rooms that the first batch has left out, as they were at `since`. */
  readonly isBackfilledRooms?: boolean;
  /** What the source needs to resume from `nextBatch`, to be stored together with it; only what has changed. */
  readonly resume?: ResumeData;
}

/** What a source stores with a position and gets back when it resumes from it. Opaque to everybody else. */
export interface ResumeData {
  /** Room id to the room's state, or to null when the room is to be forgotten. */
  readonly rooms: ReadonlyMap<string, string | null>;
  readonly accountData?: string;
}

/** Takes the batches of one user in order. Resolves when the next one may come, which may be before this one is handled. */
export type EventSink = (batch: EventBatch) => Promise<void>;

/**
 * Where a user's events come from. Today that is a sync of the user's own client; nothing above may rely on it, since
 * an application service pushes one stream for all users.
 */
export interface EventSource {
  /** Attaches the one taker of the batches; call it before the source starts. */
  connect(sink: EventSink): void;
}
