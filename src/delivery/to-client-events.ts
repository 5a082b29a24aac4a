import type { ClientEvent, InviteEvent, Provenance, ReceiptEvent } from '../core/client-event.js';
import type { InviteBatch, RoomBatch } from '../core/ports/event-source.js';
import { decryption } from '../core/decryption.js';
import { isEncrypted, isObject } from '../core/raw-event.js';
import type { EventContent, RawEvent } from '../core/raw-event.js';
import { readReceipts } from '../core/receipts.js';
import { readRedaction } from '../core/redacted.js';

/** Converts a timeline event to the event that callbacks get. */
export function toTimelineEvent(userId: string, roomId: string, raw: RawEvent, provenance: Provenance): ClientEvent {
  const transactionId = raw.unsigned?.transaction_id;
  const redacted = readRedaction(raw);
  const common = {
    userId,
    roomId,
    provenance,
    eventId: raw.event_id,
    sender: raw.sender,
    timestamp: raw.origin_server_ts,
    content: raw.content,
    ...(redacted && { redacted }),
    eventType: raw.type,
    encrypted: isEncrypted(raw),
    ...(raw[decryption] && { decryption: raw[decryption] }),
    ...(typeof transactionId === 'string' && raw.sender === userId && { transactionId }),
  };
  if (raw.state_key !== undefined) {
    if (raw.type !== 'm.room.member') return { ...common, type: 'state', stateKey: raw.state_key };
    const membership = typeof raw.content.membership === 'string' ? raw.content.membership : 'leave';
    return { ...common, type: 'membership', stateKey: raw.state_key, membership };
  }
  if (raw.type === 'm.room.redaction') {
    const redacts = raw.content.redacts ?? raw.redacts;
    return { ...common, type: 'redaction', redacts: typeof redacts === 'string' ? redacts : undefined };
  }
  if (raw.type === 'm.reaction') {
    const relation = raw.content['m.relates_to'];
    const { event_id: relatesTo, key } = isObject(relation) ? relation : {};
    return {
      ...common,
      type: 'reaction',
      relatesTo: typeof relatesTo === 'string' ? relatesTo : undefined,
      key: typeof key === 'string' ? key : undefined,
    };
  }
  return { ...common, type: 'message' };
}

/** Converts a room's typing notifications and receipts to the events that callbacks get. */
export function toEphemeralEvents(userId: string, room: RoomBatch, provenance: Provenance): ClientEvent[] {
  const { roomId } = room;
  return room.ephemeral.flatMap(({ type, content }): ClientEvent[] => {
    if (type === 'm.receipt') return toReceipts(userId, roomId, content, provenance);
    if (type !== 'm.typing' || !Array.isArray(content.user_ids)) return [];
    const userIds = content.user_ids.filter((id): id is string => typeof id === 'string');
    return [{ type: 'typing', userId, roomId, provenance, userIds }];
  });
}

function toReceipts(userId: string, roomId: string, content: EventContent, provenance: Provenance): ReceiptEvent[] {
  return [...readReceipts(content)].map(({ eventId, type: receiptType, userId: sender, receipt }) => {
    const { ts, thread_id: threadId } = receipt;
    const timestamp = typeof ts === 'number' ? ts : 0;
    const common = { type: 'receipt', userId, roomId, provenance, eventId, sender, receiptType, timestamp } as const;
    return { ...common, ...(typeof threadId === 'string' && { threadId }) };
  });
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
