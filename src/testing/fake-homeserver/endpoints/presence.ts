import type { JsonObject } from '../json.js';
import { MatrixError, forbidden } from '../matrix-error.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';

const PATH = '/presence/{userId}/status';
const STATES: ReadonlySet<unknown> = new Set(['online', 'unavailable', 'offline']);

/** Presence, as it was set; syncs do not tell of it. */
export const presenceEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: PATH, auth: 'user', handle: getPresence },
  { method: 'PUT', path: PATH, auth: 'user', handle: putPresence },
];

function putPresence(request: EndpointRequest): JsonObject {
  const { user } = request;
  if (request.param('userId') !== user.userId) throw forbidden('Can only set your own presence state');
  const { presence, status_msg: statusMessage } = request.json();
  if (typeof presence !== 'string' || !STATES.has(presence)) {
    throw new MatrixError(400, 'M_UNKNOWN', 'Invalid presence state');
  }
  if (statusMessage !== undefined && typeof statusMessage !== 'string') {
    throw new MatrixError(400, 'M_UNKNOWN', 'status_msg must be a string.');
  }
  user.presence = { presence, statusMessage, setAt: request.world.clock.now() };
  return {};
}

/** Throws 403 for a user with whom the requesting one shares no room. */
function getPresence({ world, user, params }: EndpointRequest): JsonObject {
  const other = world.users.get(params['userId'] ?? '');
  const share = [...world.rooms.values()].some(
    ({ joined }) => joined.has(user.userId) && joined.has(other?.userId ?? ''),
  );
  if (other !== user && !share) throw forbidden('You are not allowed to see their presence.');
  const { presence = 'offline', statusMessage, setAt } = other?.presence ?? {};
  return {
    presence,
    ...(setAt !== undefined && { last_active_ago: world.clock.now() - setAt, currently_active: presence === 'online' }),
    ...(statusMessage !== undefined && { status_msg: statusMessage }),
  };
}
