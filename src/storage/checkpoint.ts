/** Everything that commits have stored for one user: where the user's client resumes. The caller owns it. */
export interface StoredCheckpoint {
  /** Sync token (`next_batch`) of the last batch whose events have all been handled; absent: start afresh. */
  readonly since?: string;
  /**
   * Sync token that the client goes on from, where that is newer than `since`: it has run with nobody listening. Then
   * `rooms` and `accountData` are those of this position.
   */
  readonly clientSince?: string;
  /** What is needed to resume and belongs to no room (account data, filter ids), as opaque text. */
  readonly accountData?: string;
  /** Room id to the compact room state needed to resume, as opaque text. */
  readonly rooms: Map<string, string>;
  readonly lastDelivered: Map<string, DeliveredPosition>;
  /** Events handled that `since` does not cover yet, in the order they were added. */
  readonly journal: JournalEntry[];
}

/**
 * What one commit changes; a part that is left out stays as it is. All of it is applied, or nothing.
 * Rooms are named one by one, so a commit costs what has changed and not what the user has joined.
 */
export interface CheckpointChange {
  /** The new position, or null to drop it (the homeserver rejected it). */
  readonly since?: string | null;
  /** A change with `since` and without this drops what was stored: the two positions are one again. */
  readonly clientSince?: string;
  readonly accountData?: string | null;
  /** Room id to its new state, or to null where the room is to be forgotten. */
  readonly rooms?: ReadonlyMap<string, string | null>;
  /** Room id to its new position, or to null where it is to be forgotten. */
  readonly lastDelivered?: ReadonlyMap<string, DeliveredPosition | null>;
  readonly journal?: JournalChange;
}

/** The newest event of a room that reached the callbacks: where filling a gap ends. */
export interface DeliveredPosition {
  readonly eventId: string;
  /** A pagination token at the event, where one is known. */
  readonly token?: string;
  /** Set while callbacks that ask for the backlog may still be owed what lies before the event. */
  readonly history?: true;
}

/** One event that has been handled. */
export interface JournalEntry {
  readonly roomId: string;
  readonly eventId: string;
}

/** `prune` is applied before `add`. */
export interface JournalChange {
  /** Entries that the new position covers; `'all'` when nothing else is in flight. */
  readonly prune?: 'all' | readonly JournalEntry[];
  /** Entries known already keep their place. Beyond `storageLimits.journalEntries` the oldest go. */
  readonly add?: readonly JournalEntry[];
}
