import type { JsonObject } from '../json.js';
import { MatrixError } from '../matrix-error.js';
import { clientEvent } from '../rooms/client-event.js';
import type { Room } from '../rooms/room.js';
import type { RoomEvent } from '../rooms/room-event.js';
import { canSee } from '../rooms/visibility.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';

const PATH = '/_matrix/client/v1/rooms/{roomId}/relations/{eventId}';
/** The depth to which Synapse follows relations of relations. */
const RECURSION_DEPTH = 3;

/** Reading the events that relate to an event: edits, reactions, threads. */
export const relationsEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: PATH, auth: 'user', handle: getRelations },
  { method: 'GET', path: `${PATH}/{relType}`, auth: 'user', handle: getRelations },
  { method: 'GET', path: `${PATH}/{relType}/{eventType}`, auth: 'user', handle: getRelations },
];

/** @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv1roomsroomidrelationseventid */
function getRelations(request: EndpointRequest): JsonObject {
  const { world, query, user, viewer, params } = request;
  const limit = request.integer('limit', 5);
  const backwards = request.oneOf('dir', ['b', 'f'] as const, 'b') === 'b';
  const recurse = request.boolean('recurse', false);
  const from = query.get('from');
  const { room, isPeeking } = request.readableRoom();
  const parent = room.event(request.param('eventId'));
  if (!parent) throw new MatrixError(404, 'M_UNKNOWN', 'Unknown parent event.');
  const found = related(room, parent, params['relType'], recurse ? RECURSION_DEPTH : 1)
    .filter((event) => params['eventType'] === undefined || event.type === params['eventType'])
    .filter((event) => canSee(room, user, event, isPeeking))
    .toSorted((a, b) => (backwards ? b.stream - a.stream : a.stream - b.stream));
  const start = from === null ? undefined : world.positions.readHistory(from, 'from');
  const rest = found.filter(({ stream }) => start === undefined || (backwards ? stream <= start : stream > start));
  const page = rest.slice(0, limit);
  const last = page.at(-1);
  const next = backwards ? (last?.stream ?? 0) - 1 : (last?.stream ?? 0);
  return {
    chunk: page.map((event) => clientEvent(room, event, viewer, { format: 'full', membership: true, relations: true })),
    ...(page.length < rest.length && { next_batch: world.positions.history(next) }),
    ...(from !== null && { prev_batch: from }),
    ...(recurse && { recursion_depth: RECURSION_DEPTH }),
  };
}

function related(room: Room, parent: RoomEvent, relType: string | undefined, depth: number): RoomEvent[] {
  const { eventId } = parent;
  const direct = relType === undefined ? room.relations.all(eventId) : [...room.relations.of(eventId, relType)];
  if (depth === 1) return direct;
  return [...direct, ...direct.flatMap((event) => related(room, event, relType, depth - 1))];
}
