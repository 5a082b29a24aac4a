import type { JsonObject } from '../json.js';
import { hasCreatorPower } from './power-levels.js';
import type { Room } from './room.js';
import type { RoomEvent } from './room-event.js';
import { relationOf } from './room-event.js';

/** The reader of an event. The event's `unsigned` depends on it. */
export interface Viewer {
  readonly userId: string;
  /** The viewer's device, as in `SentBy`. */
  readonly device: string;
  /** The present time, in milliseconds since the Unix epoch. */
  readonly now: number;
}

export interface EventView {
  /** `sync` omits the room id; `full` adds the duplicate members that older clients expect. */
  readonly format: 'sync' | 'full' | 'plain';
  /** Whether to add the viewer's membership at the event (MSC4115). */
  readonly membership?: boolean;
  /** Whether to bundle aggregations of related events. */
  readonly relations?: boolean;
}

/** Converts an event to the format that Synapse sends to clients. */
export function clientEvent(room: Room, event: RoomEvent, viewer: Viewer, view: EventView): JsonObject {
  const unsigned = unsignedOf(room, event, viewer, view);
  const body: JsonObject = {
    content: event.content,
    event_id: event.eventId,
    origin_server_ts: event.timestamp,
    sender: event.sender,
    type: event.type,
    unsigned,
  };
  if (event.stateKey !== undefined) body['state_key'] = event.stateKey;
  if (event.redacts !== undefined) body['redacts'] = event.redacts;
  // from room version 12 on, the create event has its room_id even in a sync
  const namesRoom = event.type === 'm.room.create' && hasCreatorPower(room.version);
  if (view.format !== 'sync' || namesRoom) body['room_id'] = event.roomId;
  if (view.format === 'full') {
    body['user_id'] = event.sender;
    for (const key of ['age', 'prev_content', 'replaces_state', 'redacted_because']) {
      if (key in unsigned) body[key] = unsigned[key];
    }
  }
  return body;
}

function unsignedOf(room: Room, event: RoomEvent, viewer: Viewer, view: EventView): JsonObject {
  const unsigned: JsonObject = { age: viewer.now - event.timestamp };
  if (view.membership) unsigned['membership'] = room.membershipAt(viewer.userId, event.stream);
  if (event.replaces) {
    unsigned['replaces_state'] = event.replaces.eventId;
    if (!event.redactedBecause) {
      unsigned['prev_content'] = event.replaces.content;
      unsigned['prev_sender'] = event.replaces.sender;
    }
  }
  if (event.sentBy?.device === viewer.device) unsigned['transaction_id'] = event.sentBy.txnId;
  if (event.redactedBecause) {
    unsigned['redacted_by'] = event.redactedBecause.eventId;
    unsigned['redacted_because'] = clientEvent(room, event.redactedBecause, viewer, { format: view.format });
  } else if (view.relations) {
    const relations = bundledRelations(room, event, viewer, view);
    if (Object.keys(relations).length > 0) unsigned['m.relations'] = relations;
  }
  return unsigned;
}

/** @see https://spec.matrix.org/v1.16/client-server-api/#aggregations-of-child-events */
function bundledRelations(room: Room, event: RoomEvent, viewer: Viewer, view: EventView): JsonObject {
  const bundle: JsonObject = {};
  const ownRelation = relationOf(event.content)?.relType;
  const show = (related: RoomEvent, relations: boolean): JsonObject =>
    clientEvent(room, related, viewer, { format: view.format, relations });
  const edit =
    ownRelation === 'm.replace' || event.stateKey !== undefined ? undefined : room.relations.latestEdit(event);
  if (edit) bundle['m.replace'] = show(edit, false);
  const thread = ownRelation === 'm.thread' ? [] : room.relations.of(event.eventId, 'm.thread');
  const latest = thread.at(-1);
  if (latest) {
    bundle['m.thread'] = {
      latest_event: show(latest, true),
      count: thread.length,
      current_user_participated:
        event.sender === viewer.userId || thread.some(({ sender }) => sender === viewer.userId),
    };
  }
  const references = room.relations.of(event.eventId, 'm.reference');
  if (references.length > 0)
    bundle['m.reference'] = { chunk: references.map(({ eventId }) => ({ event_id: eventId })) };
  return bundle;
}
