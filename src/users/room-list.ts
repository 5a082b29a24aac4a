import type { AccountData } from '../account-data/account-data.js';
import { orAborted, throwIfAborted, withDeadline } from '../core/abort.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { readMemberProfile } from '../core/member-profile.js';
import { mxcUri } from '../core/mxc-uri.js';
import { encodeCursorText } from '../core/opaque-cursor.js';
import type { KnownRoom } from '../core/ports/known-room.js';
import { needsDecryption } from '../core/raw-event.js';
import type { EventContent, RawEvent } from '../core/raw-event.js';
import { changesOf, toRoomMessage } from '../core/room-message.js';
import type { EditsAndRedactions, RoomMessage } from '../core/room-message.js';
import { isSignalling } from '../core/signalling.js';
import { NOTHING_UNREAD } from '../core/unread-count.js';
import type { UnreadCount } from '../core/unread-count.js';
import type { EncryptedRooms } from '../encryption/encrypted-rooms.js';
import type { UserEncryption } from '../sdk/crypto/user-encryption.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import type { Session } from '../http/session.js';
import { eventTypeFilter } from '../messages/event-types.js';
import { roomName } from '../rooms/room-name.js';
import { requestRoomList } from '../sync/room-list-request.js';
import type { ListedRoom } from '../sync/room-list-request.js';
import { offersSlidingSync } from '../sync/sliding-sync.js';
import type { SyncContext, SyncSettings } from '../sync/sync-context.js';
import type { ListRoomsOptions, RoomSummary, RoomSummaryPage } from './room-list-options.js';
import { BEGINNING, byActivity, placeAfter, readPlace, sortedPage } from './room-pages.js';
import type { Page, Place } from './room-pages.js';
import type { UnreadReader } from './unread-totals.js';
import type { CallerSession } from './user-calls.js';
import type { UserSession } from './user-session.js';

/** A room, what its newest events, oldest first, show, and its unread count, if that is known. */
interface Candidate {
  readonly roomId: string;
  readonly room: KnownRoom;
  readonly newest: readonly RawEvent[];
  readonly changes: EditsAndRedactions;
  /** The last of the newest events that is a message. */
  readonly lastMessage: RawEvent | undefined;
  /** Time of the last message, or else of the newest event; 0 without events. */
  readonly lastActivityAt: number;
  readonly unread: UnreadCount | undefined;
}

/** The places that a window of the homeserver's list overlaps with the page before, in case a listed room has left it. */
const OVERLAP = 5;
/** The most rooms that a window grows to while it has none to list. */
const MAX_WINDOW = 200;
/** How many windows a page looks through for a room to list. */
const MAX_WINDOWS = 10;
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
  readonly #isListed = eventTypeFilter();

  constructor(context: HomeserverContext, options: RoomListOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** Takes as long as a start may take, retries included; then rejects with `TIMEOUT`. */
  read(
    caller: CallerSession,
    options: Omit<ListRoomsOptions, 'signal'>,
    signal: AbortSignal,
  ): Promise<RoomSummaryPage> {
    const { clock, limits } = this.#context;
    const { userId } = caller.session;
    const timeoutMs = limits.startTimeoutMs;
    const message = `the rooms of ${userId} did not come within ${timeoutMs} ms (startTimeoutMs)`;
    return withDeadline(
      { clock, timeoutMs, signal },
      () => new MatrixClientManagerError('TIMEOUT', message, { userId }),
      (deadline) => this.#read(caller, options, deadline),
    );
  }

  async #read(
    caller: CallerSession,
    { limit = DEFAULT_LIMIT, from, membership = 'join' }: Omit<ListRoomsOptions, 'signal'>,
    signal: AbortSignal,
  ): Promise<RoomSummaryPage> {
    const { session, userSession } = caller;
    const scope = `rooms\0${session.userId}\0${membership}`;
    const before = from === undefined ? BEGINNING : readPlace(scope, from, session.userId);
    const known = userSession && this.#fromClient(userSession, membership);
    const context = this.#syncContext(session, signal);
    const needsCounts = membership === 'join' && (known !== undefined || (await offersSlidingSync(context)));
    const counts = needsCounts ? this.#options.unread.of(caller, signal) : new Map<string, UnreadCount>();
    const direct = known
      ? userSession.engine.accountData('m.direct')
      : this.#options.accountData.getIfPresent(session, { type: 'm.direct' }, signal);
    const page = known ? sortedPage(known, limit, before) : this.#fromHomeserver(context, membership, limit, before);
    const [{ rooms, place, hasMore }, unread, directRooms] = await Promise.all([page, counts, direct]);
    const directIds = idsOf(directRooms);
    const summaries = rooms.map((candidate) => {
      return this.#summary(caller, candidate, directIds, unread.get(candidate.room.roomId), signal);
    });
    const listed = (await Promise.all(summaries)).toSorted(byActivity);
    return { rooms: listed, ...(hasMore && { next: encodeCursorText(scope, place) }) };
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

  #isMessage(event: RawEvent, changes: EditsAndRedactions): boolean {
    return this.#isListed(event, changes) && !isSignalling(event);
  }

  #candidate(room: KnownRoom, timeline: readonly RawEvent[], unread: UnreadCount | undefined): Candidate {
    const newest = timeline.slice(-NEWEST_EVENTS);
    const changes = changesOf(newest);
    const lastMessage = newest.findLast((event) => this.#isMessage(event, changes));
    const { origin_server_ts: lastActivityAt = 0 } = lastMessage ?? newest.at(-1) ?? {};
    return { roomId: room.roomId, room, newest, changes, lastMessage, lastActivityAt, unread };
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
    before: Place,
  ): Promise<Page<Candidate>> {
    const listed = new Set(before.recent);
    let { index, edges } = before;
    for (let [windows, size, repeats] = [1, limit, 0]; ; windows++) {
      const first = Math.max(0, index - OVERLAP);
      const last = index + size - 1;
      const answer = await requestRoomList(context, { first, last, isMember: membership === 'join' });
      const candidates = this.#candidates(answer.rooms, membership);
      if (!answer.window) return sortedPage(candidates, limit, before);
      const { roomIds, hasMore } = answer.window;
      // A homeserver that ignores the indexes answers with the same window for ever.
      const isRepeated = roomIds[0] === edges?.[0] && roomIds.at(-1) === edges?.[1];
      repeats = isRepeated ? repeats + 1 : 0;
      const fresh = isRepeated ? [] : candidates.filter(({ roomId }) => !listed.has(roomId));
      const rooms = fresh.slice(0, limit);
      const isCut = fresh.length > rooms.length;
      const length = isCut ? roomIds.indexOf(rooms.at(-1)?.roomId ?? '') + 1 : roomIds.length;
      index = first + length;
      edges = [roomIds[0] ?? '', roomIds[length - 1] ?? ''];
      const isLast = repeats > 1 || !(hasMore || isCut);
      // Rooms that the user was removed from are in the window, and are not listed. There may be many of them.
      if (rooms.length > 0 || isLast || windows === MAX_WINDOWS) {
        return { rooms, place: placeAfter(rooms, before, index, edges), hasMore: !isLast };
      }
      size = Math.min(size * 2, Math.max(size, MAX_WINDOW));
    }
  }

  #candidates(rooms: readonly ListedRoom[], membership: KnownRoom['membership']): Candidate[] {
    const { encryptedRooms } = this.#options;
    const wanted = rooms.filter((room) => room.membership === membership);
    for (const room of membership === 'join' ? wanted : []) {
      const content = room.state('m.room.encryption');
      if (content) encryptedRooms.note([[room.roomId, content]]);
    }
    return wanted.map((room) => this.#candidate(room, room.timeline, room.unread));
  }

  async #summary(
    { session, userSession }: CallerSession,
    candidate: Candidate,
    direct: ReadonlySet<string>,
    count: UnreadCount | undefined,
    signal: AbortSignal,
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
      avatarUrl: mxcUri(room.state('m.room.avatar')?.url) ?? heroAvatar,
      topic: nonEmpty(room.state('m.room.topic')?.topic),
      isDirect,
      isEncrypted,
      membership,
      memberCount: room.joinedCount,
      lastMessage: await this.#lastMessage(candidate, userSession, signal),
      lastActivityAt: isInvite ? undefined : candidate.lastActivityAt || undefined,
      ...(count ?? unread ?? NOTHING_UNREAD),
    };
  }

  async #lastMessage(
    candidate: Candidate,
    userSession: UserSession | undefined,
    signal: AbortSignal,
  ): Promise<RoomMessage | undefined> {
    const { room, newest } = candidate;
    const { roomId } = room;
    let { changes, lastMessage } = candidate;
    const encryption = userSession?.encryption;
    if (encryption && newest.some(needsDecryption)) {
      const events = await this.#decrypted(roomId, newest, encryption, signal);
      ({ changes, lastMessage } = this.#candidate(room, events, undefined));
    }
    return lastMessage && toRoomMessage(roomId, lastMessage, changes, (userId) => profileOf(room, userId));
  }

  /** The events, with the last message and what follows it decrypted. If the client stops meanwhile, the rest is not. */
  async #decrypted(
    roomId: string,
    newest: readonly RawEvent[],
    encryption: UserEncryption,
    signal: AbortSignal,
  ): Promise<RawEvent[]> {
    const rest = [...newest];
    const events: RawEvent[] = [];
    for (let event = rest.pop(); event; event = rest.pop()) {
      const raw = event;
      if (needsDecryption(raw)) {
        const readable = orAborted(encryption.decrypt(roomId, raw), signal, 'listing the rooms');
        event = await readable.catch(() => raw);
        throwIfAborted(signal, 'listing the rooms');
      }
      events.unshift(event);
      if (this.#isMessage(event, changesOf(events))) break;
    }
    return [...rest, ...events];
  }
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

function nonEmpty(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
