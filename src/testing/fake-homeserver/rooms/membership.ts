import type { JsonObject } from '../json.js';
import { MatrixError, forbidden } from '../matrix-error.js';
import type { Membership } from '../world/user.js';
import type { World } from '../world/world.js';
import { levelFor, powerOf } from './power-levels.js';
import type { Room } from './room.js';
import type { RoomEvent } from './room-event.js';

export interface MembershipChange {
  readonly sender: string;
  readonly target: string;
  readonly membership: Membership;
  /** Further content: `reason`, `is_direct`, a display name for this room. */
  readonly extra?: JsonObject | undefined;
}

/**
 * Joins, invites, removes or bans a user by the rules of the room.
 * @see https://spec.matrix.org/v1.16/rooms/v11/#authorization-rules
 */
export function changeMembership(world: World, room: Room, change: MembershipChange): RoomEvent {
  const { sender, target, membership } = change;
  const before = room.membership(target);
  assertAllowed(room, change, before);
  if (membership === before && membership !== 'join') return lastMembership(room, target);
  const profile = ['join', 'invite', 'knock'].includes(membership) ? profileOf(world, target) : {};
  const content = { ...profile, ...change.extra, membership };
  const current = room.state.current.get('m.room.member', target);
  if (current && membership === before && JSON.stringify(current.content) === JSON.stringify(content)) return current;
  return world.append(room, { type: 'm.room.member', sender, stateKey: target, content });
}

/** Sends the user's changed name or avatar to their rooms. */
export function spreadProfile(world: World, userId: string): void {
  for (const [roomId, { membership }] of world.users.get(userId)?.rooms ?? []) {
    const room = membership === 'join' ? world.rooms.get(roomId) : undefined;
    if (room) changeMembership(world, room, { sender: userId, target: userId, membership: 'join' });
  }
}

function assertAllowed(room: Room, { sender, target, membership }: MembershipChange, before: Membership): void {
  if (membership === 'join') return assertMayJoin(room, target, before);
  if (membership === 'knock') return assertMayKnock(room, before);
  if (sender === target && membership === 'leave') {
    if (before === 'leave' || before === 'ban') {
      // Leaving again is harmless, but not after a kick, a ban or an unban.
      if (before === 'leave' && room.membershipsOf(target).at(-1)?.sender === target) return;
      throw forbidden(`User ${target} not in room ${room.roomId}`);
    }
    return;
  }
  if (!room.joined.has(sender)) throw forbidden(`${sender} not in room ${room.roomId}.`);
  if (membership === 'invite') return assertMayInvite(room, sender, target, before);
  const verb = membership === 'ban' ? 'ban' : 'kick';
  if (powerOf(room, sender) < levelFor(room, verb) || powerOf(room, target) >= powerOf(room, sender)) {
    throw forbidden(membership === 'ban' ? "You don't have permission to ban" : `You cannot kick user ${target}.`);
  }
}

function assertMayJoin(room: Room, userId: string, before: Membership): void {
  if (before === 'ban') throw new MatrixError(403, 'M_BAD_STATE', 'Cannot join user who was banned');
  if (before === 'join' || before === 'invite') return;
  if (room.state.current.get('m.room.join_rules')?.content['join_rule'] !== 'public') {
    throw forbidden('You are not invited to this room.');
  }
}

function assertMayKnock(room: Room, before: Membership): void {
  const rule = room.state.current.get('m.room.join_rules')?.content['join_rule'];
  if (rule !== 'knock' && rule !== 'knock_restricted') throw forbidden("You don't have permission to knock");
  if (before === 'join') throw forbidden('You cannot knock on a room you are already in');
  if (before === 'invite') throw forbidden('You are already invited to this room');
  if (before === 'ban') throw forbidden('You are banned from this room');
}

function assertMayInvite(room: Room, sender: string, target: string, before: Membership): void {
  if (before === 'ban') throw new MatrixError(403, 'M_BAD_STATE', 'Cannot invite user who was banned');
  if (before === 'join') throw forbidden(`${target} is already in the room.`);
  if (powerOf(room, sender) < levelFor(room, 'invite')) throw forbidden("You don't have permission to invite users");
}

function lastMembership(room: Room, userId: string): RoomEvent {
  const event = room.state.current.get('m.room.member', userId);
  if (!event) throw forbidden(`User ${userId} not in room ${room.roomId}`);
  return event;
}

function profileOf(world: World, userId: string): JsonObject {
  const user = world.users.get(userId);
  return {
    ...(user?.displayName !== undefined && { displayname: user.displayName }),
    ...(user?.avatarUrl !== undefined && { avatar_url: user.avatarUrl }),
  };
}
