import * as v from 'valibot';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { mapConcurrently } from '../core/map-concurrently.js';
import { readMemberProfile } from '../core/member-profile.js';
import { decodeCursorText, encodeCursorText } from '../core/opaque-cursor.js';
import { isObject, isRawEvent } from '../core/raw-event.js';
import type { EventContent, RawEvent } from '../core/raw-event.js';
import { ownProperty } from '../core/own-property.js';
import { noChanges, toRoomMessage } from '../core/room-message.js';
import type { RoomMessage } from '../core/room-message.js';
import { kindOf } from '../core/timeline-event.js';
import {
  checkedAs,
  nullAsAbsent,
  optionsOf,
  roomId,
  signal,
  unchecked,
  userId,
  wholeNumber,
} from '../core/validation.js';
import type { Schema } from '../core/validation.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import { optionalNumber } from '../http/response-parts.js';
import type { Session } from '../http/session.js';
import type { PageCaller } from './page-request.js';

export interface SearchMessagesOptions {
  readonly userId: string;
  /** The words to search for, up to 1,000 characters. How they match is up to the homeserver: Synapse finds messages that have all of them. */
  readonly term: string;
  /**
   * The rooms to search, 1 to 100. A room that was upgraded is searched with its predecessors. Without it: all rooms that
   * the user has joined, of which encrypted ones are never found, because the homeserver cannot read their messages.
   */
  readonly rooms?: readonly string[] | undefined;
  /** How many messages at most, 1 to 100. @default 20 */
  readonly limit?: number | undefined;
  /** The `end` of the previous page, with the same `term` and `rooms`. @default the newest messages */
  readonly from?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

const MAX_TERM_LENGTH = 1_000;
const MAX_ROOMS = 100;
const MAX_RESULTS = 100;
/** How many requests for the encryption of rooms are under way at a time. */
const CONCURRENCY = 5;

/** Synapse fails with 500 for a term without a word, and its database for one with NUL. */
const term = checkedAs<string>(
  `a text of up to ${MAX_TERM_LENGTH} characters with a letter or a digit, without NUL`,
  (value) =>
    typeof value === 'string' &&
    value.length <= MAX_TERM_LENGTH &&
    value.isWellFormed() &&
    !value.includes('\0') &&
    /[\p{L}\p{N}]/u.test(value),
);
const rooms: Schema<readonly string[]> = v.pipe(
  checkedAs<unknown[]>(
    `a list of 1 to ${MAX_ROOMS} room ids`,
    (ids) => Array.isArray(ids) && ids.length > 0 && ids.length <= MAX_ROOMS,
  ),
  v.array(roomId),
);

export const searchMessagesSchema = optionsOf<SearchMessagesOptions>({
  userId,
  term,
  rooms: nullAsAbsent(rooms),
  limit: nullAsAbsent(wholeNumber(1, MAX_RESULTS)),
  from: nullAsAbsent(unchecked<string>()),
  signal: v.optional(signal),
});

export interface FoundMessages {
  /** Newest first. An edit is a message of its own here, with `edits`. */
  readonly messages: RoomMessage[];
  /** Words that matched, to be marked in the texts. */
  readonly highlights: string[];
  /** About how many messages match in all rooms, as the homeserver says. */
  readonly count: number | undefined;
  /** The cursor of the next, older page; absent on the last one. A page can be empty. */
  readonly end?: string;
}

/** The rooms that were seen encrypted, by any user. */
interface SeenEncryption {
  has(roomId: string): Promise<boolean>;
  note(rooms: Iterable<readonly [roomId: string, content: EventContent]>): void;
}

const resultsSchema = v.object({
  search_categories: v.object({
    room_events: v.object({
      results: v.nullish(v.array(v.unknown()), []),
      highlights: v.fallback(v.nullish(v.array(v.unknown()), []), []),
      count: optionalNumber,
      next_batch: v.nullish(v.string()),
    }),
  }),
});

const joinedRoomsSchema = v.object({ joined_rooms: v.array(v.unknown()) });

/** Searches messages with the search of the homeserver. */
export class MessageSearch {
  readonly #http: HomeserverHttp;
  readonly #seen: SeenEncryption;

  constructor(http: HomeserverHttp, seen: SeenEncryption) {
    this.#http = http;
    this.#seen = seen;
  }

  /** @see https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3search */
  async search(
    { session, userSession }: PageCaller,
    options: SearchMessagesOptions,
    callSignal: AbortSignal,
  ): Promise<FoundMessages> {
    const { term: text, rooms: roomIds, limit = 20 } = options;
    const batch = readCursor(options);
    if (roomIds) await this.#assertSearchable(session, roomIds, callSignal);
    const { search_categories: categories } = await this.#http.request(resultsSchema, {
      operation: 'searching messages',
      userId: session.userId,
      method: 'POST',
      path: '/_matrix/client/v3/search',
      query: { next_batch: batch },
      body: {
        search_categories: {
          room_events: {
            search_term: text,
            keys: ['content.body'],
            order_by: 'recent',
            filter: { limit, ...(roomIds && { rooms: roomIds }) },
            event_context: { before_limit: 0, after_limit: 0, include_profile: true },
          },
        },
      },
      repeatable: true,
      session,
      signal: callSignal,
    });
    const { results, highlights, count, next_batch: next } = categories.room_events;
    const messages = results.flatMap((result) => {
      const event = ownProperty(result, 'result');
      const room = ownProperty(event, 'room_id');
      if (!isRawEvent(event) || typeof room !== 'string' || kindOf(event) !== 'message') return [];
      const sender = profileIn(result, event);
      return [toRoomMessage(room, event, noChanges, (id) => userSession?.memberOf(room, id) ?? sender)];
    });
    this.#http.countMalformed(results.length - messages.length);
    return {
      messages,
      highlights: highlights.filter((word) => typeof word === 'string'),
      count,
      ...(next != null && next !== batch && { end: encodeCursorText(scopeOf(options), { next }) }),
    };
  }

  /** The homeserver returns nothing of rooms that it cannot search, which is not the same as no message. */
  async #assertSearchable(session: Session, roomIds: readonly string[], callSignal: AbortSignal): Promise<void> {
    const common = { userId: session.userId, method: 'GET', session, signal: callSignal } as const;
    const { joined_rooms: joinedRooms } = await this.#http.request(joinedRoomsSchema, {
      ...common,
      operation: 'listing the rooms to search',
      path: '/_matrix/client/v3/joined_rooms',
    });
    const joined = new Set(joinedRooms);
    const other = roomIds.find((id) => !joined.has(id));
    if (other !== undefined) throw failure('FORBIDDEN', `${session.userId} has not joined ${other}`, session, other);
    await mapConcurrently([...new Set(roomIds)], CONCURRENCY, async (id) => {
      if (await this.#isEncrypted(id, common)) {
        throw failure('ENCRYPTED_ROOM', `${id} is encrypted, so that the homeserver cannot search it`, session, id);
      }
    });
  }

  async #isEncrypted(
    id: string,
    common: Omit<Parameters<HomeserverHttp['request']>[1], 'operation' | 'path'>,
  ): Promise<boolean> {
    if (await this.#seen.has(id)) return true;
    try {
      const content = await this.#http.request(v.looseObject({}), {
        ...common,
        operation: `finding out whether ${id} is encrypted`,
        roomId: id,
        path: path`/_matrix/client/v3/rooms/${id}/state/m.room.encryption/`,
      });
      this.#seen.note([[id, content]]);
      return true;
    } catch (error) {
      if (isManagerError(error, 'NOT_FOUND')) return false;
      throw error;
    }
  }
}

function profileIn(result: unknown, { sender }: RawEvent): ReturnType<typeof readMemberProfile> | undefined {
  const profile = ownProperty(ownProperty(ownProperty(result, 'context'), 'profile_info'), sender);
  return isObject(profile) ? readMemberProfile(profile) : undefined;
}

function readCursor(options: SearchMessagesOptions): string | undefined {
  if (options.from === undefined) return undefined;
  const cursor = decodeCursorText(scopeOf(options), options.from);
  if (isObject(cursor) && typeof cursor.next === 'string') return cursor.next;
  const message =
    'expected `from` to be the unchanged `end` of an earlier page of this search, and `term` and `rooms` to be those of it. Start again without `from`';
  throw new MatrixClientManagerError('INVALID_CURSOR', message, { userId: options.userId });
}

function scopeOf({ term: text, rooms: roomIds }: SearchMessagesOptions): string {
  return JSON.stringify(['search', text, roomIds?.toSorted() ?? null]);
}

function failure(
  code: 'FORBIDDEN' | 'ENCRYPTED_ROOM',
  why: string,
  session: Session,
  id: string,
): MatrixClientManagerError {
  return new MatrixClientManagerError(code, `searching messages failed: ${why}`, {
    userId: session.userId,
    roomId: id,
  });
}
