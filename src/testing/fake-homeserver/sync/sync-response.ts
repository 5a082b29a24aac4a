import type { JsonObject } from '../json.js';
import type { Room } from '../rooms/room.js';
import { membershipIn } from '../rooms/room-event.js';
import { encryptionChanges, encryptionSections, hasEncryptionChanges } from './encryption-changes.js';
import { presenceEvents } from './presence.js';
import { pushRules } from './push-rules.js';
import { invitedEntry, joinedEntry, knockedEntry, leftEntry } from './room-entry.js';
import type { SyncContext } from './sync-context.js';

export interface SyncResponse {
  readonly body: JsonObject;
  /** Whether the response has no changes, so that a long poll continues to wait. */
  readonly isEmpty: boolean;
}

/**
 * A response of /sync up to the present position. Its cost grows with the changes and the number of rooms, not with
 * the size of the rooms. Empty sections are left out, as in Synapse.
 */
export function syncResponse(context: SyncContext): SyncResponse {
  const { world, user, filter, since, upTo } = context;
  const isFull = since === undefined || context.fullState;
  const accountData = [
    ...(isFull ? [{ type: 'm.push_rules', content: pushRules(user) }] : []),
    ...user.accountData.eventsAfter(isFull ? 0 : since),
  ].filter((event) => filter.accountData.accepts(event));
  const rooms = roomsOf(context);
  const encryption = encryptionChanges(context);
  const presence = presenceEvents(context);
  return {
    body: {
      next_batch: world.positions.sync(upTo, encryption.toDevice.upTo),
      ...(accountData.length > 0 && { account_data: { events: accountData } }),
      ...(presence.length > 0 && { presence: { events: presence } }),
      ...(rooms && { rooms }),
      ...encryptionSections(encryption),
    },
    isEmpty: accountData.length === 0 && presence.length === 0 && !rooms && !hasEncryptionChanges(encryption),
  };
}

type Section = 'join' | 'invite' | 'knock' | 'leave';

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
  const isChanged = last.stream > (context.since ?? 0);
  switch (membershipIn(last)) {
    case 'join': {
      const body = joinedEntry(context, room);
      return body && { section: 'join', body };
    }
    case 'invite':
      return isChanged && !context.user.ignores(last.sender)
        ? { section: 'invite', body: invitedEntry(context, room) }
        : undefined;
    case 'knock':
      return isChanged ? { section: 'knock', body: knockedEntry(context, room) } : undefined;
    default: {
      // an initial sync has rooms that the user was removed from, and with `include_leave` those that they left
      const isIncluded =
        context.since === undefined ? last.sender !== userId || context.filter.includeLeave : isChanged;
      return isIncluded ? { section: 'leave', body: leftEntry(context, room, last.stream) } : undefined;
    }
  }
}
