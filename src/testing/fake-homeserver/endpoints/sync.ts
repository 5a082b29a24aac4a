import type { JsonObject } from '../json.js';
import { MatrixError, forbidden, notFound } from '../matrix-error.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import { LazyMembers } from '../sync/lazy-members.js';
import { longPoll } from '../sync/long-poll.js';
import { SyncCache } from '../sync/sync-cache.js';
import { parseSyncFilter, readSyncFilter } from '../sync/sync-filter.js';
import type { SyncResponse } from '../sync/sync-response.js';
import { syncResponse } from '../sync/sync-response.js';
import type { TimelineLimit } from '../sync/timeline.js';
import type { World } from '../world/world.js';

/** Behaviour of syncs that a test can change at any time. */
export interface SyncBehaviour {
  timelineLimit: TimelineLimit | undefined;
  staleInitialSync: boolean;
  staleSync: boolean;
  /** Whether `org.matrix.msc4222.use_state_after` is supported. */
  readonly stateAfter: boolean;
  /** Whether simplified sliding sync (MSC4186) is served. */
  slidingSync: boolean;
}

/** @see https://spec.matrix.org/v1.16/client-server-api/#syncing */
export function syncEndpoints(world: World, behaviour: SyncBehaviour): Endpoint[] {
  const cache = new SyncCache(world.clock);
  const lazyMembers = new LazyMembers();
  return [
    {
      method: 'GET',
      path: '/sync',
      auth: 'user',
      handle: async (request) => (await sync(request, behaviour, lazyMembers, cache)).body,
    },
    { method: 'POST', path: '/user/{userId}/filter', auth: 'user', handle: postFilter },
    { method: 'GET', path: '/user/{userId}/filter/{filterId}', auth: 'user', handle: getFilter },
  ];
}

async function sync(
  request: EndpointRequest,
  behaviour: SyncBehaviour,
  lazyMembers: LazyMembers,
  cache: SyncCache,
): Promise<SyncResponse> {
  const { world, user, query, device, signal } = request;
  const { deviceId } = request.session;
  const timeoutMs = request.integer('timeout', 0);
  request.oneOf('set_presence', ['unavailable', 'online', 'offline'] as const, 'online');
  const fullState = request.boolean('full_state', false);
  const useStateAfter = behaviour.stateAfter && request.boolean('org.matrix.msc4222.use_state_after', false);
  const filter = readSyncFilter(user, query.get('filter'));
  const token = query.get('since');
  const from = token === null ? undefined : world.positions.readSync(token);
  const since = from?.position;
  const look = (): SyncResponse => {
    const { timelineLimit } = behaviour;
    const viewer = { userId: user.userId, device, now: world.clock.now() };
    const upTo = world.stream.position;
    return syncResponse({
      world,
      user,
      viewer,
      deviceId,
      filter,
      since,
      toDeviceSince: from?.toDevice ?? 0,
      upTo,
      fullState,
      useStateAfter,
      timelineLimit,
      lazyMembers,
    });
  };
  if (since === undefined) lazyMembers.reset(device);
  const respond = (): SyncResponse | Promise<SyncResponse> =>
    since === undefined || fullState ? look() : longPoll(world, user.userId, timeoutMs, signal, look);
  const isCached = behaviour.staleSync || (behaviour.staleInitialSync && since === undefined);
  if (!isCached) return respond();
  return cache.get(JSON.stringify([device, token, query.get('filter'), timeoutMs, fullState, useStateAfter]), respond);
}

function postFilter(request: EndpointRequest): JsonObject {
  const definition = request.json();
  const { user } = request;
  if (request.param('userId') !== user.userId) throw forbidden('Cannot create filters for other users');
  parseSyncFilter(definition);
  const text = JSON.stringify(definition);
  const existing = user.filters.indexOf(text);
  return { filter_id: String(existing === -1 ? user.filters.push(text) - 1 : existing) };
}

function getFilter(request: EndpointRequest): JsonObject {
  const { user } = request;
  if (request.param('userId') !== user.userId) throw forbidden('Cannot get filters for other users');
  const id = request.param('filterId');
  if (!/^\d+$/.test(id)) throw new MatrixError(400, 'M_UNKNOWN', 'Invalid filter_id');
  const text = user.filters[Number(id)];
  if (text === undefined) throw notFound('No such filter');
  return JSON.parse(text) as JsonObject;
}
