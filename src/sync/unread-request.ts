import * as v from 'valibot';
import type { UnreadCount } from '../core/unread-count.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { Session } from '../http/session.js';
import { NO_EVENTS, uncachedFilter, withoutPresence } from './sync-query.js';
import { SYNC_PATH } from './sync-requests.js';
import { readSyncResponse } from './sync-response.js';

/** Lets nothing through. */
const FILTER = withoutPresence(
  JSON.stringify({
    room: { timeline: { limit: 1, ...NO_EVENTS }, state: NO_EVENTS, ephemeral: NO_EVENTS, account_data: NO_EVENTS },
    account_data: NO_EVENTS,
  }),
);

/**
 * The unread counts of all joined rooms. The request is a `/sync` without a position, and with a filter that lets no event
 * through. Synapse leaves out rooms without events, unless `full_state` is set. It needs about an eighth of the time of an
 * unfiltered `/sync`, and as much for a part of the rooms. The request moves no position.
 */
export async function requestUnreadCounts(
  {
    http,
    session,
    timeoutMs,
  }: { readonly http: HomeserverHttp; readonly session: Session; readonly timeoutMs: number },
  signal: AbortSignal,
): Promise<Map<string, UnreadCount>> {
  const { userId } = session;
  const data = await http.request(v.unknown(), {
    operation: `reading the unread counts of ${userId}`,
    userId,
    method: 'GET',
    path: SYNC_PATH,
    session,
    query: { filter: uncachedFilter(FILTER), timeout: 0, full_state: true, set_presence: 'offline' },
    timeoutMs,
    signal,
  });
  const { batch, malformed } = readSyncResponse(data, { userId, since: undefined, isCatchUp: false, timelineLimit: 1 });
  http.countMalformed(malformed);
  const counts = batch.rooms.flatMap(({ roomId, unread }) => (unread ? [[roomId, unread] as const] : []));
  return new Map(counts);
}
