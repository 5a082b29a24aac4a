import type { Provenance } from '../client-event.js';
import type { PresenceState } from '../presence-state.js';
import type { EventContent, RawEvent } from '../raw-event.js';
import type { UnreadCount } from '../unread-count.js';

/** The events of one room for one user. */
export interface RoomBatch {
  readonly roomId: string;
  readonly membership: 'join' | 'leave';
  /**
   * What the source knows of the events: `live`, missed before the source ran (`gap-fill`), or from before the user's
   * first batch (`backlog`). A `backlog` room may still have events that are newer than one that was delivered.
   */
  readonly provenance: Provenance;
  /** Oldest first. */
  readonly timeline: readonly RawEvent[];
  /** Whether events are missing between the previous batch and `timeline`. */
  readonly limited: boolean;
  /** A `/messages` token for the events before `timeline`. */
  readonly prevBatch: string | undefined;
  /** A `/messages` token at which the missing events begin. If absent, they begin after the last delivered event. */
  readonly gapStart?: string | undefined;
  /** Set while the room is not loaded: `timeline` has only new events, and the backlog follows in a `late-rooms` batch. */
  readonly isAwaitingBackfill?: true;
  /** Whether the user is no longer in the room, although the homeserver has sent no leave event. */
  readonly isGone?: true;
  /** Typing notifications and receipts. */
  readonly ephemeral: readonly { readonly type: string; readonly content: EventContent }[];
  /** The user's unread count of the room, if it has changed. */
  readonly unread?: UnreadCount;
}

/** A received invitation. */
export interface InviteBatch {
  readonly roomId: string;
  readonly provenance: Provenance;
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

/** The latest presence of a user. */
export interface PresenceUpdate {
  readonly sender: string;
  readonly presence: PresenceState;
  readonly lastActiveAgoMs?: number;
  readonly statusMessage?: string;
  readonly currentlyActive?: boolean;
}

/**
 * The rooms of a batch. `all-rooms`: every room, as it is now, because the source began without a position. `first-rooms`:
 * the same of some rooms only; `late-rooms`: of rooms that were loaded later. `changes`: what is new since a position.
 */
export type BatchScope = 'all-rooms' | 'first-rooms' | 'late-rooms' | 'changes';

/** The next events of one user. */
export interface EventBatch {
  /** The source's position after the batch, which only the source can read. It resumes from there. */
  readonly position: string;
  readonly scope: BatchScope;
  readonly rooms: readonly RoomBatch[];
  readonly invites: readonly InviteBatch[];
  /** Absent if nobody's presence has changed. */
  readonly presence?: readonly PresenceUpdate[];
  /** Set if the user may now ignore other users than before: messages of the past have become hidden, or visible. */
  readonly ignoredUsersChanged?: true;
  /** The data that the source needs to resume from `position`, as far as it has changed. Stored together with it. */
  readonly resume?: ResumeData;
}

/** Whether the source began without a position: if nothing was delivered before, the batch is the user's first. */
export function isFromStart({ scope }: EventBatch): boolean {
  return scope === 'all-rooms' || scope === 'first-rooms';
}

/** Data that a source stores with a position and gets back when it resumes from there. Opaque to other code. */
export interface ResumeData {
  /** Room id to the room's state, or to null to delete the stored state. */
  readonly rooms: ReadonlyMap<string, string | null>;
  readonly accountData?: string;
}

/** The newest events of a room without a gap, oldest first. */
export interface KnownTimeline extends Iterable<RawEvent> {
  /** A `/messages` token for the events before them. */
  readonly prevBatch: string | undefined;
}

/** Receives the batches of one user. */
export interface EventReceiver {
  /**
   * Takes the next batch. Resolves when the one after it may be passed, possibly before this one has been handled. A
   * batch that comes while no callback is registered is not delivered: see {@link EventSource.fetchMissedEvents}.
   */
  accept(batch: EventBatch): Promise<void>;
  /** Restarts delivery at the stored position. Resolves to that position and to the rooms of which events were delivered. */
  restart(): Promise<{ readonly since?: string | undefined; readonly lastDelivered: ReadonlyMap<string, unknown> }>;
  /** Takes a batch that is not delivered, because its events come again in a batch of missed events. */
  acceptUndelivered(batch: EventBatch): void;
  /** Takes a batch of missed events. Call {@link restart} first. */
  acceptMissed(batch: EventBatch): Promise<void>;
  /** The room's events in memory. They fill the room in an SDK client that is made later. */
  timelineOf(roomId: string): KnownTimeline | undefined;
}

/**
 * The source of a user's events. Currently this is the sync of the user's own client. Code that uses the source must not
 * rely on that: an application service receives one stream for all users.
 */
export interface EventSource {
  /** Sets the receiver of the batches. Call this once, before the source starts. */
  connect(receiver: EventReceiver): void;
  /**
   * Passes the events since the stored position again, as missed ones; batches that come meanwhile wait. Call this when
   * a callback is registered after events came without one.
   * @param backlog - also pass the backlog of the first batch again
   */
  fetchMissedEvents(backlog: boolean): void;
}
