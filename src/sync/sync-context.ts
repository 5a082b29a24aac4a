import type { EventContent } from '../core/raw-event.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import type { Session } from '../http/session.js';

/** The settings of clients that poll. */
export interface SyncSettings {
  /** Whether to start with a few rooms if the homeserver supports sliding sync. */
  readonly slidingSync: boolean;
  /** Events kept in memory per room. */
  readonly timelineLimit: number;
  /** How long the homeserver may hold a sync that has no events, in milliseconds. */
  readonly pollTimeoutMs: number;
  /** How long the sync for missed events may fail while the homeserver answers other requests, in milliseconds. */
  readonly gapFillTimeoutMs: number;
  /** Learns which rooms are encrypted, from the contents of their `m.room.encryption` events. */
  readonly encryptedRooms: {
    note(rooms: Iterable<readonly [roomId: string, content: EventContent]>): void;
    /** Rejects if that cannot be found out. */
    has(roomId: string): Promise<boolean>;
  };
}

/** The context of the parts of one user's sync. */
export interface SyncContext extends HomeserverContext, SyncSettings {
  readonly userId: string;
  readonly session: Session;
  /** Aborts every sync request. */
  readonly signal: AbortSignal;
  /** Whether syncs are to have the presence of other users. @default never */
  readonly wantsPresence?: () => boolean;
  /** Whether the client is waiting for its first sync. */
  readonly isStarting: () => boolean;
  /** Whether the requests belong to a call of the application, so that they are repeated as those of other calls. */
  readonly isCall?: boolean;
}
