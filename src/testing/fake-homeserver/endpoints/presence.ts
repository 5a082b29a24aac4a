import type { JsonObject } from '../json.js';
import { MatrixError, forbidden } from '../matrix-error.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import { presenceContent, usersWhoSee } from '../sync/presence.js';

const PATH = '/presence/{userId}/status';
const STATES: ReadonlySet<unknown> = new Set(['online', 'unavailable', 'offline']);

/** Presence, as it was set: it does not lapse. Syncs tell of its changes. */
export const presenceEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: PATH, auth: 'user', handle: getPresence },
  { method: 'PUT', path: PATH, auth: 'user', handle: putPresence },
];

function putPresence(request: EndpointRequest): JsonObject {
  const { user, world } = request;
  if (request.param('userId') !== user.userId) throw forbidden('Can only set your own presence state');
  const { presence, status_msg: statusMessage } = request.json();
  if (typeof presence !== 'string' || !STATES.has(presence)) {
    throw new MatrixError(400, 'M_UNKNOWN', 'Invalid presence state');
  }
  if (statusMessage !== undefined && typeof statusMessage !== 'string') {
    throw new MatrixError(400, 'M_UNKNOWN', 'status_msg must be a string.');
  }
  user.presence = { presence, statusMessage, setAt: world.clock.now(), stream: world.stream.next() };
  world.waiters.wakeAll(usersWhoSee(world, user));
  return {};
}

/** Throws 403 for a user with whom the requesting one shares no room. */
function getPresence({ world, user, params }: EndpointRequest): JsonObject {
  const other = world.users.get(params['userId'] ?? '');
  if (!other || !usersWhoSee(world, other).has(user.userId)) {
    throw forbidden('You are not allowed to see their presence.');
  }
  return presenceContent(world, other);
}
