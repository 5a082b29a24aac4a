import * as v from 'valibot';
import { delay, throwIfAborted, withDeadline } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { mapConcurrently } from '../core/map-concurrently.js';
import { ownProperty } from '../core/own-property.js';
import { isObject } from '../core/raw-event.js';
import { failureClass, isRetryable } from '../http/failure-class.js';
import { path } from '../http/path.js';
import { wasNeverSent } from '../http/request-failure.js';
import { CREATION_ID } from './create-room.js';
import type { RoomPlan } from './create-room.js';
import { joinedRooms } from './joined-rooms.js';
import { creationPowerLevels } from './power-levels.js';
import type { Actor } from './room-calls.js';

const roomSchema = v.object({ room_id: v.pipe(v.string(), v.startsWith('!')) });

/** When to look for a new room whose request got no answer, in milliseconds after the failure and between the attempts. */
export const LOOK_DELAYS_MS = [500, 2_000, 5_000];
/** How long to look at most. */
const MAX_LOOK_MS = 60_000;
/** The most rooms of a user that are looked through. */
const MAX_LOOKED_AT = 2_000;
const CONCURRENCY = 8;

/**
 * Creates the room. If the answer is lost, looks for the room among the user's rooms; a creation is never repeated.
 * @param defaultVersion - returns the version of rooms that are created without one
 * @see https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3createroom
 */
export async function createRoom(
  actor: Actor,
  plan: RoomPlan,
  { clock, defaultVersion }: { readonly clock: Clock; readonly defaultVersion: (actor: Actor) => Promise<string> },
): Promise<string> {
  const { powerLevels, body, isTrusted, invite } = plan;
  const version = plan.version ?? (isObject(powerLevels?.users) ? await defaultVersion(actor) : '');
  const creators = [actor.userId, ...(isTrusted ? invite : [])];
  const levels = powerLevels && creationPowerLevels(powerLevels, creators, version);
  try {
    const created = await actor.request(roomSchema, {
      operation: 'creating a room',
      method: 'POST',
      path: '/_matrix/client/v3/createRoom',
      body: { ...body, ...(levels && { power_level_content_override: levels }) },
    });
    return created.room_id;
  } catch (error) {
    if (!isAnswerLost(error)) throw error;
    const found = await findCreatedRoom(actor, plan, clock).catch((failure: unknown) => {
      throwIfAborted(actor.signal, 'creating a room');
      if (!isManagerError(failure)) throw failure;
      return undefined;
    });
    if (found?.isComplete) return found.roomId;
    throw lostAnswerError(error);
  }
}

/** Whether the homeserver may have carried out a request that has failed. */
export function isAnswerLost(error: unknown): boolean {
  if (!isManagerError(error) || !isRetryable(failureClass(error)) || error.code === 'RATE_LIMITED') return false;
  return !(error.code === 'NETWORK' && wasNeverSent(error.cause));
}

function lostAnswerError(error: unknown): unknown {
  if (!isManagerError(error)) return error;
  const { code, errcode, status, userId } = error;
  const message = `${error.message}. The room may have been created nevertheless`;
  return new MatrixClientManagerError(code, message, { errcode, status, userId, cause: error });
}

export interface FoundRoom {
  readonly roomId: string;
  /** False if the homeserver is still making the room, or has stopped halfway. */
  readonly isComplete: boolean;
}

/**
 * Looks several times for the room of a plan whose creation got no answer: the homeserver may still be making it. Rejects
 * if the rooms could not be read, also with `TIMEOUT`; undefined means that there is no such room.
 */
export async function findCreatedRoom(actor: Actor, plan: RoomPlan, clock: Clock): Promise<FoundRoom | undefined> {
  const { userId, signal } = actor;
  const message = `a room that ${userId} may have created was not found within ${MAX_LOOK_MS} ms`;
  const failure = () => new MatrixClientManagerError('TIMEOUT', message, { userId });
  return withDeadline({ clock, timeoutMs: MAX_LOOK_MS, signal }, failure, (ending) =>
    lookSeveralTimes(actor.withSignal(ending), plan, clock),
  );
}

async function lookSeveralTimes(actor: Actor, plan: RoomPlan, clock: Clock): Promise<FoundRoom | undefined> {
  let roomId: string | undefined;
  let failure: unknown;
  const known = new Set<string>();
  for (const delayMs of LOOK_DELAYS_MS) {
    await delay(clock, delayMs, actor.signal, 'creating a room');
    try {
      roomId ??= await lookForRoom(actor, plan, known);
      if (roomId !== undefined && (await isComplete(actor, plan, roomId))) return { roomId, isComplete: true };
      failure = undefined;
    } catch (error) {
      if (!isManagerError(error) || failureClass(error) === 'aborted') throw error;
      failure = error;
    }
  }
  if (roomId !== undefined) return { roomId, isComplete: false };
  if (failure !== undefined) throw failure;
  return undefined;
}

/**
 * Looks for the room of the plan among the rooms of its creator.
 * @param known - the rooms that are known to be others; added to
 */
async function lookForRoom(actor: Actor, { creationId }: RoomPlan, known: Set<string>): Promise<string | undefined> {
  const joined = await joinedRooms(actor);
  const unknown = joined.filter((roomId) => !known.has(roomId));
  let found: string | undefined;
  await mapConcurrently(unknown.slice(0, MAX_LOOKED_AT), CONCURRENCY, async (roomId) => {
    if (found !== undefined) return;
    const create = await actor.stateIfAny(roomId, 'm.room.create').catch((error: unknown) => {
      if (isManagerError(error, 'FORBIDDEN')) return undefined; // left meanwhile
      throw error;
    });
    // Not known as another room: it is found again if a read at the same time fails, and with it the whole look.
    if (ownProperty(create, CREATION_ID) === creationId) found = roomId;
    else known.add(roomId);
  });
  return found;
}

/** Whether the room has all of its state, and has invited all users: the homeserver does this last, in this order. */
async function isComplete(actor: Actor, plan: RoomPlan, roomId: string): Promise<boolean> {
  const events = await actor.request(v.array(v.unknown()), {
    operation: `reading the state of ${roomId}`,
    roomId,
    method: 'GET',
    path: path`/_matrix/client/v3/rooms/${roomId}/state`,
  });
  const keys = new Set(events.filter(isObject).map(({ type, state_key: key }) => JSON.stringify([type, key])));
  const has = (type: string, key: string): boolean => keys.has(JSON.stringify([type, key]));
  return (
    has('m.room.power_levels', '') &&
    plan.state.every(([type, key]) => has(type, key)) &&
    plan.invite.every((userId) => has('m.room.member', userId))
  );
}
