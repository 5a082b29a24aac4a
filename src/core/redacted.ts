import { isObject, isRawEvent } from './raw-event.js';
import type { RawEvent } from './raw-event.js';

/** The redaction of an event: its sender, time and reason. */
export interface Redacted {
  /** Id of the redaction event. */
  readonly eventId: string;
  /** Full user id of the sender of the redaction. */
  readonly sender: string;
  /** `origin_server_ts`: time by the clock of the sender's homeserver, in milliseconds since the Unix epoch. */
  readonly timestamp: number;
  readonly reason?: string;
}

/**
 * Describes the redaction of an event. Undefined if the event was not redacted, or the redaction is malformed.
 * @param redaction - the redaction event, by default the one in `unsigned.redacted_because`
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
