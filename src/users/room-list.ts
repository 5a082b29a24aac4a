import type { AccountData } from '../account-data/account-data.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { readMemberProfile } from '../core/member-profile.js';
import { decodeCursorText, encodeCursorText } from '../core/opaque-cursor.js';
import type { KnownRoom } from '../core/ports/known-room.js';
import { isObject, needsDecryption } from '../core/raw-event.js';
import type { EventContent, RawEvent } from '../core/raw-event.js';
import { changesOf, toRoomMessage } from '../core/room-message.js';
import type { EditsAndRedactions, RoomMessage } from '../core/room-message.js';
import { NOTHING_UNREAD } from '../core/unread-count.js';
import type { UnreadCount } from '../core/unread-count.js';
import type { EncryptedRooms } from '../encryption/encrypted-rooms.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import type { Session } from '../http/session.js';
import { eventTypeFilter } from '../messages/event-types.js';
import { roomName } from '../rooms/room-name.js';
import { requestRoomList } from '../sync/room-list-request.js';
import { offersSlidingSync } from '../sync/sliding-sync.js';
import type { SyncContext, SyncSettings } from '../sync/sync-context.js';
import type { ListRoomsOptions, RoomSummary, RoomSummaryPage } from './room-list-options.js';
import type { UnreadReader } from './unread-totals.js';
import type { CallerSession } from './user-calls.js';
import type { UserSession } from './user-session.js';

/** A room, what its newest events, oldest first, show, and its unread count, if that is known. */
interface Candidate {
  readonly room: KnownRoom;
  readonly newest: readonly RawEvent[];
  readonly changes: EditsAndRedactions;
  /** The last of the newest events that is a message. */
  readonly lastMessage: RawEvent | undefined;
  /** Time of the last message, or else of the newest event; 0 without events. */
  readonly lastActivityAt: number;
  readonly unread: UnreadCount | undefined;
}

/** The last room of a page: its place in the list, and what it is ordered by. */
interface Place {
  readonly index: number;
  readonly at: number;
  /** Ids of the last rooms that were listed. */
  readonly recent: readonly string[];
}

/** The places that a window of the homeserver's list overlaps with the page before, in case a listed room has left it. */
const OVERLAP = 5;
const DEFAULT_LIMIT = 50;
/** Among how many of a room's newest events the last message is looked for. */
const NEWEST_EVENTS = 20;

export interface RoomListOptions {
  readonly settings: SyncSettings;
  readonly encryptedRooms: EncryptedRooms;
  readonly accountData: AccountData;
  readonly unread: UnreadReader;
}

/** Lists the rooms of a user: from their client, if it knows all that a list shows, or from the homeserver. */
export class RoomList {
  readonly #context: HomeserverContext;
  readonly #options: RoomListOptions;
  readonly #isMessage = eventTypeFilter();

  constructor(context: HomeserverContext, options: RoomListOptions) {
    this.#context = context;
    this.#options = options;
  }

  async read(
    caller: CallerSession,
    { limit = DEFAULT_LIMIT, from, membership = 'join' }: Omit<ListRoomsOptions, 'signal'>,
    signal: AbortSignal,
  ): Promise<RoomSummaryPage> {
    const { session, userSession } = caller;
    const scope = `rooms\0${session.userId}\0${membership}`;
    const after = from === undefined ? undefined : readPlace(scope, from, session.userId);
    const known = userSession && this.#fromClient(userSession, membership);
    const context = this.#syncContext(session, signal);
    const needsCounts = membership === 'join' && (known !== undefined || (await offersSlidingSync(context)));
    const counts = needsCounts ? this.#options.unread.of(caller, signal) : new Map<string, UnreadCount>();
    const direct = known
      ? userSession.engine.accountData('m.direct')
      : this.#options.accountData.getIfPresent(session, { type: 'm.direct' }, signal);
    const page = known ? sortedPage(known, limit, after) : this.#fromHomeserver(context, membership, limit, after);
    const [{ rooms, index, hasMore }, unread, directRooms] = await Promise.all([page, counts, direct]);
    const directIds = idsOf(directRooms);
    const summaries = rooms.map((candidate) => {
      return this.#summary(caller, candidate, directIds, unread.get(candidate.room.roomId));
    });
    const listed = (await Promise.all(summaries)).toSorted(byActivity);
    const last = rooms.at(-1);
    const recent = [...(after?.recent ?? []), ...rooms.map(({ room }) => room.roomId)].slice(-OVERLAP);
    const place: Place | undefined = last && { index, at: last.lastActivityAt, recent };
    return { rooms: listed, ...(hasMore && place && { next: encodeCursorText(scope, place) }) };
  }

  /** The rooms in the client's memory; undefined if it lacks some, or the newest events of some, as after a restart. */
  #fromClient(userSession: UserSession, membership: KnownRoom['membership']): Candidate[] | undefined {
    const { engine } = userSession;
    if (!engine.isCurrent || engine.hasUnloadedRooms) return undefined;
    const rooms: Candidate[] = [];
    for (const room of engine.rooms()) {
      if (room.membership !== membership) continue;
      const timeline = membership === 'join' ? userSession.currentTimeline(room.roomId) : [];
      const candidate = this.#candidate(room, [...(timeline ?? [])], undefined);
      const { newest, lastMessage } = candidate;
      const isWhole = newest.length >= NEWEST_EVENTS || newest[0]?.type === 'm.room.create';
      if (membership === 'join' && !isWhole && !lastMessage) return undefined;
      rooms.push(candidate);
    }
    return rooms;
  }

  #candidate(room: KnownRoom, timeline: readonly RawEvent[], unread: UnreadCount | undefined): Candidate {
    const newest = timeline.slice(-NEWEST_EVENTS);
    const changes = changesOf(newest);
    const lastMessage = newest.findLast((event) => this.#isMessage(event, changes));
    const { origin_server_ts: lastActivityAt = 0 } = lastMessage ?? newest.at(-1) ?? {};
    return { room, newest, changes, lastMessage, lastActivityAt, unread };
  }

  #syncContext(session: Session, signal: AbortSignal): SyncContext {
    const { userId } = session;
    return {
      ...this.#context,
      ...this.#options.settings,
      userId,
      session,
      signal,
      isStarting: () => false,
      isCall: true,
    };
  }

  async #fromHomeserver(
    context: SyncContext,
    membership: KnownRoom['membership'],
    limit: number,
    after: Place | undefined,
  ): Promise<Page> {
    const { encryptedRooms } = this.#options;
    const first = Math.max(0, (after?.index ?? 0) - OVERLAP);
    const last = (after?.index ?? 0) + limit - 1;
    const answer = await requestRoomList(context, { first, last, isMember: membership === 'join' });
    const candidates = answer.rooms
      .filter((room) => room.membership === membership)
      .map((room) => this.#candidate(room, room.timeline, room.unread));
    for (const { room } of candidates) {
      const content = room.state('m.room.encryption');
      if (content && membership === 'join') encryptedRooms.note([[room.roomId, content]]);
    }
    if (answer.hasMore === undefined) return sortedPage(candidates, limit, after);
    const listed = new Set(after?.recent);
    const fresh = candidates.filter(({ room }) => !listed.has(room.roomId));
    const isCut = fresh.length > limit;
    return {
      rooms: fresh.slice(0, limit),
      index: last + 1 - Math.max(0, fresh.length - limit),
      hasMore: answer.hasMore || isCut,
    };
  }

  async #summary(
    { session, userSession }: CallerSession,
    candidate: Candidate,
    direct: ReadonlySet<string>,
    count: UnreadCount | undefined,
  ): Promise<RoomSummary> {
    const { room, unread } = candidate;
    const { roomId, membership } = room;
    const isInvite = membership === 'invite';
    const isDirect =
      direct.has(roomId) || (isInvite && room.state('m.room.member', session.userId)?.is_direct === true);
    const [hero, ...others] = room.heroes;
    const heroAvatar = isDirect && hero !== undefined && others.length === 0 ? avatarOf(room, hero) : undefined;
    const isEncrypted =
      room.state('m.room.encryption') !== undefined || (await this.#options.encryptedRooms.has(roomId));
    return {
      roomId,
      name: roomName(room),
      avatarUrl: mxc(room.state('m.room.avatar')?.url) ?? heroAvatar,
      topic: nonEmpty(room.state('m.room.topic')?.topic),
      isDirect,
      isEncrypted,
      membership,
      memberCount: room.joinedCount,
      lastMessage: await this.#lastMessage(candidate, userSession),
      lastActivityAt: isInvite ? undefined : candidate.lastActivityAt || undefined,
      ...(count ?? unread ?? NOTHING_UNREAD),
    };
  }

  async #lastMessage(candidate: Candidate, userSession: UserSession | undefined): Promise<RoomMessage | undefined> {
    const { room, newest } = candidate;
    const { roomId } = room;
    let { changes, lastMessage } = candidate;
    const encryption = userSession?.encryption;
    if (encryption && newest.some(needsDecryption)) {
      const events = await Promise.all(newest.map(async (event) => (await encryption.decrypt(roomId, event)) ?? event));
      ({ changes, lastMessage } = this.#candidate(room, events, undefined));
    }
    return lastMessage && toRoomMessage(roomId, lastMessage, changes, (userId) => profileOf(room, userId));
  }
}

interface Page {
  readonly rooms: readonly Candidate[];
  /** The index of the first room after the page. */
  readonly index: number;
  readonly hasMore: boolean;
}

/** The page after `after` of all rooms. */
function sortedPage(candidates: readonly Candidate[], limit: number, after: Place | undefined): Page {
  const last = after?.recent.at(-1) ?? '';
  const sorted = candidates
    .map((candidate) => ({
      candidate,
      lastActivityAt: candidate.lastActivityAt,
      roomId: candidate.room.roomId,
    }))
    .toSorted(byActivity);
  const rest = after
    ? sorted.filter((room) => byActivity({ lastActivityAt: after.at, roomId: last }, room) < 0)
    : sorted;
  const rooms = rest.slice(0, limit).map(({ candidate }) => candidate);
  return { rooms, index: sorted.length - rest.length + rooms.length, hasMore: rest.length > limit };
}

type Ordered = Pick<RoomSummary, 'lastActivityAt' | 'roomId'>;

function byActivity(a: Ordered, b: Ordered): number {
  const newer = (b.lastActivityAt ?? 0) - (a.lastActivityAt ?? 0);
  return newer === 0 ? (a.roomId < b.roomId ? -1 : Number(a.roomId > b.roomId)) : newer;
}

function readPlace(scope: string, from: string, userId: string): Place {
  const place = decodeCursorText(scope, from);
  if (
    isObject(place) &&
    typeof place.index === 'number' &&
    typeof place.at === 'number' &&
    Array.isArray(place.recent)
  ) {
    return place as unknown as Place;
  }
  const message = `expected \`from\` to be the unchanged \`next\` of an earlier page of these rooms of ${userId}. Start again without \`from\``;
  throw new MatrixClientManagerError('INVALID_CURSOR', message, { userId });
}

/** The ids of the rooms in the content of `m.direct`. */
function idsOf(direct: EventContent | undefined): Set<string> {
  const lists = Object.values(direct ?? {}).filter((list): list is unknown[] => Array.isArray(list));
  return new Set(lists.flat().filter((roomId): roomId is string => typeof roomId === 'string'));
}

function profileOf(room: KnownRoom, userId: string): ReturnType<typeof readMemberProfile> | undefined {
  const content = room.state('m.room.member', userId);
  return content && readMemberProfile(content);
}

function avatarOf(room: KnownRoom, userId: string): string | undefined {
  return profileOf(room, userId)?.avatarUrl;
}

function mxc(value: unknown): string | undefined {
  return typeof value === 'string' && value.startsWith('mxc://') ? value : undefined;
}

function nonEmpty(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
