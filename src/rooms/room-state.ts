import * as v from 'valibot';
import { toContentPart } from '../core/content-part.js';
import { isRawEvent } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';
import { eventId, name, object, roomId, text, unchecked } from '../core/validation.js';
import { path } from '../http/path.js';
import { assertSupportedEncryption, ENCRYPTION } from './encryption-state.js';
import type { SeenEncryption } from './encryption-state.js';
import { mergePowerLevels, readCreation, readPowerLevels, withoutCreators } from './power-levels.js';
import { callOf, statePath } from './room-calls.js';
import type { Actor, RoomCallOptions } from './room-calls.js';

export interface GetStateOptions extends RoomCallOptions {
  readonly roomId: string;
  /** The event type, such as `m.room.name`. */
  readonly type: string;
  /** Tells events of one type apart. @default '' */
  readonly stateKey?: string | undefined;
}

export interface GetAllStateOptions extends RoomCallOptions {
  readonly roomId: string;
}

export interface SetStateOptions extends GetStateOptions {
  /** The new content. */
  readonly content: EventContent;
}

export interface SetPowerLevelsOptions extends RoomCallOptions {
  readonly roomId: string;
  /**
   * Changes of `m.room.power_levels`. Each entry of `users`, `events` and `notifications` replaces one entry, and null
   * removes it; other fields are replaced.
   */
  readonly powerLevels: EventContent;
}

export const getStateSchema = callOf<GetStateOptions>({ roomId, type: name, stateKey: v.optional(text) });
export const getAllStateSchema = callOf<GetAllStateOptions>({ roomId });
export const setStateSchema = callOf<SetStateOptions>({
  roomId,
  type: name,
  stateKey: v.optional(text),
  content: unchecked<EventContent>(),
});
export const setPowerLevelsSchema = callOf<SetPowerLevelsOptions>({ roomId, powerLevels: object<EventContent>() });

/** A state event of a room. */
export interface RoomStateEvent {
  readonly type: string;
  readonly stateKey: string;
  readonly content: EventContent;
  readonly sender: string;
  readonly eventId: string;
  /** Milliseconds since the Unix epoch. */
  readonly timestamp: number;
}

/** The content of one state event. */
export async function readStateContent(
  actor: Actor,
  { roomId: room, type, stateKey = '' }: Omit<GetStateOptions, keyof RoomCallOptions>,
  encryption: SeenEncryption,
): Promise<EventContent> {
  const content = await actor.state(room, type, stateKey);
  if (type === ENCRYPTION && stateKey === '') encryption.note([[room, content]]);
  return content;
}

/** All state events of the room. */
export async function readAllState(actor: Actor, room: string, encryption: SeenEncryption): Promise<RoomStateEvent[]> {
  const all = await actor.request(v.array(v.unknown()), {
    operation: `reading the state of ${room}`,
    roomId: room,
    method: 'GET',
    path: path`/_matrix/client/v3/rooms/${room}/state`,
  });
  encryption.noteEvents(room, all);
  const events = all.filter(isRawEvent).flatMap(({ state_key: stateKey, ...event }) => {
    if (stateKey === undefined) return [];
    const { type, content, sender, event_id: id, origin_server_ts: timestamp } = event;
    return [{ type, stateKey, content, sender, eventId: id, timestamp }];
  });
  actor.http.countMalformed(all.length - events.length);
  return events;
}

const sentSchema = v.object({ event_id: eventId });

/** A state event whose content was checked. */
export interface OutgoingState {
  readonly roomId: string;
  readonly type: string;
  readonly stateKey: string;
  readonly content: EventContent;
}

/** Checks what the schema cannot check. Throws `INVALID_OPTIONS`. */
export function toOutgoingState({ roomId: room, type, stateKey = '', content }: SetStateOptions): OutgoingState {
  const copy = toContentPart(content, 'content');
  if (type === ENCRYPTION && stateKey === '') assertSupportedEncryption(copy, 'content');
  statePath(room, type, stateKey); // throws for a key that cannot be sent
  return { roomId: room, type, stateKey, content: copy };
}

/**
 * Sends a state event. Repeated, the request returns the event of the first one.
 * @see https://spec.matrix.org/v1.16/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
 */
export async function sendState(
  actor: Actor,
  { roomId: room, type, stateKey, content }: OutgoingState,
  encryption: SeenEncryption,
): Promise<{ eventId: string }> {
  const sent = await actor.request(sentSchema, {
    operation: `setting ${type} of ${room}`,
    roomId: room,
    method: 'PUT',
    path: statePath(room, type, stateKey),
    body: content,
  });
  if (type === ENCRYPTION && stateKey === '') encryption.note([[room, content]]);
  return { eventId: sent.event_id };
}

/** Changes power levels. Makes no change if they are already so. Creators are left out where they must not be listed. */
export async function changePowerLevels(
  actor: Actor,
  room: string,
  changes: EventContent,
  encryption: SeenEncryption,
): Promise<void> {
  const creation = await readCreation(actor, room);
  const levels = await readPowerLevels(actor, room, creation);
  const merged = withoutCreators(mergePowerLevels(levels, changes), creation.creators, creation.roomVersion);
  if (sameJson(merged, levels)) return;
  const content = toContentPart(merged, 'powerLevels');
  await sendState(actor, { roomId: room, type: 'm.room.power_levels', stateKey: '', content }, encryption);
}

function sameJson(a: unknown, b: unknown): boolean {
  return sortedJson(a) === sortedJson(b);
}

function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([x], [y]) => (x < y ? -1 : 1)))
      : inner,
  );
}
