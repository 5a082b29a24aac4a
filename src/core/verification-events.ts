import type { EventContent } from './raw-event.js';

/**
 * Whether a room event with this clear content belongs to a verification of devices. Such events are addressed to
 * clients, and are no messages for people.
 * @see https://spec.matrix.org/v1.16/client-server-api/#key-verification-framework
 */
export function isVerification(type: string, content: EventContent): boolean {
  if (type.startsWith('m.key.verification.')) return true;
  return type === 'm.room.message' && content.msgtype === 'm.key.verification.request';
}
