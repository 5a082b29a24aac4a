import { decryption } from '../core/decryption.js';
import type { Decryption } from '../core/decryption.js';
import { isEncrypted, isObject, isRawEvent } from '../core/raw-event.js';
import type { EventContent, RawEvent } from '../core/raw-event.js';
import { readRedaction } from '../core/redacted.js';
import type { Redacted } from '../core/redacted.js';

/** An event of a page, with later edits and redactions applied. */
export interface RoomMessage {
  readonly eventId: string;
  readonly roomId: string;
  /** The Matrix event type, such as `m.room.message`. */
  readonly type: string;
  /** User id of the sender. */
  readonly sender: string;
  /** `origin_server_ts`: time of sending by the clock of the sender's homeserver, in milliseconds since the Unix epoch. */
  readonly timestamp: number;
  /** Current content: that of the newest edit if there is one; empty or nearly empty after a redaction. */
  readonly content: EventContent;
  /** Present for state events only. */
  readonly stateKey?: string;
  /** The newest edit, when there is one. */
  readonly edited?: { readonly eventId: string; readonly timestamp: number };
  /** If the event was redacted: by whom, when and why. */
  readonly redacted?: Redacted;
  /** Whether the event was sent encrypted. If it could not be decrypted, its `type` is `m.room.encrypted`. */
  readonly encrypted: boolean;
  /** Result of the decryption, if the event was encrypted and the reading user has encryption. */
  readonly decryption?: Decryption;
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
    const redacts = event.type === 'm.room.redaction' ? (event.content.redacts ?? event.redacts) : undefined;
    if (typeof redacts === 'string') redactions.set(redacts, event);
  }
  return { edits, redactions };
}

/** The id of the event that this edit replaces; undefined if `event` is not an edit. */
export function editTarget(event: RawEvent): string | undefined {
  const relation = event.content['m.relates_to'];
  if (!isObject(relation) || relation.rel_type !== 'm.replace') return undefined;
  return typeof relation.event_id === 'string' ? relation.event_id : undefined;
}

/** The event with `changes`, and the edit and redaction that the homeserver bundles with it, applied. */
export function toRoomMessage(roomId: string, event: RawEvent, changes: EditsAndRedactions): RoomMessage {
  const common = {
    eventId: event.event_id,
    roomId,
    type: event.type,
    sender: event.sender,
    timestamp: event.origin_server_ts,
    encrypted: isEncrypted(event),
    ...(event[decryption] && { decryption: event[decryption] }),
    ...(event.state_key !== undefined && { stateKey: event.state_key }),
  };
  const redacted = readRedaction(event, changes.redactions.get(event.event_id));
  if (redacted) {
    const kept = event.state_key === undefined ? {} : keptContent(event);
    return { ...common, content: kept, redacted };
  }
  const edit = newestEdit(event, changes);
  if (!edit) return { ...common, content: event.content };
  const relation = event.content['m.relates_to'];
  const content = { ...edit.content['m.new_content'], ...(relation !== undefined && { 'm.relates_to': relation }) };
  return { ...common, content, edited: { eventId: edit.event_id, timestamp: edit.origin_server_ts } };
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
