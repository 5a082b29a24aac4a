/** All data that commits have stored for one user, from which the user's client resumes. The caller owns the object. */
export interface StoredCheckpoint {
  /** Sync token (`next_batch`) of the last batch whose events were all handled. If absent, the client does an initial sync. */
  readonly since?: string;
  /**
   * Sync token from which the client continues, if it is newer than `since` because the client ran without callbacks.
   * `rooms` and `accountData` then belong to this token.
   */
  readonly clientSince?: string;
  /** Data that is needed to resume and does not belong to a room (account data, filter ids), as opaque text. */
  readonly accountData?: string;
  /**
   * Room id to the compact room state needed to resume, as opaque text. Also has keys that are not ids of rooms, for small
   * texts that change often.
   */
  readonly rooms: Map<string, string>;
  readonly lastDelivered: Map<string, DeliveredPosition>;
  /** Handled events that are newer than `since`, in the order in which they were added. */
  readonly journal: JournalEntry[];
}

/**
 * The changes of one commit, which are applied completely or not at all. Omitted parts stay unchanged. Only changed rooms
 * are listed, so that the cost of a commit does not depend on the number of joined rooms.
 */
export interface CheckpointChange {
  /** The new sync token, or null to delete the stored one because the homeserver rejected it. */
  readonly since?: string | null;
  /** The new `clientSince`. A change with `since` but without `clientSince` deletes the stored `clientSince`. */
  readonly clientSince?: string;
  readonly accountData?: string | null;
  /** Room id to the room's new state, or to null to delete it. */
  readonly rooms?: ReadonlyMap<string, string | null>;
  /** Room id to the room's new position, or to null to delete it. */
  readonly lastDelivered?: ReadonlyMap<string, DeliveredPosition | null>;
  readonly journal?: JournalChange;
}

/** The newest event of a room that was delivered to the callbacks. Filling a gap stops at this event. */
export interface DeliveredPosition {
  readonly eventId: string;
  /** A pagination token at the event, if one is known. */
  readonly token?: string;
  /** Set while the backlog before the event is pending: it may not have been delivered to all callbacks that request it. */
  readonly history?: true;
}

/** An event that was handled. */
export interface JournalEntry {
  readonly roomId: string;
  readonly eventId: string;
}

/** `prune` is applied before `add`. */
export interface JournalChange {
  /** Entries that the new sync token covers. `'all'` if no other event is being handled. */
  readonly prune?: 'all' | readonly JournalEntry[];
  /** Entries to add. Existing entries keep their place. Beyond `storageLimits.journalEntries` the oldest are deleted. */
  readonly add?: readonly JournalEntry[];
}
