import * as v from 'valibot';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { isObject } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';
import type { HomeserverHttp, HttpRequest } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import type { Session } from '../http/session.js';
import type { OutgoingMessage } from './outgoing-message.js';
import { findOwnReaction, isDuplicateReaction } from './own-reaction.js';

const sentSchema = v.object({ event_id: v.string() });
const membershipSchema = v.object({ membership: v.string() });

/**
 * Sends one event. Repeated with the same `txnId` and device, the request returns the event id of the first one. So does a
 * reaction that the user has already made.
 * @param beforeSend - called just before each attempt. If it rejects, nothing is sent
 * @see https://spec.matrix.org/v1.16/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
 */
export async function sendEvent(
  http: HomeserverHttp,
  session: Session,
  outgoing: OutgoingMessage,
  beforeSend?: () => Promise<void>,
): Promise<{ eventId: string }> {
  const { roomId, signal } = outgoing;
  const sending = http.request(sentSchema, {
    operation: `sending to ${roomId}`,
    userId: session.userId,
    roomId,
    method: 'PUT',
    ...endpointFor(outgoing),
    session,
    priority: 'send',
    signal,
    ...(beforeSend && { beforeSend }),
  });
  try {
    return { eventId: (await sending).event_id };
  } catch (error) {
    if (!isDuplicateReaction(error, outgoing)) throw error;
    // The reaction is there: another device of the user made it, or this one before it logged in anew.
    const eventId = await findOwnReaction(http, session, outgoing);
    if (eventId === undefined) throw error;
    return { eventId };
  }
}

/**
 * Redactions have an endpoint of their own: before room version 11 they name the event outside their content.
 * @see https://spec.matrix.org/v1.16/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid
 */
function endpointFor({ roomId, type, content, txnId }: OutgoingMessage): Pick<HttpRequest, 'path' | 'body'> {
  const { redacts, ...body } = content;
  return type === 'm.room.redaction' && typeof redacts === 'string'
    ? { path: path`/_matrix/client/v3/rooms/${roomId}/redact/${redacts}/${txnId}`, body }
    : { path: path`/_matrix/client/v3/rooms/${roomId}/send/${type}/${txnId}`, body: content };
}

/** The content of the room's `m.room.encryption` event; undefined if the homeserver says that there is none. */
export async function fetchEncryption(
  http: HomeserverHttp,
  session: Session,
  roomId: string,
  signal?: AbortSignal,
): Promise<EventContent | undefined> {
  try {
    const content = await http.request(v.unknown(), {
      operation: `sending to ${roomId}`,
      userId: session.userId,
      roomId,
      method: 'GET',
      path: path`/_matrix/client/v3/rooms/${roomId}/state/m.room.encryption/`,
      session,
      signal,
    });
    return isObject(content) ? content : {};
  } catch (error) {
    if (isManagerError(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}

/** Rejects with `FORBIDDEN` or `NOT_FOUND` if the homeserver says that the user is not in the room. */
export async function assertJoined(
  http: HomeserverHttp,
  session: Session,
  roomId: string,
  signal?: AbortSignal,
): Promise<void> {
  const { userId } = session;
  const { membership } = await http.request(membershipSchema, {
    operation: `sending to ${roomId}`,
    userId,
    roomId,
    method: 'GET',
    path: path`/_matrix/client/v3/rooms/${roomId}/state/m.room.member/${userId}`,
    session,
    signal,
  });
  if (membership === 'join') return;
  // A user who has left may still read what the state was.
  const message = `sending to ${roomId} failed: ${userId} is not in the room; nothing was sent`;
  throw new MatrixClientManagerError('FORBIDDEN', message, { userId, roomId });
}
