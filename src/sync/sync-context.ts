import type { HomeserverContext } from '../http/homeserver-context.js';
import type { Session } from '../http/session.js';

/** The context of the parts of one user's sync. */
export interface SyncContext extends HomeserverContext {
  readonly userId: string;
  readonly session: Session;
  /** Events kept in memory per room. */
  readonly timelineLimit: number;
  /** Aborts every sync request. */
  readonly signal: AbortSignal;
}
