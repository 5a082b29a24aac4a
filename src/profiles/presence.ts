import * as v from 'valibot';
import { toPresenceState } from '../core/presence-state.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import { optionalNumber, optionalText } from '../http/response-parts.js';
import type { Session } from '../http/session.js';
import type { GetPresenceOptions, Presence, SetPresenceOptions } from './presence-options.js';

const presenceSchema = v.object({
  presence: v.pipe(v.fallback(v.string(), ''), v.transform(toPresenceState)),
  last_active_ago: optionalNumber,
  status_msg: optionalText,
  currently_active: v.fallback(v.optional(v.boolean()), undefined),
});

/** Sets the user's presence. A homeserver whose presence is off may accept the request and change nothing. */
export async function setPresence(
  http: HomeserverHttp,
  session: Session,
  { presence, statusMessage }: Omit<SetPresenceOptions, 'userId'>,
  signal: AbortSignal,
): Promise<void> {
  const { userId } = session;
  await http.request(v.unknown(), {
    operation: `setting the presence of ${userId}`,
    userId,
    method: 'PUT',
    path: path`/_matrix/client/v3/presence/${userId}/status`,
    body: { presence, ...(statusMessage !== undefined && { status_msg: statusMessage }) },
    session,
    signal,
  });
}

export async function getPresence(
  http: HomeserverHttp,
  session: Session,
  { targetUserId = session.userId }: Omit<GetPresenceOptions, 'userId'>,
  signal: AbortSignal,
): Promise<Presence> {
  const body = await http.request(presenceSchema, {
    operation: `reading the presence of ${targetUserId}`,
    userId: session.userId,
    method: 'GET',
    path: path`/_matrix/client/v3/presence/${targetUserId}/status`,
    session,
    signal,
  });
  return {
    userId: targetUserId,
    presence: body.presence,
    lastActiveAgoMs: body.last_active_ago,
    statusMessage: body.status_msg,
    currentlyActive: body.currently_active,
  };
}
