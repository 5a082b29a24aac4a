import type { JsonObject } from '../json.js';
import type { Room } from '../rooms/room.js';
import { membershipIn } from '../rooms/room-event.js';
import { encryptionNews, encryptionSections, hasEncryptionNews } from './encryption-news.js';
import { pushRules } from './push-rules.js';
import { invitedEntry, joinedEntry, leftEntry } from './room-entry.js';
import type { SyncContext } from './sync-context.js';

export interface SyncResponse {
  readonly body: JsonObject;
  /** Whether it tells of nothing, so that a long poll goes on waiting. */
  readonly isEmpty: boolean;
}

/**
 * One answer of /sync, as far as the homeserver has got. Costs what is new and what rooms the user has, not what the
 * rooms hold. Like Synapse it leaves empty sections out.
 */
export function syncResponse(context: SyncContext): SyncResponse {
  const { world, user, filter, since, upTo } = context;
  const isFull = since === undefined || context.fullState;
  const accountData = [
    ...(isFull ? [{ type: 'm.push_rules', content: pushRules(user) }] : []),
    ...user.accountData.eventsAfter(isFull ? 0 : since),
  ].filter((event) => filter.accountData.accepts(event));
  const rooms = roomsOf(context);
  const encryption = encryptionNews(context);
  return {
    body: {
      next_batch: world.positions.sync(upTo, encryption.toDevice.upTo),
      ...(accountData.length > 0 && { account_data: { events: accountData } }),
      ...(rooms && { rooms }),
      ...encryptionSections(encryption),
    },
    isEmpty: accountData.length === 0 && !rooms && !hasEncryptionNews(encryption),
  };
}

type Section = 'join' | 'invite' | 'leave';

function roomsOf(context: SyncContext): JsonObject | undefined {
  const sections: Partial<Record<Section, JsonObject>> = {};
  for (const [roomId, { forgotten }] of context.user.rooms) {
    const room = context.world.rooms.get(roomId);
    if (!room || forgotten || !context.filter.rooms.acceptsRoom(roomId)) continue;
    const entry = entryOf(context, room);
    if (entry) (sections[entry.section] ??= {})[roomId] = entry.body;
  }
  return Object.keys(sections).length > 0 ? sections : undefined;
}

function entryOf(context: SyncContext, room: Room): { section: Section; body: JsonObject } | undefined {
  const { userId } = context.user;
  const last = room.membershipsOf(userId).at(-1);
  if (!last) return undefined;
  const isNews = last.stream > (context.since ?? 0);
  switch (membershipIn(last)) {
    case 'join': {
      const body = joinedEntry(context, room);
      return body && { section: 'join', body };
    }
    case 'invite':
      return isNews ? { section: 'invite', body: invitedEntry(context, room) } : undefined;
    default: {
      // an initial sync tells of rooms that others made the user leave, and of those they left when asked to
      const isTold = context.since === undefined ? last.sender !== userId || context.filter.includeLeave : isNews;
      return isTold ? { section: 'leave', body: leftEntry(context, room, last.stream) } : undefined;
    }
  }
}
