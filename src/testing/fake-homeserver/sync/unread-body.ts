import type { JsonObject } from '../json.js';
import { powerOf, roomMentionLevel } from '../rooms/power-levels.js';
import type { Room } from '../rooms/room.js';
import { membershipIn } from '../rooms/room-event.js';
import type { Unread } from '../rooms/unread-counts.js';
import { MAIN_TIMELINE, highlightsFor } from '../rooms/unread-counts.js';
import type { User } from '../world/user.js';

/** The unread counts of a room, in total or, if the client requests it, by thread. */
export function unreadBody(room: Room, user: User, byThread: boolean): JsonObject {
  const { userId, localpart, displayName } = user;
  const names = displayName === undefined ? [localpart] : [localpart, displayName];
  const isHighlight = highlightsFor(userId, names, (sender) => powerOf(room, sender) >= roomMentionLevel(room));
  const unread = room.unread.byThread(joinedAt(room, userId), userId, room.receipts, isHighlight);
  if (!byThread) return { unread_notifications: sum([...unread.values()]) };
  const main = unread.get(MAIN_TIMELINE);
  unread.delete(MAIN_TIMELINE);
  return {
    unread_notifications: sum(main ? [main] : []),
    ...(unread.size > 0 && { unread_thread_notifications: Object.fromEntries(unread) }),
  };
}

/** The position of the user's last join. Earlier events do not count as unread. */
function joinedAt(room: Room, userId: string): number {
  return room.membershipsOf(userId).findLast((event) => membershipIn(event.replaces) !== 'join')?.stream ?? 0;
}

function sum(counts: readonly Unread[]): Unread {
  return {
    notification_count: counts.reduce((total, { notification_count: count }) => total + count, 0),
    highlight_count: counts.reduce((total, { highlight_count: count }) => total + count, 0),
  };
}
