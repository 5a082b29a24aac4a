import { eventTypeList, EventTypes } from '../core/event-types.js';
import { editTarget } from '../core/message-fields.js';
import type { RawEvent } from '../core/raw-event.js';
import type { EditsAndRedactions } from '../core/room-message.js';
import { kindOf } from '../core/timeline-event.js';
import type { TimelineKind } from '../core/timeline-event.js';

const kinds: readonly TimelineKind[] = ['message', 'reaction', 'redaction', 'membership', 'state'];

export const pageTypes = eventTypeList(kinds);

/**
 * Selects the events of a page by kind (the same kinds as for callbacks), event type, or prefix of event types.
 * @param listsEdits - whether the kind `message` contains edits, too
 */
export function eventTypeFilter(
  types: readonly string[] = ['message'],
  listsEdits = false,
): (event: RawEvent, changes: EditsAndRedactions) => boolean {
  const wanted = new EventTypes(types);
  return (event, changes) => {
    if (wanted.has(event.type)) return true;
    const kind = kindOf(event);
    if (kind !== 'message' || !wanted.hasKind(kind)) return wanted.hasKind(kind);
    // An edit is applied to the message that it changes. A redacted edit is listed as a redacted message, because the
    // homeserver removes its relation, so that REST pages cannot recognise it as an edit.
    return listsEdits || editTarget(event) === undefined || changes.redactions.has(event.event_id);
  };
}
