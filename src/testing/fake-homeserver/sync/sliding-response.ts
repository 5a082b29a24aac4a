import type { JsonObject } from '../json.js';
import { receiptContent } from '../rooms/receipts.js';
import type { Room } from '../rooms/room.js';
import { membershipIn } from '../rooms/room-event.js';
import type { User } from '../world/user.js';
import type { World } from '../world/world.js';
import type { SlidingPosition } from './sliding-connections.js';
import type { SlidingList, SlidingRequest, SlidingRoomConfig } from './sliding-request.js';
import type { SlidingRoom } from './sliding-room.js';
import { slidingRoom } from './sliding-room.js';
import type { SyncContext } from './sync-context.js';
import { parseSyncFilter } from './sync-filter.js';

/** Types of events that move a room to the top of a list. Only those used here. */
const BUMPS = new Set(['m.room.create', 'm.room.message', 'm.room.encrypted', 'm.sticker']);

/** The context shared by all rooms of a response. */
export type SlidingContext = Omit<SyncContext, 'filter' | 'since'>;

/** A response of simplified sliding sync without its `pos`, and the rooms that were sent with it. */
export function slidingResponse(
  context: SlidingContext,
  request: SlidingRequest,
  from: SlidingPosition | undefined,
): { body: JsonObject; position: SlidingPosition; isEmpty: boolean } {
  const { world, user, upTo } = context;
  const wanted = new Map<string, SlidingRoomConfig>();
  const lists: JsonObject = {};
  for (const [name, list] of request.lists) {
    const all = roomsInList(world, user, list).map(({ roomId }) => roomId);
    const ops = list.ranges.map(([first, last]) => ({
      op: 'SYNC',
      range: [first, last],
      room_ids: all.slice(first, last + 1),
    }));
    for (const roomId of ops.flatMap(({ room_ids: roomIds }) => roomIds)) addWanted(wanted, roomId, list);
    lists[name] = { count: all.length, ops };
  }
  for (const [roomId, config] of request.subscriptions) {
    if (user.rooms.get(roomId)?.membership === 'join') addWanted(wanted, roomId, config);
  }
  const sent = new Map(from?.sent);
  const rooms = new Map<string, SlidingRoom>();
  for (const [roomId, config] of wanted) {
    const room = world.rooms.get(roomId) as Room;
    const filter = parseSyncFilter({ room: { timeline: { limit: config.timelineLimit } } });
    const sentRooms = slidingRoom({ ...context, filter, since: sent.get(roomId) }, room, config);
    if (sentRooms) rooms.set(roomId, sentRooms);
    sent.set(roomId, upTo);
  }
  const extensions = extensionsOf(context, request, wanted.keys(), rooms, from);
  const isEmpty = rooms.size === 0 && Object.values(extensions).every(({ rooms: of }) => Object.keys(of).length === 0);
  const bodies = Object.fromEntries([...rooms].map(([roomId, { body }]) => [roomId, body]));
  return { body: { lists, rooms: bodies, extensions }, position: { upTo, sent }, isEmpty };
}

/** A room in several lists or subscriptions gets the larger timeline limit and all required state. */
function addWanted(wanted: Map<string, SlidingRoomConfig>, roomId: string, config: SlidingRoomConfig): void {
  const other = wanted.get(roomId) ?? { requiredState: [], timelineLimit: 0 };
  wanted.set(roomId, {
    requiredState: [...other.requiredState, ...config.requiredState],
    timelineLimit: Math.max(other.timelineLimit, config.timelineLimit),
  });
}

/** The user's rooms, invites and the rooms they were removed from, latest activity first. */
function roomsInList(world: World, user: User, { isInvite }: SlidingList): Room[] {
  const rooms = [...user.rooms].flatMap(([roomId, { forgotten }]) => {
    const room = world.rooms.get(roomId);
    const last = room?.membershipsOf(user.userId).at(-1);
    if (!room || !last || forgotten) return [];
    const membership = membershipIn(last);
    if (membership === 'leave' && last.sender === user.userId) return [];
    if (membership === 'invite' && user.ignores(last.sender)) return [];
    return isInvite === undefined || isInvite === (membership === 'invite') ? [room] : [];
  });
  return rooms.toSorted((a, b) => bumpStamp(b, user) - bumpStamp(a, user));
}

function bumpStamp(room: Room, { userId }: User): number {
  const last = room.membershipsOf(userId).at(-1);
  const bump = room.joined.has(userId) ? room.events.findLast(({ type }) => BUMPS.has(type)) : last;
  return bump?.stream ?? 0;
}

function extensionsOf(
  { world, user }: SlidingContext,
  { extensions }: SlidingRequest,
  roomIds: Iterable<string>,
  told: ReadonlyMap<string, SlidingRoom>,
  from: SlidingPosition | undefined,
): Record<string, { rooms: JsonObject }> {
  const accountData: JsonObject = {};
  const receipts: JsonObject = {};
  const typing: JsonObject = {};
  for (const roomId of roomIds) {
    const room = world.rooms.get(roomId) as Room;
    const since = from?.sent.get(roomId);
    const data = user.roomAccountData(roomId).eventsAfter(since ?? 0);
    if (data.length > 0) accountData[roomId] = data;
    if (!room.joined.has(user.userId)) continue;
    // A room that is new to the connection has only receipts for its timeline, and the user's own.
    const current = room.receipts.after(since ?? 0, user.userId).filter(({ eventId, userId }) => {
      return since !== undefined || userId === user.userId || told.get(roomId)?.eventIds.has(eventId);
    });
    if (current.length > 0) receipts[roomId] = { type: 'm.receipt', content: receiptContent(current) };
    const { lastStream, userIds } = room.typing;
    if (lastStream > (from?.upTo ?? 0)) typing[roomId] = { type: 'm.typing', content: { user_ids: userIds } };
  }
  return {
    ...(extensions.has('account_data') && { account_data: { rooms: accountData } }),
    ...(extensions.has('receipts') && { receipts: { rooms: receipts } }),
    ...(extensions.has('typing') && { typing: { rooms: typing } }),
  };
}
