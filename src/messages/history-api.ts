import * as v from 'valibot';
import { isManagerError } from '../core/errors.js';
import { memberProfiles } from '../core/member-profile.js';
import type { MemberProfile } from '../core/member-profile.js';
import type { HistoryRequest } from '../core/ports/history-reader.js';
import { isRawEvent } from '../core/raw-event.js';
import type { RawEvent } from '../core/raw-event.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import type { Session } from '../http/session.js';
import { invalidCursor } from './cursor.js';

const messagesSchema = v.object({
  chunk: v.nullish(v.array(v.unknown()), []),
  end: v.nullish(v.string()),
  state: v.fallback(v.nullish(v.array(v.unknown()), []), []),
});

/** A page of the homeserver. */
export interface HistoryPage {
  readonly events: RawEvent[];
  /** The position of the next page; undefined if there is none. */
  readonly end: string | undefined;
  /** The profiles of the senders. */
  readonly members: ReadonlyMap<string, MemberProfile>;
}

/** Backwards: newest first. Forwards: oldest first. */
export type Direction = 'b' | 'f';

/**
 * One page of `/messages`.
 * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3roomsroomidmessages
 */
export async function readMessages(
  http: HomeserverHttp,
  session: Session,
  request: Omit<HistoryRequest, 'from'> & { readonly from?: string | undefined; readonly dir?: Direction },
): Promise<HistoryPage> {
  const { roomId, from, to, limit, dir = 'b', signal } = request;
  const body = await http.request(messagesSchema, {
    operation: `reading messages of ${roomId}`,
    userId: session.userId,
    roomId,
    method: 'GET',
    path: path`/_matrix/client/v3/rooms/${roomId}/messages`,
    query: { dir, from, to, limit, filter: LAZY_MEMBERS },
    session,
    signal,
  });
  const events = body.chunk.filter(isRawEvent);
  http.countMalformed(body.chunk.length - events.length);
  return { events, end: body.end ?? undefined, members: memberProfiles(body.state) };
}

/** Asks for the member events of the senders only. */
const LAZY_MEMBERS = JSON.stringify({ lazy_load_members: true });

type EventRequest = Pick<HistoryRequest, 'roomId' | 'signal'>;

const rawEvent = v.custom<RawEvent>(isRawEvent);
const eventList = v.nullish(v.array(v.unknown()), []);
const positionSchema = v.object({ end: v.string() });
const contextSchema = v.object({
  event: rawEvent,
  events_before: eventList,
  events_after: eventList,
  start: v.string(),
  state: v.fallback(eventList, []),
});

/** An event and its neighbours. */
interface EventContext {
  readonly event: RawEvent;
  /** Right before the event, newest first. */
  readonly older: RawEvent[];
  /** Right after the event, oldest first. */
  readonly newer: RawEvent[];
  /** The position before all of these. */
  readonly start: string;
  readonly members: ReadonlyMap<string, MemberProfile>;
}

/** Reads up to `limit` neighbours of an event. Rejects with `NOT_FOUND` if the homeserver does not know the event. */
export async function readContext(
  http: HomeserverHttp,
  session: Session,
  eventId: string,
  request: EventRequest & { readonly limit: number },
): Promise<EventContext> {
  const body = await requestContext(http, contextSchema, session, eventId, request);
  const [older, newer] = [body.events_before.filter(isRawEvent), body.events_after.filter(isRawEvent)];
  http.countMalformed(body.events_before.length - older.length + body.events_after.length - newer.length);
  const { event, start, state } = body;
  return { event, older, newer, start, members: memberProfiles(state) };
}

/** A pagination token for the position of an event. Backwards, reading from it returns the event itself first. */
export async function fetchEventToken(
  http: HomeserverHttp,
  session: Session,
  eventId: string,
  request: EventRequest,
): Promise<string> {
  return (await requestContext(http, positionSchema, session, eventId, { ...request, limit: 0 })).end;
}

/** @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3roomsroomidcontexteventid */
async function requestContext<Body extends v.GenericSchema>(
  http: HomeserverHttp,
  schema: Body,
  session: Session,
  eventId: string,
  { roomId, limit, signal }: EventRequest & { readonly limit: number },
): Promise<v.InferOutput<Body>> {
  return http.request(schema, {
    operation: `finding an event of ${roomId}`,
    userId: session.userId,
    roomId,
    method: 'GET',
    path: path`/_matrix/client/v3/rooms/${roomId}/context/${eventId}`,
    query: { limit, filter: LAZY_MEMBERS },
    session,
    signal,
  });
}

/**
 * Like {@link fetchEventToken}, for the event of a cursor. Rejects with `INVALID_CURSOR` if the event is unknown, or if the
 * user may read the room but not the event.
 */
export async function fetchCursorToken(...request: Parameters<typeof fetchEventToken>): Promise<string> {
  try {
    return await fetchEventToken(...request);
  } catch (error) {
    const [http, session, , { roomId, signal }] = request;
    // The user has ignored the sender since, or the room's history became hidden. Rejects if they may not read the room.
    const isHidden = isManagerError(error, 'FORBIDDEN');
    if (isHidden) await readMessages(http, session, { roomId, limit: 1, signal });
    // The cursor passed its digest check, so the event was deleted, or the cursor belongs to another user, who may see it.
    throw isHidden || isManagerError(error, 'NOT_FOUND') ? invalidCursor(roomId, error) : error;
  }
}

const relationsSchema = v.object({ chunk: v.array(v.unknown()), next_batch: v.nullish(v.string()) });

interface RelationsRequest extends EventRequest {
  readonly eventId: string;
  readonly relType: string;
  readonly eventType?: string;
  readonly from?: string | undefined;
  readonly limit: number;
}

/**
 * The events that relate to an event, newest first. Rejects with `NOT_FOUND` if the homeserver does not know the event.
 * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltype
 */
export async function readRelations(
  http: HomeserverHttp,
  session: Session,
  { roomId, eventId, relType, eventType, from, limit, signal }: RelationsRequest,
): Promise<{ readonly events: RawEvent[]; readonly next: string | undefined }> {
  const { chunk, next_batch: next } = await http.request(relationsSchema, {
    operation: `reading events that relate to an event of ${roomId}`,
    userId: session.userId,
    roomId,
    method: 'GET',
    path:
      eventType === undefined
        ? path`/_matrix/client/v1/rooms/${roomId}/relations/${eventId}/${relType}`
        : path`/_matrix/client/v1/rooms/${roomId}/relations/${eventId}/${relType}/${eventType}`,
    query: { dir: 'b', from, limit },
    session,
    signal,
  });
  const related = chunk.filter(isRawEvent);
  http.countMalformed(chunk.length - related.length);
  return { events: related, next: next ?? undefined };
}
