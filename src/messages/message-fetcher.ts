import { throwIfAborted } from '../core/abort.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { RawEvent } from '../core/raw-event.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { Session } from '../http/session.js';
import { decodeCursor, encodeCursor, invalidCursor } from './cursor.js';
import type { PagePosition } from './cursor.js';
import { eventTypeFilter } from './event-types.js';
import { readMessages, fetchEventToken } from './history-api.js';
import { changesOf, noChanges, toRoomMessage } from './room-message.js';
import type { RoomMessage } from './room-message.js';
import type { RoomTimeline } from './room-timeline.js';

export interface MessagePage {
  /** Newest first. */
  readonly messages: RoomMessage[];
  /** The cursor of the next, older page; absent when the user may see no older events. */
  readonly end?: string;
  /** Where the messages came from: the client's memory (`synced`), the homeserver (`rest`), or both (`mixed`). */
  readonly source: 'synced' | 'rest' | 'mixed';
}

export interface PageRequest {
  readonly roomId: string;
  /** How many messages at most. */
  readonly limit: number;
  /** The `end` of the previous page; absent: start at the newest event. */
  readonly from?: string | undefined;
  /** Which events the page contains. @default ['message'] */
  readonly types?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Decrypts those of the events that can be decrypted. @default none */
  readonly decrypt?: ((events: readonly RawEvent[]) => Promise<RawEvent[]>) | undefined;
}

/** Most requests for one page. A room can have thousands of consecutive events that `types` does not select. */
const MAX_REQUESTS = 50;

/**
 * Reads a page of a room's messages as the user of `session` sees them: first from `timeline`, then from the
 * homeserver. Both have the same events in the same order, so that pages do not depend on the events in memory.
 */
export async function fetchPage(
  http: HomeserverHttp,
  session: Session,
  timeline: RoomTimeline | undefined,
  request: PageRequest,
): Promise<MessagePage> {
  const { roomId, limit, from, signal, decrypt = async (events) => [...events] } = request;
  const oldest = timeline?.oldest;
  const wanted = eventTypeFilter(request.types);
  const messages: RoomMessage[] = [];
  let position: PagePosition | undefined = from === undefined ? {} : decodeCursor(roomId, from);

  let synced = false;
  if (timeline && timeline.size > 0 && timeline.isOrdered && position.token === undefined) {
    const { prevBatch } = timeline; // read before the await: the timeline may drop its oldest events meanwhile
    const events = await decrypt([...timeline]);
    const inMemory = readTimeline({ events, prevBatch }, position, wanted, limit, roomId);
    if (inMemory) {
      synced = true;
      messages.push(...inMemory.messages);
      position = inMemory.position;
    }
  }
  const fromTimeline = messages.length;
  let askedHomeserver = false;
  for (let requests = 0; position && messages.length < limit; requests++) {
    if (requests === MAX_REQUESTS) break; // the page has fewer messages; its cursor continues here
    askedHomeserver = true;
    const chunk = await readChunk(http, session, roomId, position, limit - messages.length, signal);
    const [newest] = chunk.events;
    if (synced && requests === 0 && oldest && newest && newest.origin_server_ts > oldest.origin_server_ts) {
      // The order of events is uncertain where memory and homeserver meet, so the page is read from the homeserver only.
      return fetchPage(http, session, undefined, request);
    }
    const events = await decrypt(chunk.events);
    messages.push(
      ...events.filter((event) => wanted(event, noChanges)).map((event) => toRoomMessage(roomId, event, noChanges)),
    );
    position = chunk.position;
  }
  const isFromHomeserver = askedHomeserver && (messages.length > fromTimeline || !synced);
  return {
    messages,
    ...(position && { end: encodeCursor(roomId, position) }),
    source: isFromHomeserver ? (fromTimeline > 0 ? 'mixed' : 'rest') : 'synced',
  };
}

/** The timeline's messages older than `position`; undefined if `position.before` is not in the timeline. */
function readTimeline(
  timeline: { readonly events: readonly RawEvent[]; readonly prevBatch: string | undefined },
  position: PagePosition,
  wanted: ReturnType<typeof eventTypeFilter>,
  limit: number,
  roomId: string,
): { messages: RoomMessage[]; position: PagePosition | undefined } | undefined {
  const { before } = position;
  const { events: known, prevBatch } = timeline;
  const end = before === undefined ? known.length : known.findIndex(({ event_id: id }) => id === before);
  if (end < 0) return undefined;
  const events = known.slice(0, end).toReversed();
  const changes = changesOf(known);
  const messages: RoomMessage[] = [];
  let last: RawEvent | undefined;
  for (const event of events) {
    if (messages.length === limit) return { messages, position: { before: (last as RawEvent).event_id } };
    last = event;
    if (wanted(event, changes)) messages.push(toRoomMessage(roomId, event, changes));
  }
  const oldest = last?.event_id ?? before;
  if ((last ?? known[0])?.type === 'm.room.create') return { messages, position: undefined };
  if (prevBatch !== undefined) return { messages, position: { token: prevBatch } };
  return { messages, position: oldest === undefined ? {} : { before: oldest } };
}

/** One response of the homeserver: the events older than `position`, and the position of the next request. */
async function readChunk(
  http: HomeserverHttp,
  session: Session,
  roomId: string,
  position: PagePosition,
  missing: number,
  signal: AbortSignal | undefined,
): Promise<{ events: RawEvent[]; position: PagePosition | undefined }> {
  throwIfAborted(signal, `reading messages of ${roomId}`);
  const { before } = position;
  const from =
    position.token ??
    (before === undefined ? undefined : await tokenOfCursorEvent(http, session, roomId, before, signal));
  // Reading from an event's token returns this event first; it was on the previous page and is removed below.
  const limit = before === undefined ? missing : missing + 1;
  const { events, end } = await readMessages(http, session, { roomId, from, limit, signal });
  if (end !== undefined && end === from) {
    throw new MatrixClientManagerError(
      'INVALID_RESPONSE',
      `reading messages of ${roomId} failed: the response's \`end\` equals the requested \`from\`, so that older messages cannot be read`,
      { userId: session.userId, roomId },
    );
  }
  const older = before === undefined ? events : events.filter((event) => event.event_id !== before);
  return { events: older, position: end === undefined ? undefined : { token: end } };
}

async function tokenOfCursorEvent(
  http: HomeserverHttp,
  session: Session,
  roomId: string,
  eventId: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  try {
    return await fetchEventToken(http, session, roomId, eventId, signal);
  } catch (error) {
    // The cursor passed its digest check, so the event was deleted, or the cursor belongs to another user, who may see it.
    if (isManagerError(error, 'NOT_FOUND')) throw invalidCursor(roomId, error);
    throw error;
  }
}
