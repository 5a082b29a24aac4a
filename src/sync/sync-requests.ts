import * as v from 'valibot';
import { encryptionEvents } from './encryption-events.js';
import { isRoomId, ResponseParts } from './response-parts.js';
import type { SyncContext } from './sync-context.js';
import { initialLimit, syncFilter, syncLimit, uncachedFilter, withoutPresence } from './sync-query.js';
import { readSyncResponse } from './sync-response.js';
import type { ParsedSync } from './sync-response.js';

export const SYNC_PATH = '/_matrix/client/v3/sync';
const SLIDING_SYNC_PATH = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';

type Query = Readonly<Record<string, string | number | undefined>>;

/** The query of a `/sync`. */
export interface SyncQuery extends Query {
  /** A filter definition as JSON. */
  readonly filter: string;
  readonly since: string | undefined;
  readonly timeout: number;
}

const JOINED_ROOMS_PATH = '/_matrix/client/v3/joined_rooms';

/**
 * Sends one `/sync`; the caller retries. Presence costs the homeserver much, so the filter leaves it out unless it is wanted.
 * @param timeoutMs - deadline of the request
 * @param signal - must fire no later than the signal of the context
 * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3sync
 */
export function requestSync(
  context: SyncContext,
  query: SyncQuery,
  timeoutMs: number,
  signal = context.signal,
): Promise<unknown> {
  const filter = context.wantsPresence?.() ? query.filter : withoutPresence(query.filter);
  return send(context, v.unknown(), 'GET', SYNC_PATH, { query: { ...query, filter }, timeoutMs, signal });
}

/**
 * Makes one sync beside the polls, with a response that is not cached: a cached one lacks the newest events.
 * @param isCatchUp - whether the user missed the events of the response
 */
export async function syncOnce(
  context: SyncContext,
  { since, isCatchUp, filter }: { readonly since?: string | undefined; isCatchUp: boolean; filter?: string },
): Promise<ParsedSync> {
  const { limits } = context;
  const [limit, timeoutMs] =
    since === undefined ? [initialLimit, limits.startTimeoutMs] : [syncLimit, limits.requestTimeoutMs];
  const timelineLimit = limit(context.timelineLimit);
  const uncached = uncachedFilter(filter ?? syncFilter(timelineLimit));
  const query = { filter: uncached, since, timeout: 0, set_presence: 'offline' };
  const data = await requestSync(context, query, timeoutMs);
  const sync = readSyncResponse(data, { userId: context.userId, since, isCatchUp, timelineLimit });
  context.encryptedRooms.note(encryptionEvents(sync.response));
  return sync;
}

/** @see https://github.com/matrix-org/matrix-spec-proposals/pull/4186 */
export function requestSlidingSync(context: SyncContext, body: object): Promise<Readonly<Record<string, unknown>>> {
  return send(context, v.looseObject({}), 'POST', SLIDING_SYNC_PATH, { query: { timeout: 0 }, body });
}

/**
 * Resolves to undefined if the response has no list, or one with malformed ids: a joined room may then be absent.
 * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3joined_rooms
 */
export async function requestJoinedRooms(context: SyncContext): Promise<string[] | undefined> {
  const parts = new ResponseParts();
  const roomIds = parts.strings(await send(context, v.looseObject({}), 'GET', JOINED_ROOMS_PATH, {}), 'joined_rooms');
  const malformed = parts.malformed || Number(!roomIds?.every(isRoomId));
  context.http.countMalformed(malformed);
  return malformed === 0 ? roomIds : undefined;
}

function send<Schema extends v.GenericSchema>(
  { userId, http, session, diagnostics, signal, isStarting, isCall }: SyncContext,
  schema: Schema,
  method: 'GET' | 'POST',
  path: string,
  more: { query?: Query; body?: unknown; timeoutMs?: number; signal?: AbortSignal },
): Promise<v.InferOutput<Schema>> {
  // The loop outlives the call that started the client, so its requests do not belong to the trace of that call.
  return diagnostics.detached(() =>
    http.request(schema, {
      operation: `sync of ${userId}`,
      userId,
      method,
      path,
      session,
      ...(isCall
        ? { repeatable: true }
        : {
            priority: 'sync',
            abortOnOutage: !isStarting(),
            repeatable: false, // the loop retries, without a limit
            retry: { attempts: 1 },
          }),
      signal,
      ...more,
    }),
  );
}
