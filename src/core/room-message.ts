import type { MemberOf } from './member-profile.js';
import { editTarget, readText } from './message-fields.js';
import type { MessageFields } from './message-fields.js';
import { isEncrypted, isObject, isRawEvent } from './raw-event.js';
import type { EventContent, RawEvent } from './raw-event.js';
import { readRedaction } from './redacted.js';
import { redactedId, toTimelineEvent } from './timeline-event.js';
import type { TimelineFields, TimelineKind } from './timeline-event.js';

/** The reactions of one kind to a message. */
export interface MessageReaction {
  /** The reaction itself, such as an emoji. */
  readonly key: string;
  /** How many users have reacted with it. */
  readonly count: number;
  /** Their full user ids, in the order of their reactions. */
  readonly userIds: readonly string[];
  /** Id of the reading user's own reaction: `redact()` takes it back. */
  readonly ownEventId?: string;
}

/**
 * An event of a page, with later edits and redactions applied: `content` and the fields that are read from it are those of
 * the newest edit, and empty or nearly empty after a redaction. The fields are those that callbacks receive.
 */
export interface RoomMessage extends TimelineFields, MessageFields {
  /** What kind of event it is. The Matrix event type is `eventType`. */
  readonly type: TimelineKind;
  /** The newest edit, when there is one. */
  readonly edited?: { readonly eventId: string; readonly timestamp: number };
  /** The reactions to a message, those of the first kind first. Present with the option `reactions`. */
  readonly reactions?: readonly MessageReaction[];
  /** Of a reaction: id of the event that was reacted to. */
  readonly relatesTo?: string | undefined;
  /** Of a reaction: the reaction itself, such as an emoji. */
  readonly key?: string | undefined;
  /** Of a redaction: id of the redacted event. */
  readonly redacts?: string | undefined;
  /** Of state events and memberships. Of a membership: full user id of the user whose membership changed. */
  readonly stateKey?: string;
  /** Of a membership: `join`, `invite`, `leave`, `ban` or `knock`. */
  readonly membership?: string;
}

/** Edits and redactions, by the id of the event that they apply to. */
export interface EditsAndRedactions {
  readonly edits: ReadonlyMap<string, readonly RawEvent[]>;
  readonly redactions: ReadonlyMap<string, RawEvent>;
}

export const noChanges: EditsAndRedactions = { edits: new Map(), redactions: new Map() };

/** Collects the edits and redactions in `events`, which are ordered oldest first. */
export function changesOf(events: Iterable<RawEvent>): EditsAndRedactions {
  const edits = new Map<string, RawEvent[]>();
  const redactions = new Map<string, RawEvent>();
  for (const event of events) {
    const target = editTarget(event);
    if (target !== undefined) edits.set(target, [...(edits.get(target) ?? []), event]);
    const redacts = event.type === 'm.room.redaction' ? redactedId(event) : undefined;
    if (redacts !== undefined) redactions.set(redacts, event);
  }
  return { edits, redactions };
}

/**
 * The event with `changes`, and the edit and redaction that the homeserver bundles with it, applied.
 * @param memberOf - the members of the room, as far as they are known
 */
export function toRoomMessage(
  roomId: string,
  event: RawEvent,
  changes: EditsAndRedactions,
  memberOf: MemberOf,
): RoomMessage {
  const redacted = readRedaction(event, changes.redactions.get(event.event_id));
  if (redacted) {
    const content = event.state_key === undefined ? {} : keptContent(event);
    return { ...toTimelineEvent(roomId, { ...event, content }, memberOf), redacted };
  }
  const edit = newestEdit(event, changes);
  if (!edit) return toTimelineEvent(roomId, event, memberOf);
  const relation = event.content['m.relates_to'];
  const { 'm.relates_to': _, 'm.new_content': __, ...newContent } = edit.content['m.new_content'];
  const content = { ...newContent, ...(relation !== undefined && { 'm.relates_to': relation }) };
  const edited = { eventId: edit.event_id, timestamp: edit.origin_server_ts };
  const message = toTimelineEvent(roomId, { ...event, content }, memberOf);
  // Edits contain no quotation of the event that the message replies to.
  return { ...message, ...(message.type === 'message' && readText(content, false)), edited };
}

type Edit = RawEvent & { readonly content: { readonly 'm.new_content': EventContent } };

/** @see https://spec.matrix.org/v1.16/client-server-api/#validity-of-replacement-events */
function newestEdit(event: RawEvent, changes: EditsAndRedactions): Edit | undefined {
  const relations = event.unsigned?.['m.relations'];
  const bundled = isObject(relations) ? relations['m.replace'] : undefined;
  const candidates = [...(changes.edits.get(event.event_id) ?? []), ...(isRawEvent(bundled) ? [bundled] : [])];
  let newest: Edit | undefined;
  for (const edit of candidates) {
    if (!isValidEdit(edit, event) || changes.redactions.has(edit.event_id)) continue;
    if (!newest || isNewer(edit, newest)) newest = edit;
  }
  return newest;
}

function isValidEdit(edit: RawEvent, event: RawEvent): edit is Edit {
  return (
    editTarget(edit) === event.event_id && // the homeserver may bundle an edit of another event
    edit.sender === event.sender &&
    edit.type === event.type &&
    (isEncrypted(edit) || !isEncrypted(event)) &&
    event.state_key === undefined &&
    edit.state_key === undefined &&
    editTarget(event) === undefined &&
    isObject(edit.content['m.new_content'])
  );
}

function isNewer(edit: RawEvent, than: RawEvent): boolean {
  if (edit.origin_server_ts !== than.origin_server_ts) return edit.origin_server_ts > than.origin_server_ts;
  return edit.event_id > than.event_id;
}

const keptKeys: ReadonlyMap<string, readonly string[]> = new Map([
  ['m.room.member', ['membership', 'join_authorised_via_users_server']],
  ['m.room.join_rules', ['join_rule', 'allow']],
  ['m.room.history_visibility', ['history_visibility']],
  [
    'm.room.power_levels',
    ['ban', 'events', 'events_default', 'invite', 'kick', 'redact', 'state_default', 'users', 'users_default'],
  ],
]);

/** The content keys of a state event that survive a redaction. @see https://spec.matrix.org/v1.16/rooms/v11/#redactions */
function keptContent(event: RawEvent): EventContent {
  if (event.type === 'm.room.create') return event.content;
  const kept = pick(event.content, keptKeys.get(event.type) ?? []);
  const invite = event.type === 'm.room.member' ? event.content.third_party_invite : undefined;
  return isObject(invite) && 'signed' in invite ? { ...kept, third_party_invite: pick(invite, ['signed']) } : kept;
}

function pick(content: EventContent, keys: readonly string[]): EventContent {
  return Object.fromEntries(Object.entries(content).filter(([key]) => keys.includes(key)));
}
