import type { JsonObject } from '../json.js';
import { MatrixError, forbidden, invalidParam } from '../matrix-error.js';
import { markFullyRead, setReceipt, setTyping } from '../rooms/room-signals.js';
import type { ReceiptType } from '../rooms/receipts.js';
import { canSee } from '../rooms/visibility.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';

const DEFAULT_TYPING_TIMEOUT_MS = 30_000;

/** Typing notifications and read receipts. */
export const ephemeralEndpoints: readonly Endpoint[] = [
  { method: 'PUT', path: '/rooms/{roomId}/typing/{userId}', auth: 'user', handle: putTyping },
  { method: 'POST', path: '/rooms/{roomId}/receipt/{receiptType}/{eventId}', auth: 'user', handle: postReceipt },
  { method: 'POST', path: '/rooms/{roomId}/read_markers', auth: 'user', handle: postReadMarkers },
];

function putTyping(request: EndpointRequest): JsonObject {
  const { typing, timeout } = request.json();
  const { userId } = request.user;
  if (request.param('userId') !== userId) {
    throw new MatrixError(400, 'M_FORBIDDEN', "Cannot set another user's typing state");
  }
  const room = request.joinedRoom();
  // Synapse reads `typing` without checking that it exists
  if (typing === undefined) throw new MatrixError(500, 'M_UNKNOWN', 'Internal server error');
  const timeoutMs = typeof timeout === 'number' ? timeout : DEFAULT_TYPING_TIMEOUT_MS;
  setTyping(request.world, room, userId, typing === true ? timeoutMs : undefined);
  return {};
}

function postReceipt(request: EndpointRequest): JsonObject {
  const { thread_id: threadId } = request.json();
  const type = request.param('receiptType');
  if (type !== 'm.read' && type !== 'm.read.private' && type !== 'm.fully_read') {
    throw new MatrixError(400, 'M_UNKNOWN', 'Receipt type must be m.read.private, m.read, m.fully_read');
  }
  if (threadId !== undefined && (typeof threadId !== 'string' || threadId === '')) {
    throw invalidParam('thread_id field must be a non-empty string');
  }
  mark(request, type, request.param('eventId'), threadId);
  return {};
}

function postReadMarkers(request: EndpointRequest): JsonObject {
  const body = request.json();
  for (const type of ['m.fully_read', 'm.read', 'm.read.private'] as const) {
    const eventId = body[type];
    if (typeof eventId === 'string') mark(request, type, eventId, undefined);
  }
  return {};
}

function mark(
  request: EndpointRequest,
  type: ReceiptType | 'm.fully_read',
  eventId: string,
  threadId: string | undefined,
): void {
  const { world, user } = request;
  const room = world.rooms.get(request.param('roomId'));
  const event = room?.event(eventId);
  if (room && event && !canSee(room, user, event, !room.joined.has(user.userId))) {
    throw forbidden("You don't have permission to access that event.");
  }
  if (type === 'm.fully_read' && !event) {
    throw new MatrixError(404, 'M_UNKNOWN', `Could not find event ${eventId} in room ${request.param('roomId')}`);
  }
  // Synapse accepts receipts of users who are not in the room, and ignores them
  if (!room?.joined.has(user.userId)) return;
  if (type === 'm.fully_read') markFullyRead(world, room, user, eventId);
  else setReceipt(world, room, { userId: user.userId, type, eventId, threadId });
}
