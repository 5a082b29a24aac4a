import type { Viewer } from '../rooms/client-event.js';
import type { User } from '../world/user.js';
import type { World } from '../world/world.js';
import type { LazyMembers } from './lazy-members.js';
import type { SyncFilter } from './sync-filter.js';
import type { TimelineLimit } from './timeline.js';

/** One sync: who asks, for what, from where to where. */
export interface SyncContext {
  readonly world: World;
  readonly user: User;
  readonly viewer: Viewer;
  /** Undefined for a token without a device. */
  readonly deviceId: string | undefined;
  readonly filter: SyncFilter;
  /** The position that the client has; undefined on an initial sync. */
  readonly since: number | undefined;
  /** The position that the client has among the messages to its device. */
  readonly toDeviceSince: number;
  /** The position that this sync leads to. */
  readonly upTo: number;
  readonly fullState: boolean;
  /** Whether the client wants the state after the timeline (MSC4222). */
  readonly useStateAfter: boolean;
  readonly timelineLimit: TimelineLimit | undefined;
  readonly lazyMembers: LazyMembers;
}
