import { eventTypeList, EventTypes } from '../core/event-types.js';
import type { RawEvent } from '../core/raw-event.js';
import { editTarget } from './room-message.js';
import type { EditsAndRedactions } from './room-message.js';

const kinds = ['message', 'reaction', 'redaction', 'membership', 'state'] as const;
type Kind = (typeof kinds)[number];

export const pageTypes = eventTypeList(kinds);

/** Selects the events of a page by kind (the same kinds as for callbacks), event type, or prefix of event types. */
export function eventTypeFilter(
  types: readonly string[] = ['message'],
): (event: RawEvent, changes: EditsAndRedactions) => boolean {
  const wanted = new EventTypes(types);
  return (event, changes) => {
    if (wanted.has(event.type)) return true;
    const kind = kindOf(event);
    if (kind !== 'message' || !wanted.hasKind(kind)) return wanted.hasKind(kind);
    // An edit is applied to the message that it changes. A redacted edit is listed as a redacted message, because the
    // homeserver removes its relation, so that REST pages cannot recognise it as an edit.
    return editTarget(event) === undefined || changes.redactions.has(event.event_id);
  };
}

function kindOf(event: RawEvent): Kind {
  if (event.state_key !== undefined) return event.type === 'm.room.member' ? 'membership' : 'state';
  if (event.type === 'm.reaction') return 'reaction';
  return event.type === 'm.room.redaction' ? 'redaction' : 'message';
}
