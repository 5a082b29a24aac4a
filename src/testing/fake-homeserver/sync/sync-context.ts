import type { Viewer } from '../rooms/client-event.js';
import type { User } from '../world/user.js';
import type { World } from '../world/world.js';
import type { LazyMembers } from './lazy-members.js';
import type { SyncFilter } from './sync-filter.js';
import type { TimelineLimit } from './timeline.js';

/** The parameters of one sync. */
export interface SyncContext {
  readonly world: World;
  readonly user: User;
  readonly viewer: Viewer;
  /** Undefined if the token has no device. */
  readonly deviceId: string | undefined;
  readonly filter: SyncFilter;
  /** The client's position; undefined for an initial sync. */
  readonly since: number | undefined;
  /** The client's position in the to-device messages. */
  readonly toDeviceSince: number;
  /** The position at the end of this sync. */
  readonly upTo: number;
  readonly fullState: boolean;
  /** Whether the client requests the state after the timeline (MSC4222). */
  readonly useStateAfter: boolean;
  readonly timelineLimit: TimelineLimit | undefined;
  readonly lazyMembers: LazyMembers;
}
