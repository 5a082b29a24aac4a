import * as v from 'valibot';
import { throwIfAborted } from '../core/abort.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { decodeCursor, encodeCursor } from './cursor.js';
import type { PagePosition } from './cursor.js';
import { eventTypeFilter, pageTypes } from './event-types.js';
import { fetchCursorToken, readMessages } from './history-api.js';
import { nullAsAbsent, optionsOf, roomId, signal, unchecked, userId, wholeNumber } from '../core/validation.js';
import type { MemberOf, MemberProfile } from '../core/member-profile.js';
import type { RawEvent } from '../core/raw-event.js';
import { changesOf, noChanges, toRoomMessage } from '../core/room-message.js';
import type { RoomMessage } from '../core/room-message.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { Session } from '../http/session.js';
import type { RoomTimeline } from './room-timeline.js';

export interface GetRoomMessagesOptions {
  readonly roomId: string;
  /** The user to read as. Without it, the account of the option `admin` reads; it sees only rooms that it has joined. */
  readonly userId?: string | undefined;
  /** How many messages at most, 1 to 1,000. @default 50 */
  readonly limit?: number | undefined;
  /** The `end` of the previous page; absent: start at the newest message. */
  readonly from?: string | undefined;
  /**
   * Which events the page contains. Kinds: `message` (every event that is not a state event, a reaction or a redaction),
   * `reaction`, `redaction`, `membership`, `state`. Event types (`m.room.message`), and prefixes of them (`m.call.*`). With
   * the kind `message`, an edit is applied to the message that it changes and is not listed; with an event type, the edits
   * of that type are listed, too.
   * @default ['message']
   */
  readonly types?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

const MAX_PAGE = 1_000;

/** `null` counts as absent, because databases return it for missing values. */
export const getRoomMessagesSchema = optionsOf<GetRoomMessagesOptions>({
  roomId,
  userId: nullAsAbsent(userId),
  limit: nullAsAbsent(wholeNumber(1, MAX_PAGE)),
  from: nullAsAbsent(unchecked()),
  types: v.optional(pageTypes),
  signal: v.optional(signal),
});

export interface MessagePage {
  /** Newest first. */
  readonly messages: RoomMessage[];
  /** The cursor of the next, older page; absent when the user may see no older events. */
  readonly end?: string;
  /** Where the messages came from: the client's memory (`synced`), the homeserver (`rest`), or both (`mixed`). */
  readonly source: 'synced' | 'rest' | 'mixed';
}

/** What a page needs of the user's client. */
export interface PageClient {
  /** The room's newest events without a gap up to now; undefined while the client may be behind. */
  currentTimeline(roomId: string): RoomTimeline | undefined;
  /** The profile of a member of the room, if the client knows it. */
  memberOf(roomId: string, userId: string): MemberProfile | undefined;
  requestFailed(error: unknown): void;
}

/** The session to read with, and the user's client if it runs. */
export interface PageCaller {
  readonly session: Session;
  readonly userSession?: PageClient;
}

type DecryptEvents = (events: readonly RawEvent[]) => Promise<RawEvent[]>;

/** Returns a function that decrypts the events of a page of the room; undefined if the user has no encryption. */
export type PageDecryption = (
  userId: string | undefined,
  roomId: string,
  signal: AbortSignal,
) => DecryptEvents | undefined;

/** A page that is being read. */
interface PageRequest {
  readonly http: HomeserverHttp;
  readonly session: Session;
  readonly roomId: string;
  readonly limit: number;
  readonly isWanted: ReturnType<typeof eventTypeFilter>;
  readonly decrypt: DecryptEvents;
  readonly members: PageMembers;
  readonly signal: AbortSignal;
}

/** The profiles of senders that are known without a request of their own: from the client, or sent with a page. */
class PageMembers {
  readonly #ofClient: MemberOf;
  readonly #ofPages = new Map<string, MemberProfile>();

  constructor(ofClient: MemberOf) {
    this.#ofClient = ofClient;
  }

  /** Adds those of a page. Those of newer pages are kept. */
  add(profiles: ReadonlyMap<string, MemberProfile>): void {
    for (const [userId, profile] of profiles) if (!this.#ofPages.has(userId)) this.#ofPages.set(userId, profile);
  }

  readonly of: MemberOf = (userId) => this.#ofClient(userId) ?? this.#ofPages.get(userId);
}

/** Events that were read. */
interface Chunk<Event> {
  /** Newest first. */
  readonly events: Event[];
  /** Where older events begin; undefined if there are none. */
  readonly next: PagePosition | undefined;
}

/** Most requests for one page. A room can have thousands of consecutive events that `types` does not select. */
const MAX_REQUESTS = 50;

/**
 * Reads pages of a room's messages as the user of a session sees them: first from the timeline in memory of the user's
 * client, then from the homeserver. Both have the same events in the same order, so that pages do not depend on the events
 * in memory.
 */
export class PageReader {
  readonly #http: HomeserverHttp;
  readonly #decryption: PageDecryption;

  constructor(http: HomeserverHttp, decryption: PageDecryption) {
    this.#http = http;
    this.#decryption = decryption;
  }

  async read(
    { session, userSession }: PageCaller,
    { userId, roomId, limit = 50, from, types }: GetRoomMessagesOptions,
    signal: AbortSignal,
  ): Promise<MessagePage> {
    const decrypt = this.#decryption(userId, roomId, signal) ?? (async (events) => [...events]);
    const members = new PageMembers((sender) => userSession?.memberOf(roomId, sender));
    const isWanted = eventTypeFilter(types);
    const request = { http: this.#http, session, roomId, limit, isWanted, decrypt, members, signal };
    const start = from === undefined ? {} : decodeCursor(roomId, from);
    try {
      return await readPage(request, start, userSession?.currentTimeline(roomId));
    } catch (error) {
      userSession?.requestFailed(error);
      throw error;
    }
  }
}

async function readPage(
  request: PageRequest,
  start: PagePosition,
  timeline: RoomTimeline | undefined,
): Promise<MessagePage> {
  const { roomId, limit, isWanted, decrypt } = request;
  const oldest = timeline?.oldest;
  const canUse = timeline !== undefined && timeline.size > 0 && timeline.isOrdered && start.token === undefined;
  const inMemory = canUse ? await readTimeline(request, start, timeline) : undefined;
  const messages = inMemory ? [...inMemory.events] : [];
  let position = inMemory ? inMemory.next : start;
  let requests = 0;
  // After the last request the page may have fewer messages; its cursor continues there.
  while (position && messages.length < limit && requests < MAX_REQUESTS) {
    const { events, next } = await readChunk(request, position, limit - messages.length);
    const [newest] = events;
    if (requests++ === 0 && inMemory && oldest && newest && newest.origin_server_ts > oldest.origin_server_ts) {
      // The order of events is uncertain where memory and homeserver meet, so the page is read from the homeserver only.
      return readPage(request, start, undefined);
    }
    const wanted = (await decrypt(events)).filter((event) => isWanted(event, noChanges));
    messages.push(...wanted.map((event) => toRoomMessage(roomId, event, noChanges, request.members.of)));
    position = next;
  }
  const fromMemory = inMemory?.events.length ?? 0;
  const isFromHomeserver = !inMemory || messages.length > fromMemory;
  return {
    messages,
    ...(position && { end: encodeCursor(roomId, position) }),
    source: isFromHomeserver ? (fromMemory > 0 ? 'mixed' : 'rest') : 'synced',
  };
}

/** The timeline's messages older than `before`; undefined if that event is not in the timeline. */
async function readTimeline(
  { roomId, limit, isWanted, decrypt, members }: PageRequest,
  { before }: PagePosition,
  timeline: RoomTimeline,
): Promise<Chunk<RoomMessage> | undefined> {
  const { prevBatch } = timeline; // read before the await: the timeline may drop its oldest events meanwhile
  const known = await decrypt([...timeline]);
  const end = before === undefined ? known.length : known.findIndex(({ event_id: id }) => id === before);
  if (end < 0) return undefined;
  const changes = changesOf(known);
  const messages: RoomMessage[] = [];
  let last = before;
  for (const event of known.slice(0, end).toReversed()) {
    if (messages.length === limit) return { events: messages, next: { before: last } };
    last = event.event_id;
    if (isWanted(event, changes)) messages.push(toRoomMessage(roomId, event, changes, members.of));
  }
  if (known[0]?.type === 'm.room.create') return { events: messages, next: undefined };
  return { events: messages, next: prevBatch === undefined ? { before: last } : { token: prevBatch } };
}

/** One response of the homeserver: the events older than the position. */
async function readChunk(
  { http, session, roomId, members, signal }: PageRequest,
  { token, before }: PagePosition,
  missing: number,
): Promise<Chunk<RawEvent>> {
  throwIfAborted(signal, `reading messages of ${roomId}`);
  const request = { roomId, signal };
  const from = token ?? (before === undefined ? undefined : await fetchCursorToken(http, session, before, request));
  // Reading from an event's token returns this event first; it was on the previous page and is removed below.
  const limit = before === undefined ? missing : missing + 1;
  const { events, end, members: senders } = await readMessages(http, session, { ...request, from, limit });
  members.add(senders);
  if (end !== undefined && end === from) {
    throw new MatrixClientManagerError(
      'INVALID_RESPONSE',
      `reading messages of ${roomId} failed: the response's \`end\` equals the requested \`from\`, so that older messages cannot be read`,
      { userId: session.userId, roomId },
    );
  }
  const older = before === undefined ? events : events.filter((event) => event.event_id !== before);
  return { events: older, next: end === undefined ? undefined : { token: end } };
}
