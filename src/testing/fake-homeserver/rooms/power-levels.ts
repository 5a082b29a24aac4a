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
  const create = room.state.current.get('m.room.create');
  const creators = [create?.sender, ...(stringsOf(create?.content['additional_creators']) ?? [])];
  const levels = room.state.current.get('m.room.power_levels')?.content;
  const isCreator = creators.includes(userId);
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

/** Whether creators have infinite power, as since room version 12. */
export function hasCreatorPower(roomVersion: string): boolean {
  return Number(roomVersion) >= 12;
}

function numberOr(value: unknown, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise;
}
