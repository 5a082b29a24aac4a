import { decryption } from './decryption.js';
import type { Decryption } from './decryption.js';

/**
 * A timeline or state event as the homeserver sends it to clients.
 * @see https://spec.matrix.org/v1.16/client-server-api/#room-event-format
 */
export interface RawEvent {
  readonly event_id: string;
  readonly type: string;
  readonly sender: string;
  readonly origin_server_ts: number;
  readonly content: Readonly<Record<string, unknown>>;
  readonly state_key?: string;
  /** What a redaction redacts, in room versions before 11; later it stands in `content`. */
  readonly redacts?: string;
  readonly unsigned?: Readonly<Record<string, unknown>>;
  /** Of one that came encrypted, once that was tried: type and content are then what was encrypted. */
  readonly [decryption]?: Decryption;
}

/** The content of an event: any JSON object. */
export type EventContent = Readonly<Record<string, unknown>>;

/** Whether the event came encrypted. */
export function isEncrypted(event: RawEvent): boolean {
  return event.type === 'm.room.encrypted' || event[decryption] !== undefined;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether `value` has what every event has; homeservers have been seen to send others. */
export function isRawEvent(value: unknown): value is RawEvent {
  return (
    isObject(value) &&
    typeof value.event_id === 'string' &&
    typeof value.type === 'string' &&
    typeof value.sender === 'string' &&
    typeof value.origin_server_ts === 'number' &&
    isObject(value.content) &&
    (value.state_key === undefined || typeof value.state_key === 'string')
  );
}
