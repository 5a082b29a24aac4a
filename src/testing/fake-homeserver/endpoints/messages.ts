import type { JsonObject } from '../json.js';
import { objectOrEmpty } from '../json.js';
import { MatrixError, forbidden, notFound } from '../matrix-error.js';
import { clientEvent } from '../rooms/client-event.js';
import { EventFilter } from '../rooms/event-filter.js';
import { readPage } from '../rooms/history.js';
import type { Room } from '../rooms/room.js';
import type { RoomEvent } from '../rooms/room-event.js';
import { canSee } from '../rooms/visibility.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import { roomState } from './room-state.js';

/** Synapse's maximum of events in a page. */
const MAX_PAGE_LIMIT = 1000;

/** Reading the events of a room. */
export const messagesEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: '/rooms/{roomId}/messages', auth: 'user', handle: getMessages },
  { method: 'GET', path: '/rooms/{roomId}/context/{eventId}', auth: 'user', handle: getContext },
  { method: 'GET', path: '/rooms/{roomId}/event/{eventId}', auth: 'user', handle: getEvent },
];

/** @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3roomsroomidmessages */
function getMessages(request: EndpointRequest): JsonObject {
  const { world, user, query } = request;
  const direction = request.oneOf('dir', ['b', 'f'] as const, 'f');
  const limit = Math.min(request.integer('limit', 10), MAX_PAGE_LIMIT);
  const from = readPosition(request, 'from');
  const to = readPosition(request, 'to');
  const { filter, lazyLoadMembers } = readFilter(query);
  const { room, upTo, isPeeking } = request.readableRoom();
  // as in Synapse, only pages backwards end at the user's leave
  const start = direction === 'f' ? (from ?? 0) : Math.min(from ?? world.stream.position, upTo);
  const page = readPage(room, user, { direction, from: start, to, limit, filter, isPeeking });
  return {
    chunk: page.events.map((event) => show(request, room, event)),
    start: start === from ? query.get('from') : world.positions.history(start),
    ...(page.next !== undefined && { end: world.positions.history(page.next) }),
    ...(lazyLoadMembers && page.events.length > 0 && { state: sendersOf(request, room, page.events) }),
  };
}

/** @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3roomsroomidcontexteventid */
function getContext(request: EndpointRequest): JsonObject {
  const { world, user, query } = request;
  const limit = request.integer('limit', 10);
  const { filter, lazyLoadMembers } = readFilter(query);
  const room = world.rooms.get(request.param('roomId'));
  const event = room?.event(request.param('eventId'));
  if (!room || !event) throw notFound('Event not found.');
  const isPeeking = !room.joined.has(user.userId);
  if (!canSee(room, user, event, isPeeking)) throw forbidden("You don't have permission to access that event.");
  const half = Math.floor(limit / 2);
  const page = (direction: 'b' | 'f', from: number, limit: number) =>
    readPage(room, user, { direction, from, limit, filter, isPeeking });
  const before = page('b', event.stream - 1, half);
  const after = page('f', event.stream, limit - half);
  const last = after.events.at(-1) ?? event;
  const senders = new Set([...before.events, event, ...after.events].map(({ sender }) => sender));
  return {
    start: world.positions.history(before.events.length > 0 ? (before.next ?? 0) : event.stream - 1),
    end: world.positions.history(last.stream),
    events_before: before.events.map((item) => show(request, room, item)),
    event: show(request, room, event),
    events_after: after.events.map((item) => show(request, room, item)),
    state: room.state
      .at(last.stream)
      .all()
      .filter((item) => filter.accepts(item))
      .filter((item) => !lazyLoadMembers || item.type !== 'm.room.member' || senders.has(item.stateKey ?? ''))
      .map((item) => roomState(request, room, item)),
  };
}

function getEvent(request: EndpointRequest): JsonObject {
  const room = request.world.rooms.get(request.param('roomId'));
  const event = room?.event(request.param('eventId'));
  const { user } = request;
  if (!room || !event || !canSee(room, user, event, !room.joined.has(user.userId))) throw notFound('Event not found.');
  return show(request, room, event);
}

function show({ viewer }: EndpointRequest, room: Room, event: RoomEvent): JsonObject {
  return clientEvent(room, event, viewer, { format: 'full', membership: true, relations: true });
}

function sendersOf(request: EndpointRequest, room: Room, events: readonly RoomEvent[]): JsonObject[] {
  const state = room.state.at(events[0]?.stream ?? 0);
  const senders = new Set(events.map(({ sender }) => sender));
  return [...senders].flatMap((sender) => {
    const member = state.get('m.room.member', sender);
    return member ? [roomState(request, room, member)] : [];
  });
}

function readPosition({ world, query }: EndpointRequest, parameter: 'from' | 'to'): number | undefined {
  const token = query.get(parameter);
  return token === null ? undefined : world.positions.readHistory(token, parameter);
}

function readFilter(query: URLSearchParams): { filter: EventFilter; lazyLoadMembers: boolean } {
  try {
    const definition = objectOrEmpty(JSON.parse(query.get('filter') ?? '{}'));
    return { filter: new EventFilter(definition), lazyLoadMembers: definition['lazy_load_members'] === true };
  } catch {
    throw new MatrixError(400, 'M_NOT_JSON', 'Query parameter filter must be a valid JSON object');
  }
}
