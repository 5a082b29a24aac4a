import { randomUUID } from 'node:crypto';
import { isObject } from '../../core/raw-event.js';
import type { EventContent } from '../../core/raw-event.js';
import type { VerificationRequestInfo } from '../../encryption/verification-options.js';
import type { CryptoBackend } from './crypto-backend.js';
import { byDevice } from './key-claims.js';

/** A request for a verification, as far as it was checked. */
export interface AskedVerification extends VerificationRequestInfo {
  /** When the request was made, in milliseconds since the Unix epoch; undefined if it does not say. */
  readonly timestamp: number | undefined;
  /** Whether it consists of `m.key.verification.start` alone, as libolm clients ask. */
  readonly isStart: boolean;
  /** Whether the other side compares emoji. */
  readonly hasSas: boolean;
}

/** A verification event of a room, decrypted. */
export interface RoomVerificationEvent {
  readonly eventId: string;
  readonly type: string;
  readonly sender: string;
  readonly content: EventContent;
  /** In milliseconds since the Unix epoch. */
  readonly timestamp: number;
  /** Whether this device has sent it. */
  readonly isEcho: boolean;
}

/** Longest id that is accepted. Ids are kept in memory, and another user chooses them. */
const MAX_ID_LENGTH = 255;

/** Reads the to-device message of a request, or of a start; undefined if it is neither, or invalid. */
export function readToDeviceRequest(userId: string, message: unknown): AskedVerification | undefined {
  const { type, sender, content } = isObject(message) ? message : {};
  const isStart = type === 'm.key.verification.start';
  if (!isStart && type !== 'm.key.verification.request') return undefined;
  if (!isObject(content)) return undefined;
  const { from_device: otherDeviceId, transaction_id: transactionId, timestamp, methods, method } = content;
  if (!isId(sender) || !isId(otherDeviceId) || !isId(transactionId)) return undefined;
  const offered = isStart ? [method] : methods;
  return {
    userId,
    otherUserId: sender,
    otherDeviceId,
    roomId: undefined,
    transactionId,
    timestamp: typeof timestamp === 'number' ? timestamp : undefined,
    isStart,
    hasSas: hasSas(offered),
  };
}

/** Reads a request in a room. Undefined if the event is none, is invalid, or does not ask this user. */
export function readRoomRequest(
  userId: string,
  roomId: string,
  { eventId, type, sender, content, timestamp }: RoomVerificationEvent,
): AskedVerification | undefined {
  const { from_device: otherDeviceId, to, methods } = content;
  if (type !== 'm.room.message' || to !== userId || sender === userId) return undefined;
  if (!isId(sender) || !isId(otherDeviceId) || !isId(eventId)) return undefined;
  const flow = { userId, otherUserId: sender, otherDeviceId, roomId, transactionId: eventId };
  return { ...flow, timestamp, isStart: false, hasSas: hasSas(methods) };
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_ID_LENGTH;
}

function hasSas(methods: unknown): boolean {
  return Array.isArray(methods) && methods.includes('m.sas.v1');
}

/**
 * Tells the other side that a verification is cancelled. Rejects as the SDK's requests do. In an encrypted room the event
 * is not encrypted, as those of the SDK are not.
 * @param code - see https://spec.matrix.org/v1.16/client-server-api/#mkeyverificationcancel
 * @param reason - a sentence that the other side may show
 */
export async function sendCancel(
  { outgoingRequestProcessor: processor }: CryptoBackend,
  { otherUserId, otherDeviceId, roomId, transactionId }: VerificationRequestInfo,
  code: string,
  reason: string,
): Promise<void> {
  const type = 'm.key.verification.cancel';
  const put = (path: string, body: object): Promise<unknown> =>
    processor.requestWithRetry('PUT', `/_matrix/client/v3/${path}/${randomUUID()}`, {}, JSON.stringify(body));
  if (roomId !== undefined) {
    const relation = { rel_type: 'm.reference', event_id: transactionId };
    await put(`rooms/${encodeURIComponent(roomId)}/send/${type}`, { code, reason, 'm.relates_to': relation });
    return;
  }
  const content = { transaction_id: transactionId, code, reason };
  await put(`sendToDevice/${type}`, { messages: byDevice([[otherUserId, otherDeviceId, content]]) });
}
