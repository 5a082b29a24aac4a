import * as v from 'valibot';
import { throwIfAborted } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { invalidOptions, isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { isRoomId } from '../core/ids.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import { ownProperty } from '../core/own-property.js';
import type { EventContent } from '../core/raw-event.js';
import { RecentMap } from '../core/recent-map.js';
import { flag, userId } from '../core/validation.js';
import type { Session } from '../http/session.js';
import type { RoomPlan } from './create-room.js';
import { enterRoom } from './memberships.js';
import { readMembers } from './members.js';
import { callOf } from './room-calls.js';
import { isAnswerLost } from './room-creation.js';
import type { FoundRoom } from './room-creation.js';
import type { Actor, RoomCallOptions, RunAsActor } from './room-calls.js';

export interface FindOrCreateDirectOptions extends RoomCallOptions {
  /** The other one of the two users. */
  readonly otherUserId: string;
  /** Whether a new room is encrypted. @default false */
  readonly encrypted?: boolean | undefined;
}

export const findOrCreateDirectSchema = callOf<FindOrCreateDirectOptions>({
  otherUserId: userId,
  encrypted: v.optional(flag),
});

export interface DirectRoom {
  readonly roomId: string;
  /** Whether this call has created the room. */
  readonly created: boolean;
}

/** Account data of users. */
export interface DirectLists {
  /** Undefined if there is no content. */
  getIfPresent(session: Session, of: { readonly type: string }, signal: AbortSignal): Promise<EventContent | undefined>;
  /** Makes the change alone. `change` gets undefined if there is no content, and returns undefined to change nothing. */
  update(
    session: Session,
    of: { readonly type: string },
    change: (content: EventContent | undefined) => EventContent | undefined,
    signal: AbortSignal,
  ): Promise<void>;
}

export interface DirectRoomsOptions {
  readonly clock: Clock;
  /** Ends creations; the signal of a call does not. */
  readonly shutdown: AbortSignal;
  readonly accountData: DirectLists;
  readonly runAs: RunAsActor;
  /** Plans a direct room to which the other user is invited. */
  readonly plan: (actor: Actor, otherUserId: string, encrypted: boolean) => RoomPlan;
  readonly create: (actor: Actor, plan: RoomPlan) => Promise<string>;
  /** Looks for a room whose creation got no answer, for as long as the homeserver may take to make it. */
  readonly look: (actor: Actor, plan: RoomPlan) => Promise<FoundRoom | undefined>;
}

const DIRECT = 'm.direct';
/** Rooms whose entry in `m.direct` could not be stored are found by this. */
const MAX_CREATED = 1_000;
/** The most rooms of one list in `m.direct` that are looked at. */
const MAX_CANDIDATES = 20;

/** A room that is incomplete so long after its creation began stays so: the homeserver was stopped while making it. */
const MAX_CREATION_MS = 600_000;

interface Unfinished {
  readonly plan: RoomPlan;
  readonly creator: string;
  /** When the creation began. */
  readonly since: number;
}

/**
 * The direct rooms of two users. The calls for two users run one after the other, whoever of the two asks.
 * @see https://spec.matrix.org/v1.16/client-server-api/#direct-messaging
 */
export class DirectRooms {
  readonly #options: DirectRoomsOptions;
  readonly #pairs = new KeyedQueue();
  /** The last rooms that were created here, by the two users. */
  readonly #created = new RecentMap<string>(MAX_CREATED);
  /** Creations whose answer was lost: the room may exist. By the two users. */
  readonly #unfinished = new RecentMap<Unfinished>(MAX_CREATED);

  constructor(options: DirectRoomsOptions) {
    this.#options = options;
  }

  async findOrCreate(actor: Actor, otherUserId: string, encrypted: boolean): Promise<DirectRoom> {
    if (otherUserId === actor.userId)
      throw invalidOptions('expected `otherUserId` to be another user than the one who acts');
    const pair = [actor.userId, otherUserId].toSorted().join('\n');
    const find = async (): Promise<DirectRoom> => {
      const found = await this.#find(actor, otherUserId, pair);
      if (found !== undefined) {
        this.#unfinished.delete(pair);
        await this.#addToDirect(actor, otherUserId, found);
        return { roomId: found, created: false };
      }
      throwIfAborted(actor.signal, 'finding a direct room');
      // The caller's signal ends only the wait: an aborted creation would be one whose answer is lost. The next call of the
      // pair waits for it, which is no longer than its requests take.
      const creator = actor.withSignal(this.#options.shutdown);
      const roomId = await this.#create(creator, this.#options.plan(actor, otherUserId, encrypted), pair);
      await this.#addToDirect(creator, otherUserId, roomId);
      return { roomId, created: true };
    };
    return this.#pairs.run(pair, find, actor.signal, 'finding a direct room');
  }

  async #create(actor: Actor, plan: RoomPlan, pair: string): Promise<string> {
    this.#unfinished.set(pair, { plan, creator: actor.userId, since: this.#options.clock.now() });
    try {
      const roomId = await this.#options.create(actor, plan);
      this.#finished(pair, roomId);
      return roomId;
    } catch (error) {
      if (!isManagerError(error, 'ABORTED') && !isAnswerLost(error)) this.#unfinished.delete(pair);
      throw error;
    }
  }

  #finished(pair: string, roomId: string): void {
    this.#created.set(pair, roomId);
    this.#unfinished.delete(pair);
  }

  /** Rejects if the room is there and incomplete: with another one there would be two. */
  async #lookForUnfinished(actor: Actor, pair: string): Promise<void> {
    const unfinished = this.#unfinished.get(pair);
    if (!unfinished) return;
    const { plan, creator, since } = unfinished;
    const look = (asCreator: Actor): Promise<FoundRoom | undefined> => this.#options.look(asCreator, plan);
    const found = await (creator === actor.userId ? look(actor) : this.#runAsOther(creator, look, actor.signal));
    if (!found) return;
    const { roomId, isComplete } = found;
    if (isComplete) return this.#finished(pair, roomId);
    if (this.#options.clock.now() - since > MAX_CREATION_MS) return;
    const message = `the homeserver has not finished making the direct room ${roomId}. Try again later`;
    throw new MatrixClientManagerError('TIMEOUT', message, { roomId, userId: actor.userId });
  }

  /** A room with these two users only: by the lists of the user, then by those of the other user. */
  async #find(actor: Actor, otherUserId: string, pair: string): Promise<string | undefined> {
    await this.#lookForUnfinished(actor, pair);
    const created = this.#created.get(pair);
    const own = directRoomsIn(await this.#readDirect(actor), otherUserId);
    for (const roomId of new Set([...(created === undefined ? [] : [created]), ...own])) {
      if (await isLive(actor, roomId, otherUserId)) return roomId;
    }
    return this.#findAsOther(actor, otherUserId, new Set(created === undefined ? [] : [created]));
  }

  /** A room to which the other user has invited this one: only the members of a room can see who is invited. */
  async #findAsOther(actor: Actor, otherUserId: string, candidates: Set<string>): Promise<string | undefined> {
    const { userId: user } = actor;
    const look = async (other: Actor): Promise<string | undefined> => {
      for (const roomId of directRoomsIn(await this.#readDirect(other), user)) candidates.add(roomId);
      for (const roomId of candidates) if (await isLive(other, roomId, user)) return roomId;
      return undefined;
    };
    const found = await this.#runAsOther(otherUserId, look, actor.signal);
    if (found !== undefined) await enterRoom(actor, 'join', { roomId: found });
    return found;
  }

  /** Undefined if the other user is unknown to the manager, on another homeserver, or gone. */
  async #runAsOther<T>(
    otherUserId: string,
    look: (other: Actor) => Promise<T | undefined>,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    try {
      return await this.#options.runAs(otherUserId, look, signal);
    } catch (error) {
      throwIfAborted(signal, 'finding a direct room');
      if (!isManagerError(error, 'CLIENT_NOT_STARTED', 'UNKNOWN_TOKEN', 'USER_DEACTIVATED', 'FORBIDDEN')) throw error;
      return undefined;
    }
  }

  async #readDirect({ session, signal }: Actor): Promise<EventContent> {
    return (await this.#options.accountData.getIfPresent(session, { type: DIRECT }, signal)) ?? {};
  }

  /** Adds the room to the user's `m.direct`, if it is not in there. */
  #addToDirect({ session, signal }: Actor, otherUserId: string, roomId: string): Promise<void> {
    const add = (content: EventContent = {}): EventContent | undefined => {
      if (directRoomsIn(content, otherUserId).includes(roomId)) return undefined;
      const known = ownProperty(content, otherUserId);
      const rooms = [...(Array.isArray(known) ? (known as unknown[]) : []), roomId];
      return Object.fromEntries([...Object.entries(content), [otherUserId, rooms]]);
    };
    return this.#options.accountData.update(session, { type: DIRECT }, add, signal);
  }
}

/** The last rooms of a list in `m.direct`, which any client of the user may have written. The newest first. */
function directRoomsIn(content: EventContent, otherUserId: string): string[] {
  const rooms = ownProperty(content, otherUserId);
  if (!Array.isArray(rooms)) return [];
  const roomIds = (rooms as unknown[]).filter((roomId) => typeof roomId === 'string' && isRoomId(roomId));
  return (roomIds as string[]).slice(-MAX_CANDIDATES).toReversed();
}

/** Whether both users are in the room or invited, nobody else is, and no other room has replaced it. */
async function isLive(actor: Actor, roomId: string, otherUserId: string): Promise<boolean> {
  try {
    // Read first, since a list can name rooms that have very many members.
    const other = await actor.stateIfAny(roomId, 'm.room.member', otherUserId);
    if (!isPresent(ownProperty(other, 'membership'))) return false;
    const members = await readMembers(actor, roomId);
    const isThird = (user: string): boolean => user !== actor.userId && user !== otherUserId;
    if ([...members].some(([user, { membership }]) => isThird(user) && isPresent(membership))) return false;
    if (members.get(actor.userId)?.membership !== 'join') return false;
    return (await actor.stateIfAny(roomId, 'm.room.tombstone')) === undefined;
  } catch (error) {
    if (isManagerError(error, 'FORBIDDEN', 'NOT_FOUND', 'INVALID_OPTIONS')) return false;
    throw error;
  }
}

function isPresent(membership: unknown): boolean {
  return membership === 'join' || membership === 'invite';
}
