import type { JsonObject } from '../json.js';
import { objectOrEmpty, stringsOf } from '../json.js';
import { MatrixError, forbidden } from '../matrix-error.js';
import type { Room } from './room.js';

type Action = 'ban' | 'invite' | 'kick' | 'redact' | 'events_default' | 'state_default' | 'users_default';

const DEFAULTS: Readonly<Record<Action, number>> = {
  ban: 50,
  invite: 0,
  kick: 50,
  redact: 50,
  events_default: 0,
  state_default: 50,
  users_default: 0,
};

/** A user's power level in a room. It is infinite for creators of a room of version 12 or later. */
export function powerOf(room: Room, userId: string): number {
  const levels = room.state.current.get('m.room.power_levels')?.content;
  const isCreator = creatorsOf(room).includes(userId);
  if (isCreator && hasCreatorPower(room.version)) return Infinity;
  if (!levels) return isCreator ? 100 : 0;
  return numberOr(objectOrEmpty(levels['users'])[userId], levelFor(room, 'users_default'));
}

/** The power level that `@room` mentions need. */
export function roomMentionLevel(room: Room): number {
  const levels = room.state.current.get('m.room.power_levels')?.content;
  return numberOr(objectOrEmpty(levels?.['notifications'])['room'], 50);
}

/** The power level that an action needs. */
export function levelFor(room: Room, action: Action): number {
  return numberOr(room.state.current.get('m.room.power_levels')?.content[action], DEFAULTS[action]);
}

/** The power level that a state event needs. */
export function levelForState(room: Room, type: string): number {
  const levels = room.state.current.get('m.room.power_levels')?.content;
  return numberOr(objectOrEmpty(levels?.['events'])[type], levels ? levelFor(room, 'state_default') : 0);
}

/** Throws 403 unless the sender is in the room and may send an event of that type. */
export function assertMaySend(room: Room, sender: string, type: string, isState: boolean): void {
  if (!room.joined.has(sender)) throw forbidden(`User ${sender} not in room ${room.roomId}`);
  const levels = room.state.current.get('m.room.power_levels')?.content;
  const needed = numberOr(
    objectOrEmpty(levels?.['events'])[type],
    levels ? levelFor(room, isState ? 'state_default' : 'events_default') : 0,
  );
  const has = powerOf(room, sender);
  if (has < needed) {
    throw new MatrixError(
      403,
      'M_FORBIDDEN',
      `You don't have permission to post that to the room. user_level (${has}) < send_level (${needed})`,
    );
  }
}

/** Throws unless the sender may change the power levels of users to those of `content`. */
export function assertMayChangeLevels(room: Room, sender: string, content: JsonObject): void {
  const users = objectOrEmpty(content['users']);
  assertNoCreators(room.version, creatorsOf(room), users);
  const own = powerOf(room, sender);
  const before = objectOrEmpty(room.state.current.get('m.room.power_levels')?.content['users']);
  for (const userId of new Set([...Object.keys(users), ...Object.keys(before)])) {
    if (users[userId] === before[userId]) continue;
    if (userId !== sender && numberOr(before[userId], -Infinity) >= own) {
      throw forbidden("You don't have permission to remove ops level equal to your own");
    }
    if (numberOr(users[userId], -Infinity) > own) {
      throw forbidden("You don't have permission to add ops level greater than your own");
    }
  }
}

/** Throws if a creator with infinite power is listed. */
export function assertNoCreators(version: string, creators: readonly string[], users: JsonObject): void {
  if (!hasCreatorPower(version)) return;
  const listed = creators.find((creator) => creator in users);
  if (listed === undefined) return;
  throw new MatrixError(400, 'M_UNKNOWN', `Creator user ${listed} must not appear in content.users`);
}

function creatorsOf(room: Room): string[] {
  const create = room.state.current.get('m.room.create');
  return [create?.sender ?? '', ...(stringsOf(create?.content['additional_creators']) ?? [])];
}

/** Whether creators have infinite power, as since room version 12. */
export function hasCreatorPower(roomVersion: string): boolean {
  return Number(roomVersion) >= 12;
}

function numberOr(value: unknown, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise;
}
