import * as v from 'valibot';
import { throwIfAborted } from '../core/abort.js';
import { isManagerError } from '../core/errors.js';
import { listOf, name, roomId, roomIdOrAlias, text, userId } from '../core/validation.js';
import { path } from '../http/path.js';
import type { RetryPolicy } from '../http/retry.js';
import { resolveAlias } from './aliases.js';
import { callOf } from './room-calls.js';
import type { Actor, RoomCallOptions } from './room-calls.js';

export interface LeaveRoomOptions extends RoomCallOptions {
  readonly roomId: string;
  /** Shown to the members of the room. @default none */
  readonly reason?: string | undefined;
}

export interface ChangeMemberOptions extends LeaveRoomOptions {
  /** The user whose membership is changed. */
  readonly targetUserId: string;
}

export interface JoinRoomOptions extends RoomCallOptions {
  /** Room id, or alias such as `#lobby:example.org`. */
  readonly roomId: string;
  /** Names of servers that are in the room, for a room that this homeserver does not know. @default none */
  readonly via?: readonly string[] | undefined;
  /** Shown to the members of the room. @default none */
  readonly reason?: string | undefined;
}

export interface ForgetRoomOptions extends RoomCallOptions {
  readonly roomId: string;
}

export const leaveSchema = callOf<LeaveRoomOptions>({ roomId, reason: v.optional(text) });
export const changeMemberSchema = callOf<ChangeMemberOptions>({
  roomId,
  targetUserId: userId,
  reason: v.optional(text),
});
export const joinSchema = callOf<JoinRoomOptions>({
  roomId: roomIdOrAlias,
  via: v.optional(listOf(name)),
  reason: v.optional(text),
});
export const forgetSchema = callOf<ForgetRoomOptions>({ roomId });

export type Membership = 'join' | 'invite' | 'knock' | 'leave' | 'ban';

export interface MembershipAction {
  /** The last segment of the endpoint's path. */
  readonly name: 'invite' | 'kick' | 'ban' | 'unban' | 'leave';
  /** The operation, with the names of the user and of the room. */
  readonly operation: (userId: string, roomId: string) => string;
  /** The memberships after which there is nothing to do. */
  readonly done: readonly Membership[];
}

export const inviteUser: MembershipAction = {
  name: 'invite',
  operation: (user, room) => `inviting ${user} to ${room}`,
  done: ['invite', 'join'],
};
export const kickUser: MembershipAction = {
  name: 'kick',
  operation: (user, room) => `removing ${user} from ${room}`,
  done: ['leave', 'ban'],
};
export const banUser: MembershipAction = {
  name: 'ban',
  operation: (user, room) => `banning ${user} from ${room}`,
  done: ['ban'],
};
export const unbanUser: MembershipAction = {
  name: 'unban',
  operation: (user, room) => `unbanning ${user} in ${room}`,
  done: ['leave', 'invite', 'join', 'knock'],
};
export const leaveRoom: MembershipAction = {
  name: 'leave',
  operation: (user, room) => `leaving ${room} as ${user}`,
  done: ['leave', 'ban'],
};

/**
 * Changes the membership of a user. If the homeserver refuses and the membership is already as wanted, that is a success.
 * @see https://spec.matrix.org/v1.16/client-server-api/#room-membership
 */
export async function changeMembership(
  actor: Actor,
  action: MembershipAction,
  change: { readonly roomId: string; readonly targetUserId: string; readonly reason?: string | undefined },
  retry: Partial<RetryPolicy> = {},
): Promise<void> {
  const { roomId: room, targetUserId: target, reason } = change;
  const { name: endpoint } = action;
  const operation = action.operation(target, room);
  const body = { ...(endpoint !== 'leave' && { user_id: target }), ...(reason !== undefined && { reason }) };
  try {
    await actor.request(v.unknown(), {
      operation,
      roomId: room,
      method: 'POST',
      path: path`/_matrix/client/v3/rooms/${room}/${endpoint}`,
      body,
      repeatable: true,
      retry,
    });
  } catch (error) {
    if (!isManagerError(error, 'FORBIDDEN', 'REJECTED')) throw error;
    const isDone = await isAlreadySo(actor, action, room, target).catch(
      // A user who was never in the room may not read it, and has nothing to leave.
      (unread: unknown) => endpoint === 'leave' && error.code === 'FORBIDDEN' && isManagerError(unread, 'FORBIDDEN'),
    );
    throwIfAborted(actor.signal, operation);
    if (!isDone) throw error;
  }
}

/**
 * Whether the membership is as wanted. False if the actor is no longer in the room: they would read the membership of
 * another user as it was when they left.
 */
async function isAlreadySo(actor: Actor, action: MembershipAction, room: string, target: string): Promise<boolean> {
  if (!action.done.includes(await membershipOf(actor, room, target))) return false;
  return target === actor.userId || (await membershipOf(actor, room, actor.userId)) === 'join';
}

/** The user's membership in the room, as the actor sees it. Rejects with `FORBIDDEN` if they may not see it. */
export async function membershipOf(actor: Actor, room: string, user: string): Promise<Membership> {
  const member = await actor.stateIfAny(room, 'm.room.member', user);
  return (member?.membership as Membership | undefined) ?? 'leave';
}

const joinedSchema = v.object({ room_id: v.string() });

/** Joins a room, or asks to be let in. Returns the room id. Resolves also if the user is in the room. */
export async function enterRoom(
  actor: Actor,
  action: 'join' | 'knock',
  { roomId: room, via, reason }: Pick<JoinRoomOptions, 'roomId' | 'via' | 'reason'>,
  retry: Partial<RetryPolicy> = {},
): Promise<string> {
  const operation = action === 'join' ? `joining ${room} as ${actor.userId}` : `knocking on ${room} as ${actor.userId}`;
  try {
    const joined = await actor.request(joinedSchema, {
      operation,
      ...(room.startsWith('!') && { roomId: room }),
      method: 'POST',
      path: action === 'join' ? path`/_matrix/client/v3/join/${room}` : path`/_matrix/client/v3/knock/${room}`,
      query: { via, server_name: via }, // the second is the name before version 1.12 of the specification
      body: reason === undefined ? {} : { reason },
      repeatable: true,
      retry,
    });
    return joined.room_id;
  } catch (error) {
    // Homeservers refuse to let a member knock.
    if (action !== 'knock' || !isManagerError(error, 'FORBIDDEN')) throw error;
    const entered = await ifJoined(actor, room).catch(() => undefined);
    throwIfAborted(actor.signal, operation);
    if (entered === undefined) throw error;
    return entered;
  }
}

/** The room id, if the actor is in the room. */
async function ifJoined(actor: Actor, idOrAlias: string): Promise<string | undefined> {
  const room = idOrAlias.startsWith('!') ? idOrAlias : (await resolveAlias(actor, idOrAlias)).roomId;
  return (await membershipOf(actor, room, actor.userId)) === 'join' ? room : undefined;
}

/** Removes a room that the user has left from their history. */
export async function forgetRoom(actor: Actor, room: string): Promise<void> {
  await actor.request(v.unknown(), {
    operation: `forgetting ${room} as ${actor.userId}`,
    roomId: room,
    method: 'POST',
    path: path`/_matrix/client/v3/rooms/${room}/forget`,
    body: {},
    repeatable: true,
  });
}
