import type { JsonObject } from '../json.js';
import { forbidden, notFound } from '../matrix-error.js';
import { clientEvent } from '../rooms/client-event.js';
import type { Room } from '../rooms/room.js';
import type { RoomEvent } from '../rooms/room-event.js';
import { membershipIn } from '../rooms/room-event.js';
import type { StateMap } from '../rooms/room-state.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';

/** Reading the state and the members of a room. */
export const roomStateEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: '/rooms/{roomId}/state', auth: 'user', handle: getState },
  { method: 'GET', path: '/rooms/{roomId}/state/{eventType}', auth: 'user', handle: getStateEvent },
  { method: 'GET', path: '/rooms/{roomId}/state/{eventType}/', auth: 'user', handle: getStateEvent },
  { method: 'GET', path: '/rooms/{roomId}/state/{eventType}/{stateKey}', auth: 'user', handle: getStateEvent },
  { method: 'GET', path: '/rooms/{roomId}/members', auth: 'user', handle: getMembers },
  { method: 'GET', path: '/rooms/{roomId}/joined_members', auth: 'user', handle: getJoinedMembers },
  { method: 'GET', path: '/joined_rooms', auth: 'user', handle: getJoinedRooms },
];

function getState(request: EndpointRequest): JsonObject[] {
  const { room, state } = readState(request);
  return state.all().map((event) => roomState(request, room, event));
}

function getStateEvent(request: EndpointRequest): JsonObject {
  const { room, state } = readState(request);
  const event = state.get(request.param('eventType'), request.param('stateKey'));
  if (!event) throw notFound('Event not found.');
  if (request.query.get('format') !== 'event') return event.content;
  return clientEvent(room, event, request.viewer, { format: 'plain' });
}

function getMembers(request: EndpointRequest): JsonObject {
  const { room, state } = readState(request);
  const wanted = request.query.getAll('membership');
  const unwanted = request.query.getAll('not_membership');
  const members = state.ofType('m.room.member').filter((event) => {
    const membership = membershipIn(event);
    return (wanted.length === 0 || wanted.includes(membership)) && !unwanted.includes(membership);
  });
  return { chunk: members.map((event) => roomState(request, room, event)) };
}

function getJoinedMembers(request: EndpointRequest): JsonObject {
  const { room, upTo } = request.readableRoom();
  if (upTo !== Infinity) {
    throw forbidden('Getting joined members while not being a current member of the room is forbidden.');
  }
  const joined = [...room.joined].map((userId) => {
    const content = room.state.current.get('m.room.member', userId)?.content;
    return [userId, { avatar_url: content?.['avatar_url'] ?? null, display_name: content?.['displayname'] ?? null }];
  });
  return { joined: Object.fromEntries(joined) as JsonObject };
}

function getJoinedRooms({ user }: EndpointRequest): JsonObject {
  return { joined_rooms: [...user.rooms].filter(([, { membership }]) => membership === 'join').map(([id]) => id) };
}

/** A state event as the state endpoints return it. */
export function roomState({ viewer }: EndpointRequest, room: Room, event: RoomEvent): JsonObject {
  return clientEvent(room, event, viewer, { format: 'full' });
}

/** The room's state that the user may read. A user who left gets the state at their leave. */
function readState(request: EndpointRequest): { room: Room; state: StateMap } {
  const { room, upTo } = request.readableRoom();
  return { room, state: upTo === Infinity ? room.state.current : room.state.at(upTo) };
}
