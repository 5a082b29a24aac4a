import { decryption } from './decryption.js';
import type { Decryption } from './decryption.js';
import type { MemberOf } from './member-profile.js';
import { readMessageFields } from './message-fields.js';
import type { MessageFields } from './message-fields.js';
import { isEncrypted, isObject } from './raw-event.js';
import type { EventContent, RawEvent } from './raw-event.js';
import { readRedaction } from './redacted.js';
import type { Redacted } from './redacted.js';

/** What callbacks and pages say of every event of a room's timeline. */
export interface TimelineFields {
  readonly roomId: string;
  readonly eventId: string;
  /** Full user id of the sender. */
  readonly sender: string;
  /** The sender's display name in the room. Absent if they have none, or if it is not known without another request. */
  readonly senderName?: string;
  /** The `mxc://` URI of the sender's avatar in the room. Absent like `senderName`. */
  readonly senderAvatarUrl?: string;
  /** `origin_server_ts`: time by the clock of the sender's homeserver, in milliseconds since the Unix epoch. */
  readonly timestamp: number;
  /** The content. Nearly empty if the event was redacted. */
  readonly content: EventContent;
  /** By whom, when and why the event was redacted, if that is known. */
  readonly redacted?: Redacted;
  /** The Matrix event type, such as `m.room.message`; `m.room.encrypted` if the event could not be decrypted. */
  readonly eventType: string;
  /** Whether the event was sent encrypted. */
  readonly encrypted: boolean;
  /** The result of decrypting the event, if it was encrypted and the user has encryption. */
  readonly decryption?: Decryption;
}

/** What kind of event it is, and the fields of that kind. */
type KindFields =
  | ({ readonly type: 'message' } & MessageFields)
  | { readonly type: 'reaction'; readonly relatesTo: string | undefined; readonly key: string | undefined }
  | { readonly type: 'redaction'; readonly redacts: string | undefined }
  | { readonly type: 'membership'; readonly stateKey: string; readonly membership: string }
  | { readonly type: 'state'; readonly stateKey: string };

export type TimelineEvent = TimelineFields & KindFields;
export type TimelineKind = TimelineEvent['type'];

export function kindOf(event: RawEvent): TimelineKind {
  if (event.state_key !== undefined) return event.type === 'm.room.member' ? 'membership' : 'state';
  if (event.type === 'm.reaction') return 'reaction';
  return event.type === 'm.room.redaction' ? 'redaction' : 'message';
}

/** Converts an event of the homeserver to what callbacks and pages have in common. */
export function toTimelineEvent(roomId: string, raw: RawEvent, memberOf: MemberOf): TimelineEvent {
  const redacted = readRedaction(raw);
  const { displayName, avatarUrl } = memberOf(raw.sender) ?? {};
  return {
    roomId,
    eventId: raw.event_id,
    sender: raw.sender,
    ...(displayName !== undefined && { senderName: displayName }),
    ...(avatarUrl !== undefined && { senderAvatarUrl: avatarUrl }),
    timestamp: raw.origin_server_ts,
    content: raw.content,
    ...(redacted && { redacted }),
    eventType: raw.type,
    encrypted: isEncrypted(raw),
    ...(raw[decryption] && { decryption: raw[decryption] }),
    ...kindFields(raw),
  };
}

function kindFields(raw: RawEvent): KindFields {
  const type = kindOf(raw);
  const { content, state_key: stateKey = '' } = raw;
  if (type === 'message') return { type, ...readMessageFields(raw) };
  if (type === 'state') return { type, stateKey };
  if (type === 'membership') {
    return { type, stateKey, membership: typeof content.membership === 'string' ? content.membership : 'leave' };
  }
  if (type === 'redaction') return { type, redacts: redactedId(raw) };
  const relation = content['m.relates_to'];
  const { event_id: relatesTo, key } = isObject(relation) ? relation : {};
  return {
    type,
    relatesTo: typeof relatesTo === 'string' ? relatesTo : undefined,
    key: typeof key === 'string' ? key : undefined,
  };
}

/**
 * The id of the event that a redaction redacts. It is in the content since room version 11, before beside the content. The
 * version is not known here and only one of the two was checked, so that two different ids count as none.
 */
export function redactedId({ content, redacts }: RawEvent): string | undefined {
  const ids: unknown[] = [content.redacts, redacts];
  const [id, other] = ids.filter((one) => typeof one === 'string');
  return other === undefined || other === id ? id : undefined;
}
