import { MatrixClientManagerError } from '../core/errors.js';
import { EventTypes, isEventTypeOrPrefix } from '../core/event-types.js';
import { describe } from '../core/ids.js';
import type { RawEvent } from '../core/raw-event.js';
import { editedBy } from './room-message.js';
import type { Changes } from './room-message.js';

const kinds = ['message', 'reaction', 'redaction', 'membership', 'state'] as const;
type Kind = (typeof kinds)[number];

/** Says which events belong on a page: kinds as callbacks know them, event types, and prefixes of those. */
export function eventTypeFilter(
  types: readonly string[] = ['message'],
): (event: RawEvent, changes: Changes) => boolean {
  if (!Array.isArray(types)) {
    throw new MatrixClientManagerError('INVALID_OPTIONS', `expected \`types\` to be a list, got ${describe(types)}`);
  }
  const wanted = new EventTypes(types.map(check));
  return (event, changes) => {
    if (wanted.has(event.type)) return true;
    const kind = kindOf(event);
    if (kind !== 'message' || !wanted.hasKind(kind)) return wanted.hasKind(kind);
    // An edit is shown in the message that it changes. One that was taken back is a message taken back: the homeserver
    // does not tell any more what it was.
    return editedBy(event) === undefined || changes.redactions.has(event.event_id);
  };
}

function kindOf(event: RawEvent): Kind {
  if (event.state_key !== undefined) return event.type === 'm.room.member' ? 'membership' : 'state';
  if (event.type === 'm.reaction') return 'reaction';
  return event.type === 'm.room.redaction' ? 'redaction' : 'message';
}

function check(type: unknown): string {
  if (isEventTypeOrPrefix(type)) return type;
  throw new MatrixClientManagerError(
    'INVALID_OPTIONS',
    `expected \`types\` to hold ${kinds.join(', ')}, event types or prefixes like m.call.*, got ${describe(type)}`,
  );
}
