import { toContentPart } from '../core/content-part.js';
import { invalidOptions, isManagerError } from '../core/errors.js';
import { ownProperty } from '../core/own-property.js';
import { isObject } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';
import type { Actor } from './room-calls.js';

/** The power level of a creator before the room has an `m.room.power_levels` event, and after its creation. */
const CREATOR_LEVEL = 100;

/**
 * Whether creators have infinite power, as since room version 12. They must not be listed in `users` then.
 * @see https://spec.matrix.org/v1.16/rooms/v12/#authorization-rules
 */
function hasCreatorPower(roomVersion: unknown): boolean {
  if (typeof roomVersion !== 'string') return false;
  return /^\d+$/.test(roomVersion) ? Number(roomVersion) >= 12 : roomVersion.startsWith('org.matrix.hydra.');
}

/** `users` of a power level event without the creators, if they have infinite power in this room version. */
export function withoutCreators(levels: EventContent, creators: readonly string[], roomVersion: unknown): EventContent {
  if (!isObject(levels.users) || !hasCreatorPower(roomVersion)) return levels;
  const users = Object.entries(levels.users).filter(([userId]) => !creators.includes(userId));
  return { ...levels, users: Object.fromEntries(users) };
}

/** Fields of `m.room.power_levels` whose entries are levels. */
const MAPS: ReadonlySet<string> = new Set(['users', 'events', 'notifications']);

/**
 * A copy of the caller's power levels. Throws `INVALID_OPTIONS` unless all levels are whole numbers.
 * @param canRemove - whether null may stand for a level
 */
export function toPowerLevels(given: EventContent, canRemove: boolean): EventContent {
  const levels = toContentPart(given, 'powerLevels');
  const check = (name: string, level: unknown): void => {
    if (Number.isInteger(level) || (canRemove && level === null)) return;
    throw invalidOptions(
      `expected \`powerLevels.${name.slice(0, 80).toWellFormed()}\` to be a whole number${canRemove ? ' or null' : ''}`,
    );
  };
  for (const [name, value] of Object.entries(levels)) {
    if (!MAPS.has(name)) check(name, value);
    else if (isObject(value)) for (const [key, level] of Object.entries(value)) check(`${name}.${key}`, level);
    else check(name, undefined);
  }
  return levels;
}

/** The room's `m.room.create` event, as far as power levels depend on it. */
export interface RoomCreation {
  readonly roomVersion: string;
  /** The creator, and the additional creators of room version 12. */
  readonly creators: readonly string[];
}

/** Reads who created the room. */
export async function readCreation(actor: Actor, roomId: string): Promise<RoomCreation> {
  const event = await actor.stateEvent(roomId, 'm.room.create');
  const { content, sender } = event;
  const { room_version: version, additional_creators: more } = content;
  // In older room versions the field is of the application, and means nothing.
  const additional = hasCreatorPower(version) && Array.isArray(more) ? (more as unknown[]) : [];
  return {
    roomVersion: typeof version === 'string' ? version : '1',
    creators: [sender, ...additional].filter((userId): userId is string => typeof userId === 'string'),
  };
}

/** The content of the room's `m.room.power_levels` event; without one, what applies instead. */
export async function readPowerLevels(actor: Actor, roomId: string, creation: RoomCreation): Promise<EventContent> {
  try {
    return await actor.state(roomId, 'm.room.power_levels');
  } catch (error) {
    if (!isManagerError(error, 'NOT_FOUND')) throw error;
    const [creator] = creation.creators;
    if (creator === undefined || hasCreatorPower(creation.roomVersion)) return {};
    return { users: Object.fromEntries([[creator, CREATOR_LEVEL]]) };
  }
}

/** The power level of a user; `Infinity` for a creator in a room of version 12 or later. */
export function powerLevelOf(userId: string, levels: EventContent, { creators, roomVersion }: RoomCreation): number {
  if (hasCreatorPower(roomVersion) && creators.includes(userId)) return Infinity;
  const level = ownProperty(levels.users, userId) ?? levels.users_default;
  const number = typeof level === 'string' ? Number(level) : level; // a string in old room versions
  return typeof number === 'number' && Number.isSafeInteger(number) ? number : 0;
}

/**
 * Power levels with changes: each entry of `users`, `events` and `notifications` replaces one entry, and null removes it;
 * other fields are replaced.
 */
export function mergePowerLevels(levels: EventContent, changes: EventContent): EventContent {
  const merged = new Map(Object.entries(levels));
  for (const [name, change] of Object.entries(changes)) {
    if (change === null) merged.delete(name);
    else merged.set(name, isObject(change) ? mergeEntries(merged.get(name), change) : change);
  }
  return Object.fromEntries(merged);
}

function mergeEntries(levels: unknown, changes: EventContent): EventContent {
  const merged = new Map(isObject(levels) ? Object.entries(levels) : []);
  for (const [name, level] of Object.entries(changes)) {
    if (level === null) merged.delete(name);
    else merged.set(name, level);
  }
  return Object.fromEntries(merged);
}

/** Power levels for `createRoom`: the creators are listed where the room version needs them, and nowhere else. */
export function creationPowerLevels(
  levels: EventContent,
  creators: readonly string[],
  roomVersion: string,
): EventContent {
  if (!isObject(levels.users)) return levels;
  if (hasCreatorPower(roomVersion)) return withoutCreators(levels, creators, roomVersion);
  // The override replaces the homeserver's own list.
  const own = creators.map((userId) => [userId, CREATOR_LEVEL] as const);
  return { ...levels, users: { ...Object.fromEntries(own), ...levels.users } };
}
