import type { JsonObject } from '../json.js';
import { hasCreatorPower } from './power-levels.js';
import type { Room } from './room.js';
import type { RoomEvent } from './room-event.js';
import { relationOf } from './room-event.js';

/** Who looks at an event: decides what stands in its `unsigned`. */
export interface Viewer {
  readonly userId: string;
  /** The viewer's device, as in `SentBy`. */
  readonly device: string;
  /** The time of the look, in milliseconds since the Unix epoch. */
  readonly now: number;
}

export interface EventView {
  /** `sync` leaves the room id out; `full` adds the copies that older clients expect. */
  readonly format: 'sync' | 'full' | 'plain';
  /** Whether to tell the viewer's own membership at the time (MSC4115). */
  readonly membership?: boolean;
  /** Whether to add the summary of what relates to the event. */
  readonly relations?: boolean;
}

/** An event in the shape in which Synapse gives it to clients. */
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
  // since room version 12 the event that a room is named after says so even where the id goes without saying
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
