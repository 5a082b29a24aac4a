import type { KnownRoom } from '../core/ports/known-room.js';
import { isObject, isRawEvent } from '../core/raw-event.js';
import type { EventContent, RawEvent } from '../core/raw-event.js';
import type { UnreadCount } from '../core/unread-count.js';
import { failureClass } from '../http/failure-class.js';
import type { RoomSections } from './room-sections.js';
import { noSections } from './room-sections.js';
import { offersSlidingSync, SlidingSync } from './sliding-sync.js';
import type { ListWindow } from './sliding-sync.js';
import { initialLimit, NO_EVENTS } from './sync-query.js';
import type { SyncContext } from './sync-context.js';
import { syncOnce } from './sync-requests.js';

/** A room as the homeserver lists it. */
export interface ListedRoom extends KnownRoom {
  /** The newest events, oldest first. */
  readonly timeline: readonly RawEvent[];
  /** Undefined if the answer does not have it. */
  readonly unread: UnreadCount | undefined;
}

export interface RoomListAnswer {
  readonly rooms: readonly ListedRoom[];
  /** Set if these are a window of the rooms, in the homeserver's order. */
  readonly window?: ListWindow;
}

/** The state that a list shows. */
const STATE_TYPES = [
  'm.room.create',
  'm.room.name',
  'm.room.topic',
  'm.room.avatar',
  'm.room.canonical_alias',
  'm.room.encryption',
  'm.room.member',
];

/**
 * Rooms of the user, without a client: by sliding sync the rooms from index `first` to `last` in the order of activity. If
 * the homeserver does not offer it, or it fails, all rooms by one `/sync` that is filtered to what a list shows.
 * @param isMember - whether the user's rooms are listed, or the invitations
 */
export async function requestRoomList(
  context: SyncContext,
  { first, last, isMember }: { readonly first: number; readonly last: number; readonly isMember: boolean },
): Promise<RoomListAnswer> {
  const { userId, logger, signal } = context;
  const toRooms = (sections: RoomSections): ListedRoom[] => [
    ...[...sections.join].map(([roomId, section]) => listedRoom(userId, roomId, 'join', section)),
    ...[...sections.invite].map(([roomId, section]) => listedRoom(userId, roomId, 'invite', section)),
  ];
  if (await offersSlidingSync(context)) {
    try {
      const { sections, window } = await new SlidingSync(context).window(first, last, !isMember);
      return { rooms: toRooms(sections), window };
    } catch (error) {
      const kind = failureClass(error);
      if (signal.aborted || kind === 'unavailable' || kind === 'rate-limited') throw error;
      logger.warn({ userId, err: error }, 'sliding sync failed; listing the rooms with a plain sync');
    }
  }
  const timeline = { limit: initialLimit(context.timelineLimit) };
  const state = { types: STATE_TYPES, lazy_load_members: true };
  const filter = { room: { timeline, state, ephemeral: NO_EVENTS, account_data: NO_EVENTS }, account_data: NO_EVENTS };
  const { response, batch, malformed } = await syncOnce(context, { filter: JSON.stringify(filter), isCatchUp: false });
  context.http.countMalformed(malformed);
  const sections = noSections();
  for (const [roomId, section] of Object.entries(response.rooms.join ?? {})) sections.join.set(roomId, section);
  for (const [roomId, section] of Object.entries(response.rooms.invite ?? {})) sections.invite.set(roomId, section);
  const unread = new Map(batch.rooms.map((room) => [room.roomId, room.unread]));
  const timelines = new Map(batch.rooms.map((room) => [room.roomId, room.timeline]));
  const rooms = toRooms(sections).map((room) => {
    return { ...room, unread: unread.get(room.roomId), timeline: timelines.get(room.roomId) ?? [] };
  });
  return { rooms };
}

function listedRoom(
  userId: string,
  roomId: string,
  membership: ListedRoom['membership'],
  section: unknown,
): ListedRoom {
  const timeline = eventsOf(section, 'timeline');
  const state = new Map<string, EventContent>();
  let inviter: string | undefined;
  const parts = ['state', 'invite_state', 'timeline', 'org.matrix.msc4222.state_after'];
  for (const event of parts.flatMap((part) => eventsOf(section, part))) {
    const { type, state_key: stateKey, content, sender } = event;
    if (typeof stateKey !== 'string' || !isObject(content)) continue;
    state.set(`${String(type)}\0${stateKey}`, content);
    if (type === 'm.room.member' && stateKey === userId && typeof sender === 'string') inviter = sender;
  }
  const summary = isObject(section) && isObject(section.summary) ? section.summary : {};
  const { 'm.heroes': heroes, 'm.joined_member_count': joined, 'm.invited_member_count': invited } = summary;
  const named = Array.isArray(heroes) ? heroes.filter((id): id is string => typeof id === 'string') : [];
  const isInvite = membership === 'invite';
  const members = [...state]
    .filter(([key]) => key.startsWith('m.room.member\0'))
    .map(([, content]) => content.membership);
  // An invitation has no summary, and its state may have the user's own membership only.
  const known = (theirs: string): number => Math.max(1, members.filter((each) => each === theirs).length);
  return {
    roomId,
    membership,
    state: (type, stateKey = '') => state.get(`${type}\0${stateKey}`),
    heroes: isInvite && inviter !== undefined ? [inviter] : named.filter((id) => id !== userId).slice(0, 5),
    joinedCount: typeof joined === 'number' ? joined : isInvite ? known('join') : 1,
    invitedCount: typeof invited === 'number' ? invited : isInvite ? known('invite') : 0,
    timeline: (timeline as unknown[]).filter(isRawEvent),
    unread: undefined,
  };
}

function eventsOf(section: unknown, name: string): Readonly<Record<string, unknown>>[] {
  if (!isObject(section)) return [];
  const part = new Map(Object.entries(section)).get(name);
  return isObject(part) && Array.isArray(part.events) ? part.events.filter(isObject) : [];
}
