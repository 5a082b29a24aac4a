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
  /** Of a redaction in room versions before 11: id of the redacted event. Later versions have it in `content`. */
  readonly redacts?: string;
  readonly unsigned?: Readonly<Record<string, unknown>>;
  /** Result of decrypting the event, once that was tried. After a success, type and content are the decrypted ones. */
  readonly [decryption]?: Decryption;
}

/** The content of an event: any JSON object. */
export type EventContent = Readonly<Record<string, unknown>>;

/** Whether the event is still encrypted: it has not been decrypted, or could not be. */
export function needsDecryption(event: RawEvent): boolean {
  return event.type === 'm.room.encrypted';
}

/** Whether the event was sent encrypted. */
export function isEncrypted(event: RawEvent): boolean {
  return needsDecryption(event) || event[decryption] !== undefined;
}

/**
 * The contents of the `m.room.encryption` events among these. Only state events count, which members cannot send without the
 * power to do so.
 */
export function encryptionContents(events: Iterable<unknown>): EventContent[] {
  const contents: EventContent[] = [];
  for (const event of events) {
    if (!isObject(event) || event.type !== 'm.room.encryption' || event.state_key !== '') continue;
    contents.push(isObject(event.content) ? event.content : {});
  }
  return contents;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether `value` has the fields that every event must have. Some homeservers have sent events without them. */
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
