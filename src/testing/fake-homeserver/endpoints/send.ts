import type { JsonObject } from '../json.js';
import { MatrixError } from '../matrix-error.js';
import { changeMembership } from '../rooms/membership.js';
import type { RoomEvent } from '../rooms/room-event.js';
import { sendEvent } from '../rooms/send-event.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import type { Membership } from '../world/user.js';

/** Sending events and redactions. */
export const sendEndpoints: readonly Endpoint[] = [
  { method: 'PUT', path: '/rooms/{roomId}/send/{eventType}/{txnId}', auth: 'user', handle: putEvent },
  { method: 'PUT', path: '/rooms/{roomId}/redact/{eventId}/{txnId}', auth: 'user', handle: putRedaction },
  { method: 'PUT', path: '/rooms/{roomId}/state/{eventType}', auth: 'user', handle: putState },
  { method: 'PUT', path: '/rooms/{roomId}/state/{eventType}/', auth: 'user', handle: putState },
  { method: 'PUT', path: '/rooms/{roomId}/state/{eventType}/{stateKey}', auth: 'user', handle: putState },
];

function putEvent(request: EndpointRequest): JsonObject {
  const content = request.json();
  return sendOnce(request, () => {
    assertNotSuspended(request);
    return sendEvent(request.world, request.joinedRoom(), {
      type: request.param('eventType'),
      sender: request.user.userId,
      content,
      sentBy: { device: request.device, txnId: request.param('txnId') },
    });
  });
}

function putRedaction(request: EndpointRequest): JsonObject {
  const content = request.json();
  return sendOnce(request, () =>
    sendEvent(request.world, request.joinedRoom(), {
      type: 'm.room.redaction',
      sender: request.user.userId,
      content,
      redacts: request.param('eventId'),
      sentBy: { device: request.device, txnId: request.param('txnId') },
    }),
  );
}

function putState(request: EndpointRequest): JsonObject {
  const content = request.json();
  const { world, user } = request;
  const type = request.param('eventType');
  const stateKey = request.param('stateKey');
  if (type === 'm.room.member') return putMembership(request, stateKey, content);
  assertNotSuspended(request);
  const room = request.joinedRoom();
  return { event_id: sendEvent(world, room, { type, sender: user.userId, content, stateKey }).eventId };
}

function putMembership(request: EndpointRequest, target: string, { membership, ...extra }: JsonObject): JsonObject {
  const known: readonly unknown[] = ['join', 'invite', 'leave', 'ban', 'knock'];
  if (!known.includes(membership)) throw new MatrixError(400, 'M_UNKNOWN', 'Invalid membership key');
  const room = request.world.rooms.get(request.param('roomId')) ?? request.joinedRoom();
  const sender = request.user.userId;
  const change = { sender, target, membership: membership as Membership, extra };
  return { event_id: changeMembership(request.world, room, change).eventId };
}

/** Runs the action for the first request with a transaction id. Repetitions get the same response. */
function sendOnce(request: EndpointRequest, send: () => RoomEvent): JsonObject {
  const { transactions } = request.world;
  const key = `${request.device}\n${request.path}`;
  const eventId = transactions.get(key) ?? send().eventId;
  transactions.set(key, eventId);
  return { event_id: eventId };
}

/** Throws 403 when an admin has suspended the user. */
export function assertNotSuspended({ user }: EndpointRequest, what = 'messages'): void {
  if (!user.suspended) return;
  throw new MatrixError(403, 'M_USER_SUSPENDED', `Sending ${what} while account is suspended is not allowed.`);
}
