import type { JsonObject } from '../json.js';
import { assertCanonical } from '../json.js';
import { MatrixError, forbidden, notFound } from '../matrix-error.js';
import type { World } from '../world/world.js';
import { assertMayChangeLevels, assertMaySend, levelFor, powerOf } from './power-levels.js';
import type { Room } from './room.js';
import type { EventDraft, RoomEvent } from './room-event.js';
import { relationOf } from './room-event.js';

const MAX_ID_BYTES = 255;
const MAX_EVENT_BYTES = 65_536;
/** The approximate size of hashes, signatures and references to other events, in bytes. */
const ENVELOPE_BYTES = 580;

/** Sends an event by the rules for its sender. Throws Synapse's error if it is not allowed. */
export function sendEvent(world: World, room: Room, draft: EventDraft): RoomEvent {
  assertCanonical(draft.content);
  assertFits(draft);
  assertMaySend(room, draft.sender, draft.type, draft.stateKey !== undefined);
  if (draft.stateKey !== undefined) return sendState(world, room, draft);
  if (draft.type === 'm.room.redaction') return redactEvent(world, room, draft);
  const relation = relationOf(draft.content);
  if (
    relation?.relType === 'm.annotation' &&
    room.relations.hasAnnotation(relation.eventId, draft.type, draft.sender, relation.key)
  ) {
    throw new MatrixError(400, 'M_DUPLICATE_ANNOTATION', "Can't send same reaction twice");
  }
  return world.append(room, draft);
}

/** Throws if an id, type or key is over 255 bytes, or the whole event over 65,536 bytes. */
function assertFits({ type, stateKey = '', content }: EventDraft): void {
  if (Buffer.byteLength(type) > MAX_ID_BYTES) throw tooLarge("'type'");
  if (Buffer.byteLength(stateKey) > MAX_ID_BYTES) throw tooLarge("'state_key'");
  if (Buffer.byteLength(JSON.stringify(content)) > MAX_EVENT_BYTES - ENVELOPE_BYTES) throw tooLarge('event');
}

function tooLarge(what: string): MatrixError {
  return new MatrixError(413, 'M_TOO_LARGE', `${what} too large`);
}

function sendState(world: World, room: Room, draft: EventDraft): RoomEvent {
  const { stateKey = '', sender } = draft;
  if (stateKey.startsWith('@') && stateKey !== sender && draft.type !== 'm.room.member') {
    throw forbidden('You are not allowed to set others state');
  }
  if (draft.type === 'm.room.power_levels' && stateKey === '') assertMayChangeLevels(room, sender, draft.content);
  const current = room.state.current.get(draft.type, stateKey);
  // Synapse returns the old event if the state does not change
  if (current && current.sender === sender && sameContent(current.content, draft.content)) return current;
  return world.append(room, draft);
}

/** Sends a redaction. Senders may redact their own events; events of others need the power level for it. */
function redactEvent(world: World, room: Room, draft: EventDraft): RoomEvent {
  const redacts = draft.redacts ?? draft.content['redacts'];
  if (typeof redacts !== 'string') throw new MatrixError(500, 'M_UNKNOWN', 'Internal server error');
  const target = room.event(redacts);
  if (powerOf(room, draft.sender) < levelFor(room, 'redact')) {
    if (!target) throw notFound(`Could not find event ${redacts}`);
    if (target.sender !== draft.sender) throw forbidden("You don't have permission to redact events");
  }
  return world.append(room, { ...draft, redacts, content: { ...draft.content, redacts } });
}

function sameContent(a: JsonObject, b: JsonObject): boolean {
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).toSorted(([x], [y]) => (x < y ? -1 : 1)))
      : item,
  );
}
