import type { JsonObject } from '../json.js';
import { unrecognized } from '../matrix-error.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import { LazyMembers } from '../sync/lazy-members.js';
import { longPoll } from '../sync/long-poll.js';
import { SlidingConnections } from '../sync/sliding-connections.js';
import { readSlidingRequest } from '../sync/sliding-request.js';
import { slidingResponse } from '../sync/sliding-response.js';
import type { World } from '../world/world.js';
import type { SyncBehaviour } from './sync.js';

/**
 * Simplified sliding sync as in Synapse. Only the parts that this library uses are served.
 * @see https://github.com/matrix-org/matrix-spec-proposals/pull/4186
 */
export function slidingSyncEndpoints(world: World, behaviour: SyncBehaviour): Endpoint[] {
  const connections = new SlidingConnections(world.positions);
  return [
    {
      method: 'POST',
      path: '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync',
      auth: 'user',
      handle: (request) => {
        if (!behaviour.slidingSync) throw unrecognized();
        return slidingSync(request, connections);
      },
    },
  ];
}

async function slidingSync(request: EndpointRequest, connections: SlidingConnections): Promise<JsonObject> {
  const { world, user, query, device, signal } = request;
  const wanted = readSlidingRequest(request.json());
  const connection = `${device}\n${wanted.connection}`;
  const from = connections.read(connection, query.get('pos'));
  const look = (): ReturnType<typeof slidingResponse> =>
    slidingResponse(
      {
        world,
        user,
        viewer: request.viewer,
        deviceId: request.session.deviceId,
        toDeviceSince: 0, // the to-device extension is not served
        upTo: world.stream.position,
        fullState: false,
        useStateAfter: true,
        timelineLimit: undefined,
        lazyMembers: new LazyMembers(),
      },
      wanted,
      from,
    );
  const timeoutMs = from ? request.integer('timeout', 0) : 0;
  const { body, position } = await longPoll(world, user.userId, timeoutMs, signal, look);
  return { pos: connections.record(connection, position), ...body };
}
