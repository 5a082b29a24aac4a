import { throwIfAborted } from '../core/abort.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { RawEvent } from '../core/raw-event.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { Session } from '../http/session.js';
import { decodeCursor, encodeCursor, invalidCursor } from './cursor.js';
import type { Position } from './cursor.js';
import { eventTypeFilter } from './event-types.js';
import { readMessages, tokenAt } from './history-api.js';
import { changesOf, noChanges, toRoomMessage } from './room-message.js';
import type { RoomMessage } from './room-message.js';
import type { RoomTimeline } from './room-timeline.js';

export interface MessagePage {
  /** Newest first. */
  readonly messages: RoomMessage[];
  /** The cursor of the next, older page; absent at the beginning of what the user may see. */
  readonly end?: string;
  /** Where the page came from: the client's memory, the homeserver's history, or first one and then the other. */
  readonly source: 'synced' | 'rest' | 'mixed';
}

export interface PageRequest {
  readonly roomId: string;
  /** How many messages at most. */
  readonly limit: number;
  /** The `end` of the page before; absent: the newest. */
  readonly from?: string | undefined;
  /** What counts as a message. @default ['message'] */
  readonly types?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Makes encrypted events readable where it can. @default none */
  readonly decrypt?: ((events: readonly RawEvent[]) => Promise<RawEvent[]>) | undefined;
}

/** Requests that one page may take: a room can have thousands of events in a row that are not asked for. */
const MAX_REQUESTS = 50;

/**
 * Reads a page of a room's history as `session`'s user sees it: from `timeline` as far as it reaches, then from the
 * homeserver. Both give the same events in the same order, so pages do not depend on what is in memory.
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
  let position: Position | undefined = from === undefined ? {} : decodeCursor(roomId, from);

  let synced = false;
  if (timeline && timeline.size > 0 && timeline.isOrdered && position.token === undefined) {
    const { prevBatch } = timeline; // before the wait, in which the timeline may lose its oldest events
    const read = readTimeline({ events: await decrypt([...timeline]), prevBatch }, position, wanted, limit, roomId);
    if (read) {
      synced = true;
      messages.push(...read.messages);
      position = read.position;
    }
  }
  const fromTimeline = messages.length;
  let asked = false;
  for (let requests = 0; position && messages.length < limit; requests++) {
    if (requests === MAX_REQUESTS) break; // the page is short, but its cursor goes on
    asked = true;
    const chunk = await readChunk(http, session, roomId, position, limit - messages.length, signal);
    const [newest] = chunk.events;
    if (synced && requests === 0 && oldest && newest && newest.origin_server_ts > oldest.origin_server_ts) {
      return fetchPage(http, session, undefined, request); // their order is not certain where the two meet
    }
    const events = await decrypt(chunk.events);
    messages.push(
      ...events.filter((event) => wanted(event, noChanges)).map((event) => toRoomMessage(roomId, event, noChanges)),
    );
    position = chunk.position;
  }
  const rest = asked && (messages.length > fromTimeline || !synced);
  return {
    messages,
    ...(position && { end: encodeCursor(roomId, position) }),
    source: rest ? (fromTimeline > 0 ? 'mixed' : 'rest') : 'synced',
  };
}

/** What the timeline has from `position` on; undefined where it does not reach that far back. */
function readTimeline(
  known: { readonly events: readonly RawEvent[]; readonly prevBatch: string | undefined },
  position: Position,
  wanted: ReturnType<typeof eventTypeFilter>,
  limit: number,
  roomId: string,
): { messages: RoomMessage[]; position: Position | undefined } | undefined {
  const { before } = position;
  const end = before === undefined ? known.events.length : known.events.findIndex(({ event_id: id }) => id === before);
  if (end < 0) return undefined;
  const events = known.events.slice(0, end).toReversed();
  const changes = changesOf(known.events);
  const messages: RoomMessage[] = [];
  let last: RawEvent | undefined;
  for (const event of events) {
    if (messages.length === limit) return { messages, position: { before: (last as RawEvent).event_id } };
    last = event;
    if (wanted(event, changes)) messages.push(toRoomMessage(roomId, event, changes));
  }
  const oldest = last?.event_id ?? before;
  if ((last ?? known.events[0])?.type === 'm.room.create') return { messages, position: undefined };
  if (known.prevBatch !== undefined) return { messages, position: { token: known.prevBatch } };
  return { messages, position: oldest === undefined ? {} : { before: oldest } };
}

/** The homeserver's next events from `position` on, and where to read on. */
async function readChunk(
  http: HomeserverHttp,
  session: Session,
  roomId: string,
  position: Position,
  missing: number,
  signal: AbortSignal | undefined,
): Promise<{ events: RawEvent[]; position: Position | undefined }> {
  throwIfAborted(signal, `reading messages of ${roomId}`);
  const { before } = position;
  const from =
    position.token ?? (before === undefined ? undefined : await findToken(http, session, roomId, before, signal));
  // From an event's own token the event itself comes first; it was on the page before.
  const limit = before === undefined ? missing : missing + 1;
  const { events, end } = await readMessages(http, session, { roomId, from, limit, signal });
  if (end !== undefined && end === from) {
    throw new MatrixClientManagerError(
      'INVALID_RESPONSE',
      `reading messages of ${roomId} failed: the homeserver's page ends where it began, so history cannot be read on`,
      { userId: session.userId, roomId },
    );
  }
  const fresh = before === undefined ? events : events.filter((event) => event.event_id !== before);
  return { events: fresh, position: end === undefined ? undefined : { token: end } };
}

async function findToken(
  http: HomeserverHttp,
  session: Session,
  roomId: string,
  eventId: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  try {
    return await tokenAt(http, session, roomId, eventId, signal);
  } catch (error) {
    // The cursor is whole, so the event is gone, or this user may not see it: it is not their cursor.
    if (isManagerError(error, 'NOT_FOUND')) throw invalidCursor(roomId, error);
    throw error;
  }
}
