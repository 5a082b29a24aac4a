import * as v from 'valibot';
import { throwIfAborted, withDeadline } from '../core/abort.js';
import type { CallOptions } from '../core/call-options.js';
import type { Clock } from '../core/clock.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import { mapConcurrently } from '../core/map-concurrently.js';
import { durationMs, listOf, nullAsAbsent, optionsOf, roomId, signal, userId } from '../core/validation.js';
import { changeMembership, enterRoom, inviteUser, membershipOf } from './memberships.js';
import type { Membership } from './memberships.js';
import { readMembers } from './members.js';
import { Actor } from './room-calls.js';
import type { RunAsActor } from './room-calls.js';

interface CommonOptions extends CallOptions {
  readonly roomId: string;
  /** The member who invites. @default the account of the option `admin` */
  readonly by?: string | undefined;
  /**
   * How long the whole call may take, in milliseconds. Homeservers limit the invitations of a user, Synapse by default to
   * 0.3 per second. Users who are not in the room by then have failed with `TIMEOUT`.
   * @default 3_600_000
   */
  readonly timeoutMs?: number | undefined;
}

export interface EnsureMemberOptions extends CommonOptions {
  /** The user who is to be in the room. */
  readonly userId: string;
}

export interface EnsureMembersOptions extends CommonOptions {
  /** The users who are to be in the room. */
  readonly userIds: readonly string[];
}

const common = {
  roomId,
  by: v.optional(userId),
  timeoutMs: nullAsAbsent(durationMs(1, 2 ** 31 - 1)),
  signal: v.optional(signal),
};
export const ensureMemberSchema = optionsOf<EnsureMemberOptions>({ userId, ...common });
export const ensureMembersSchema = optionsOf<EnsureMembersOptions>({ userIds: listOf(userId), ...common });

/** How it ended for one of the users. */
export interface EnsuredMember {
  readonly userId: string;
  /** `joined` by this call, in the room `already`, or `failed`. */
  readonly status: 'joined' | 'already' | 'failed';
  /** Why it failed. */
  readonly error?: MatrixClientManagerError;
}

/** How many users join at the same time. The homeserver changes one member of a room after the other. */
const CONCURRENCY = 8;
/** With this many users, reading the list of all members costs less than reading each membership. */
const MIN_FOR_LIST = 4;
const DEFAULT_TIMEOUT_MS = 3_600_000;
/** Homeservers limit invitations and joins to few per second, and all of a room or a user share that limit. */
const RETRY = { waitsOutRateLimits: true };

/** Invites the users who are not in the room, and has them join with their own sessions. */
export async function ensureMembers(
  actor: Actor,
  options: Pick<EnsureMembersOptions, 'roomId' | 'userIds' | 'timeoutMs'>,
  { runAs, clock }: { readonly runAs: RunAsActor; readonly clock: Clock },
): Promise<EnsuredMember[]> {
  const { roomId: room, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const targets = [...new Set(options.userIds)];
  const timeoutError = (user?: string): MatrixClientManagerError => {
    const message = `having ${user ?? 'users'} in ${room} took longer than ${timeoutMs} ms`;
    return new MatrixClientManagerError('TIMEOUT', message, { userId: user, roomId: room });
  };
  return withDeadline({ clock, timeoutMs, signal: actor.signal }, timeoutError, async (until) => {
    const inviter = new Actor(actor.http, actor.session, until);
    const memberships = await membershipsOf(inviter, room, targets);
    const isComplete = targets.every((target) => memberships.get(target) === 'join');
    const isPublic = !isComplete && (await inviter.stateIfAny(room, 'm.room.join_rules'))?.join_rule === 'public';
    // One invitation at a time: sent together, they would exceed the limit together, and wait for the same moment.
    const invitations = new KeyedQueue();
    return mapConcurrently(targets, CONCURRENCY, async (target): Promise<EnsuredMember> => {
      const membership = memberships.get(target);
      if (membership === 'join') return { userId: target, status: 'already' };
      try {
        throwIfAborted(until, `having ${target} in ${room}`);
        if (membership !== 'invite' && !isPublic) {
          const change = { roomId: room, targetUserId: target };
          await invitations.run(room, () => changeMembership(inviter, inviteUser, change, RETRY), until);
        }
        await runAs(target, (own) => enterRoom(own, 'join', { roomId: room }, RETRY), until);
        return { userId: target, status: 'joined' };
      } catch (error) {
        if (actor.signal.aborted || !isManagerError(error)) throw error;
        return { userId: target, status: 'failed', error: until.aborted ? timeoutError(target) : error };
      }
    });
  });
}

/**
 * The memberships of the users, or more. Rejects with `FORBIDDEN` unless the actor is in the room: a user who has left it
 * reads the memberships as they were then.
 */
async function membershipsOf(
  actor: Actor,
  room: string,
  targets: readonly string[],
): Promise<ReadonlyMap<string, Membership>> {
  const { userId: user } = actor;
  const memberships = await readMemberships(actor, room, targets);
  if (memberships.get(user) === 'join') return memberships;
  const message = `expected ${user}, who invites, to be a member of ${room}`;
  throw new MatrixClientManagerError('FORBIDDEN', message, { userId: user, roomId: room });
}

async function readMemberships(
  actor: Actor,
  room: string,
  targets: readonly string[],
): Promise<ReadonlyMap<string, Membership>> {
  if (targets.length >= MIN_FOR_LIST) {
    const members = await readMembers(actor, room);
    return new Map([...members].map(([user, { membership }]) => [user, membership]));
  }
  const users = [...new Set([...targets, actor.userId])];
  const read = users.map(async (user) => [user, await membershipOf(actor, room, user)] as const);
  return new Map(await Promise.all(read));
}
