import * as v from 'valibot';
import { isManagerError } from '../core/errors.js';
import { isObject } from '../core/raw-event.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import { optionalText } from '../http/response-parts.js';
import type { Session } from '../http/session.js';
import type { OutgoingMessage } from './outgoing-message.js';

const relationsSchema = v.object({ chunk: v.array(v.unknown()), next_batch: optionalText });
const PAGE_SIZE = 100;
/** An event with more reactions than these pages have is left as it is. */
const MAX_PAGES = 10;

/** Whether the homeserver refused a reaction because the user has already made it. */
export function isDuplicateReaction(error: unknown, { type }: OutgoingMessage): boolean {
  return type === 'm.reaction' && isManagerError(error) && error.errcode === 'M_DUPLICATE_ANNOTATION';
}

/**
 * The id of the user's own reaction that is equal to `outgoing`; undefined if it is not found.
 * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltypeeventtype
 */
export async function findOwnReaction(
  http: HomeserverHttp,
  session: Session,
  { roomId, content, signal }: OutgoingMessage,
): Promise<string | undefined> {
  const { userId } = session;
  const relation = content['m.relates_to'];
  const { event_id: eventId, key } = isObject(relation) ? relation : {};
  if (typeof eventId !== 'string') return undefined;
  const isOwn = (event: unknown): event is { readonly event_id: string } => {
    if (!isObject(event) || typeof event.event_id !== 'string' || event.sender !== userId) return false;
    const other = isObject(event.content) ? event.content['m.relates_to'] : undefined;
    return isObject(other) && other.event_id === eventId && other.key === key;
  };
  let from: string | undefined;
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const { chunk, next_batch: next } = await http.request(relationsSchema, {
      operation: `looking for a reaction in ${roomId}`,
      userId,
      roomId,
      method: 'GET',
      path: path`/_matrix/client/v1/rooms/${roomId}/relations/${eventId}/m.annotation/m.reaction`,
      query: { limit: PAGE_SIZE, from },
      session,
      signal,
    });
    const own = chunk.find(isOwn);
    if (own) return own.event_id;
    if (next === undefined || next === from) return undefined;
    from = next;
  }
  return undefined;
}
