import type { ClientEvent, InviteEvent, PresenceEvent, Provenance, ReceiptEvent } from '../core/client-event.js';
import type { InviteBatch, PresenceUpdate, RoomBatch } from '../core/ports/event-source.js';
import type { MemberOf } from '../core/member-profile.js';
import type { EventContent, RawEvent } from '../core/raw-event.js';
import { readReceipts } from '../core/receipts.js';
import { toTimelineEvent } from '../core/timeline-event.js';

/**
 * Converts a timeline event to the event that callbacks get.
 * @param memberOf - the members of the room, as far as they are known
 */
export function toDeliveredEvent(
  userId: string,
  roomId: string,
  raw: RawEvent,
  provenance: Provenance,
  memberOf: MemberOf,
): ClientEvent {
  const transactionId = raw.unsigned?.transaction_id;
  const isOwn = typeof transactionId === 'string' && raw.sender === userId;
  return { ...toTimelineEvent(roomId, raw, memberOf), userId, provenance, ...(isOwn && { transactionId }) };
}

/** Converts a room's typing notifications, receipts and unread count to the events that callbacks get. */
export function toEphemeralEvents(userId: string, room: RoomBatch, provenance: Provenance): ClientEvent[] {
  const { roomId, unread } = room;
  const ephemeral = room.ephemeral.flatMap(({ type, content }): ClientEvent[] => {
    if (type === 'm.receipt') return toReceipts(userId, roomId, content, provenance);
    if (type !== 'm.typing' || !Array.isArray(content.user_ids)) return [];
    const userIds = content.user_ids.filter((id): id is string => typeof id === 'string');
    return [{ type: 'typing', userId, roomId, provenance, userIds }];
  });
  return unread ? [...ephemeral, { type: 'unread', userId, roomId, provenance, ...unread }] : ephemeral;
}

function toReceipts(userId: string, roomId: string, content: EventContent, provenance: Provenance): ReceiptEvent[] {
  return [...readReceipts(content)].map(({ eventId, type: receiptType, userId: sender, receipt }) => {
    const { ts, thread_id: threadId } = receipt;
    const timestamp = typeof ts === 'number' ? ts : 0;
    const common = { type: 'receipt', userId, roomId, provenance, eventId, sender, receiptType, timestamp } as const;
    return { ...common, ...(typeof threadId === 'string' && { threadId }) };
  });
}

/** @param arrivedAt - in milliseconds since the Unix epoch */
export function toPresence(userId: string, update: PresenceUpdate, arrivedAt: number): PresenceEvent {
  const { lastActiveAgoMs, ...rest } = update;
  const lastActiveAt = lastActiveAgoMs === undefined ? undefined : arrivedAt - lastActiveAgoMs;
  return { type: 'presence', userId, provenance: 'live', ...rest, ...(lastActiveAt !== undefined && { lastActiveAt }) };
}

/** Converts an invitation to the event that callbacks get; undefined if it lacks the user's own membership event. */
export function toInvite(
  userId: string,
  invite: Pick<InviteBatch, 'roomId' | 'state'>,
  provenance: Provenance,
): InviteEvent | undefined {
  const own = invite.state.find((event) => event.type === 'm.room.member' && event.state_key === userId);
  if (!own) return undefined;
  const name = invite.state.find((event) => event.type === 'm.room.name')?.content.name;
  return {
    type: 'invite',
    userId,
    roomId: invite.roomId,
    provenance,
    sender: own.sender,
    roomName: typeof name === 'string' ? name : undefined,
    isDirect: own.content.is_direct === true,
  };
}
