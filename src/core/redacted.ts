import { isObject, isRawEvent } from './raw-event.js';
import type { RawEvent } from './raw-event.js';

/** Who took an event back, when and why. */
export interface Redacted {
  /** The redaction. */
  readonly eventId: string;
  /** Who sent the redaction, as a full user id. */
  readonly sender: string;
  /** The sender's homeserver's clock, in milliseconds since the Unix epoch (`origin_server_ts`). */
  readonly timestamp: number;
  readonly reason?: string;
}

/**
 * What is told of an event that was taken back; undefined where it was not, or the redaction cannot be read.
 * @param redaction - known otherwise than from the event itself
 * @see https://spec.matrix.org/v1.16/client-server-api/#redactions
 */
export function readRedaction(
  event: RawEvent,
  redaction: unknown = event.unsigned?.redacted_because,
): Redacted | undefined {
  if (!isRawEvent(redaction)) return undefined;
  const { event_id: eventId, sender, origin_server_ts: timestamp, content } = redaction;
  const reason = isObject(content) && typeof content.reason === 'string' && { reason: content.reason };
  return { eventId, sender, timestamp, ...reason };
}
