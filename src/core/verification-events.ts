import { isObject } from './raw-event.js';
import type { EventContent } from './raw-event.js';

/**
 * Whether a room event with this clear content belongs to a verification of devices. Such events are addressed to
 * clients, and are no messages for people.
 * @see https://spec.matrix.org/v1.16/client-server-api/#key-verification-framework
 */
export function isVerification(type: string, content: EventContent): boolean {
  if (type.startsWith('m.key.verification.')) return true;
  if (type !== 'm.room.message' || content.msgtype !== 'm.key.verification.request') return false;
  // Otherwise any member could hide a message, or the edit of one, from callbacks alone.
  const { to, from_device: fromDevice, methods, 'm.relates_to': relation } = content;
  const isRequest = typeof to === 'string' && typeof fromDevice === 'string' && Array.isArray(methods);
  return isRequest && !(isObject(relation) && relation.rel_type === 'm.replace');
}
