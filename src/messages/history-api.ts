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

/**
 * One page of `/messages`, newest first.
 * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3roomsroomidmessages
 */
export async function readMessages(
  http: HomeserverHttp,
  session: Session,
  request: Omit<HistoryRequest, 'from'> & { readonly from?: string | undefined },
): Promise<HistoryPage> {
  const { roomId, from, to, limit, signal } = request;
  const body = await http.request(messagesSchema, {
    operation: `reading messages of ${roomId}`,
    userId: session.userId,
    roomId,
    method: 'GET',
    path: path`/_matrix/client/v3/rooms/${roomId}/messages`,
    query: { dir: 'b', from, to, limit, filter: LAZY_MEMBERS },
    session,
    signal,
  });
  const events = body.chunk.filter(isRawEvent);
  http.countMalformed(body.chunk.length - events.length);
  return { events, end: body.end ?? undefined, members: memberProfiles(body.state) };
}

/** Asks for the member events of the senders only. */
const LAZY_MEMBERS = JSON.stringify({ lazy_load_members: true });

const contextSchema = v.object({ end: v.string() });

/**
 * A pagination token for the event of a cursor: reading backwards from it returns the event itself first, then older
 * ones. Rejects with `INVALID_CURSOR` if the homeserver does not know the event.
 * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3roomsroomidcontexteventid
 */
export async function fetchCursorToken(
  http: HomeserverHttp,
  session: Session,
  eventId: string,
  { roomId, signal }: Pick<HistoryRequest, 'roomId' | 'signal'>,
): Promise<string> {
  try {
    const body = await http.request(contextSchema, {
      operation: `finding an event of ${roomId}`,
      userId: session.userId,
      roomId,
      method: 'GET',
      path: path`/_matrix/client/v3/rooms/${roomId}/context/${eventId}`,
      query: { limit: 0, filter: LAZY_MEMBERS },
      session,
      signal,
    });
    return body.end;
  } catch (error) {
    // The cursor passed its digest check, so the event was deleted, or the cursor belongs to another user, who may see it.
    throw isManagerError(error, 'NOT_FOUND') ? invalidCursor(roomId, error) : error;
  }
}
