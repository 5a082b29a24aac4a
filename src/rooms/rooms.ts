import { invalidOptions } from '../core/errors.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import type { EventContent } from '../core/raw-event.js';
import { checkOptions } from '../core/validation.js';
import type { Schema } from '../core/validation.js';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import type { Clock } from '../core/clock.js';
import { aliasSchema, removeAlias, resolveAlias, setAlias, setAliasSchema } from './aliases.js';
import type { ResolvedAlias, RoomAliasOptions, SetAliasOptions } from './aliases.js';
import { createRoomSchema, planRoom } from './create-room.js';
import type { CreateRoomOptions, RoomPlan } from './create-room.js';
import { DefaultRoomVersion } from './default-room-version.js';
import { deleteRoomSchema } from './delete-room.js';
import type { DeleteRoomOptions, RoomDeleter, RoomDeletion } from './delete-room.js';
import { DirectRooms, findOrCreateDirectSchema } from './direct-rooms.js';
import type { DirectLists, DirectRoom, FindOrCreateDirectOptions } from './direct-rooms.js';
import type { SeenEncryption } from './encryption-state.js';
import { ensureMembers, ensureMemberSchema, ensureMembersSchema } from './ensure-members.js';
import type { EnsuredMember, EnsureMemberOptions, EnsureMembersOptions } from './ensure-members.js';
import { membersSchema, readMemberPage } from './members.js';
import type { RoomMemberPage, RoomMembersOptions } from './members.js';
import {
  banUser,
  changeMembership,
  inviteUser,
  kickUser,
  leaveRoom,
  unbanUser,
  changeMemberSchema,
  enterRoom,
  forgetRoom,
  forgetSchema,
  joinSchema,
  leaveSchema,
} from './memberships.js';
import type {
  ChangeMemberOptions,
  ForgetRoomOptions,
  JoinRoomOptions,
  LeaveRoomOptions,
  MembershipAction,
} from './memberships.js';
import { toPowerLevels } from './power-levels.js';
import type { Actor, RoomCallOptions, RunAsActor } from './room-calls.js';
import { createRoom, findCreatedRoom } from './room-creation.js';
import {
  changePowerLevels,
  getAllStateSchema,
  getStateSchema,
  readAllState,
  readStateContent,
  sendState,
  setPowerLevelsSchema,
  setStateSchema,
  toOutgoingState,
} from './room-state.js';
import type {
  GetAllStateOptions,
  GetStateOptions,
  RoomStateEvent,
  SetPowerLevelsOptions,
  SetStateOptions,
} from './room-state.js';
import { upgradeRoom, upgradeSchema } from './upgrade-room.js';
import type { UpgradeRoomOptions } from './upgrade-room.js';

/** @internal */
export interface RoomsOptions {
  readonly clock: Clock;
  readonly serverName: string;
  readonly adminUserId: string | undefined;
  readonly lifecycle: ManagerLifecycle;
  readonly runAs: RunAsActor;
  readonly encryption: SeenEncryption;
  readonly accountData: DirectLists;
  /** Undefined without the option `admin`. */
  readonly deleter: RoomDeleter | undefined;
}

/**
 * Rooms and their members. Each call is one or a few requests with the session of the user who acts, `userId`, or of the
 * admin, `actor: 'admin'`. No client is started. A call whose result is already there resolves. When `signal` is
 * aborted, a call rejects at once with `ABORTED`.
 *
 * This file is long because it is the list of these calls; each checks its options and delegates.
 */
export class Rooms {
  readonly #options: RoomsOptions;
  readonly #direct: DirectRooms;
  readonly #defaultVersion: DefaultRoomVersion;
  /** The changes of power levels of one room are made one after the other, since each reads what the last has written. */
  readonly #levelChanges = new KeyedQueue();
  /** Of several upgrades of one room, the first makes the new room, and the others find it. */
  readonly #upgrades = new KeyedQueue();

  /** @internal Use `manager.rooms`. */
  constructor(options: RoomsOptions) {
    this.#options = options;
    this.#defaultVersion = new DefaultRoomVersion(options.clock);
    this.#direct = new DirectRooms({
      clock: options.clock,
      shutdown: options.lifecycle.signal,
      runAs: options.runAs,
      accountData: options.accountData,
      plan: (actor, otherUserId, encrypted) => {
        const room = { preset: 'trusted_private_chat', direct: true, invite: [otherUserId], encrypted } as const;
        return planRoom(room, actor.userId, options.serverName);
      },
      create: (actor, plan) => this.#create(actor, plan),
      look: async (actor, plan) => {
        const found = await findCreatedRoom(actor, plan, options.clock);
        if (found) this.#noteCreated(found.roomId, plan);
        return found;
      },
    });
  }

  /**
   * Creates a room. If the answer of the homeserver is lost, the room is looked for; it is never created a second time.
   * Throws `INVALID_OPTIONS`, `FORBIDDEN`, `RATE_LIMITED`, and `REJECTED` (such as for an alias that is in use).
   */
  async create(options: CreateRoomOptions): Promise<{ roomId: string }> {
    const read = this.#read('create()', createRoomSchema, options);
    const { serverName } = this.#options;
    const plan = planRoom(read, this.#actingUserId(read), serverName);
    return this.#run(read, async (actor) => ({ roomId: await this.#create(actor, plan) }));
  }

  /** Invites a user. Resolves also if the user is invited, or in the room. */
  async invite(options: ChangeMemberOptions): Promise<void> {
    return this.#changeMember(inviteUser, options);
  }

  /**
   * Joins a room by its id or alias. Resolves also if the user is in the room. Throws `FORBIDDEN` (not invited, or
   * banned), `NOT_FOUND`.
   */
  async join(options: JoinRoomOptions): Promise<{ roomId: string }> {
    const read = this.#read('join()', joinSchema, options);
    return this.#run(read, async (actor) => ({ roomId: await enterRoom(actor, 'join', read) }));
  }

  /** Asks to be let into a room that has the join rule `knock`. Resolves also if the user is in the room. */
  async knock(options: JoinRoomOptions): Promise<{ roomId: string }> {
    const read = this.#read('knock()', joinSchema, options);
    return this.#run(read, async (actor) => ({ roomId: await enterRoom(actor, 'knock', read) }));
  }

  /** Leaves a room, or declines its invitation. Resolves also if the user is not in the room. */
  async leave(options: LeaveRoomOptions): Promise<void> {
    const read = this.#read('leave()', leaveSchema, options);
    return this.#run(read, (actor) => changeMembership(actor, leaveRoom, { ...read, targetUserId: actor.userId }));
  }

  /** Removes a user from the room. Resolves also if the user is not in the room. */
  async kick(options: ChangeMemberOptions): Promise<void> {
    return this.#changeMember(kickUser, options);
  }

  /** Removes a user from the room, who cannot join it again until {@link unban}. */
  async ban(options: ChangeMemberOptions): Promise<void> {
    return this.#changeMember(banUser, options);
  }

  /** Resolves also if the user is not banned. */
  async unban(options: ChangeMemberOptions): Promise<void> {
    return this.#changeMember(unbanUser, options);
  }

  /** Removes a room that the user has left from the user's history. Throws `REJECTED` while the user is in the room. */
  async forget(options: ForgetRoomOptions): Promise<void> {
    const read = this.#read('forget()', forgetSchema, options);
    return this.#run(read, (actor) => forgetRoom(actor, read.roomId));
  }

  /**
   * A page of the room's members, in the order of their user ids. The homeserver sends all members for each page. To a user
   * who has left the room it sends the members of that time. Throws `FORBIDDEN`, `INVALID_CURSOR`.
   */
  async members(options: RoomMembersOptions): Promise<RoomMemberPage> {
    const read = this.#read('members()', membersSchema, options);
    return this.#run(read, (actor) => readMemberPage(actor, read));
  }

  /**
   * Has users in the room: invites as `by` those who need it, and joins with the users' own sessions. With `userId`
   * rejects if that fails. With `userIds` resolves to a result for each user, and rejects only if `by` is not in the
   * room, or does not learn who is in it. Rate limits are waited out, within `timeoutMs`. Throws `TIMEOUT`, and
   * `CLIENT_NOT_STARTED` for a user whose session the manager does not have.
   */
  ensureMember(options: EnsureMemberOptions): Promise<EnsuredMember>;
  ensureMember(options: EnsureMembersOptions): Promise<EnsuredMember[]>;
  async ensureMember(options: EnsureMemberOptions | EnsureMembersOptions): Promise<EnsuredMember | EnsuredMember[]> {
    const { runAs, clock } = this.#options;
    if (typeof options === 'object' && options !== null && 'userIds' in options) {
      const read = this.#read('ensureMember()', ensureMembersSchema, options);
      return runAs(read.by, (actor) => ensureMembers(actor, read, { runAs, clock }), read.signal);
    }
    const { userId, ...read } = this.#read('ensureMember()', ensureMemberSchema, options);
    const ensure = (actor: Actor): Promise<EnsuredMember[]> =>
      ensureMembers(actor, { ...read, userIds: [userId] }, { runAs, clock });
    const [result] = await runAs(read.by, ensure, read.signal);
    if (!result || result.error) throw result?.error ?? new Error('expected a result');
    return result;
  }

  /** The content of a state event, or all state events of the room. Throws `NOT_FOUND` if the room has no such event. */
  getState(options: GetStateOptions): Promise<EventContent>;
  getState(options: GetAllStateOptions): Promise<RoomStateEvent[]>;
  async getState(options: GetStateOptions | GetAllStateOptions): Promise<EventContent | RoomStateEvent[]> {
    const { encryption } = this.#options;
    if (typeof options === 'object' && options !== null && ('type' in options || 'stateKey' in options)) {
      const read = this.#read('getState()', getStateSchema, options);
      return this.#run(read, (actor) => readStateContent(actor, read, encryption));
    }
    const read = this.#read('getState()', getAllStateSchema, options);
    return this.#run(read, (actor) => readAllState(actor, read.roomId, encryption));
  }

  /** Sends a state event. Without a change of the content the homeserver returns the event that is there. */
  async setState(options: SetStateOptions): Promise<{ eventId: string }> {
    const read = this.#read('setState()', setStateSchema, options);
    const state = toOutgoingState(read);
    return this.#run(read, (actor) => sendState(actor, state, this.#options.encryption));
  }

  /**
   * Changes power levels, and leaves the others as they are. Creators of a room of version 12 have infinite power and are
   * never listed. A change that another process makes at the same time may be lost.
   */
  async setPowerLevels(options: SetPowerLevelsOptions): Promise<void> {
    const read = this.#read('setPowerLevels()', setPowerLevelsSchema, options);
    const { roomId } = read;
    const changes = toPowerLevels(read.powerLevels, true);
    return this.#run(read, (actor) => {
      const change = (): Promise<void> => changePowerLevels(actor, roomId, changes, this.#options.encryption);
      return this.#levelChanges.run(roomId, change, actor.signal, `setting power levels of ${roomId}`);
    });
  }

  /** Throws `NOT_FOUND` if there is no such alias. */
  async resolveAlias(options: RoomAliasOptions): Promise<ResolvedAlias> {
    const read = this.#read('resolveAlias()', aliasSchema, options);
    return this.#run(read, (actor) => resolveAlias(actor, read.alias));
  }

  /** Gives the room an alias. Throws `REJECTED` if it is the alias of another room. */
  async setAlias(options: SetAliasOptions): Promise<void> {
    const read = this.#read('setAlias()', setAliasSchema, options);
    return this.#run(read, (actor) => setAlias(actor, read.alias, read.roomId));
  }

  /** Resolves also if there is no such alias. */
  async removeAlias(options: RoomAliasOptions): Promise<void> {
    const read = this.#read('removeAlias()', aliasSchema, options);
    return this.#run(read, (actor) => removeAlias(actor, read.alias));
  }

  /**
   * The direct room of two users: one in which both are, or to which one has invited the other. Without such a room a new
   * one is created, and the other user invited. Keeps the user's `m.direct`. However many calls of this manager ask, also
   * for the other user, there is one room. `signal` ends only the wait. Throws `TIMEOUT` while the homeserver has not
   * finished the room of a call whose answer was lost.
   */
  async findOrCreateDirect(options: FindOrCreateDirectOptions): Promise<DirectRoom> {
    const read = this.#read('findOrCreateDirect()', findOrCreateDirectSchema, options);
    const { otherUserId, encrypted = false } = read;
    if (otherUserId === this.#actingUserId(read)) {
      throw invalidOptions('expected `otherUserId` to be another user than the one who acts');
    }
    return this.#run(read, (actor) => this.#direct.findOrCreate(actor, otherUserId, encrypted));
  }

  /**
   * Replaces the room by a new one of another version. Resolves to the id of the new room. Of a room that was replaced
   * before, this is the room that replaced it, also if its version is not `version`.
   */
  async upgrade(options: UpgradeRoomOptions): Promise<{ roomId: string }> {
    const read = this.#read('upgrade()', upgradeSchema, options);
    const { roomId, version } = read;
    return this.#run(read, async (actor) => {
      const upgrade = (): Promise<string> => upgradeRoom(actor, roomId, version, this.#options);
      return { roomId: await this.#upgrades.run(roomId, upgrade, actor.signal, `upgrading ${roomId}`) };
    });
  }

  /**
   * Deletes a room from the homeserver: removes all local users, then all data. Needs the option `admin`, and Synapse.
   * Resolves at the end of the deletion. Throws `TIMEOUT`, after which the homeserver continues, and `REJECTED`.
   */
  async delete(options: DeleteRoomOptions): Promise<RoomDeletion> {
    const read = this.#read('delete()', deleteRoomSchema, options);
    const { deleter, lifecycle } = this.#options;
    if (!deleter) throw invalidOptions('manager.rooms.delete() needs the option `admin`');
    return lifecycle.run((combined) => deleter.delete(read, combined), read.signal);
  }

  async #create(actor: Actor, plan: RoomPlan): Promise<string> {
    const { clock } = this.#options;
    const roomId = await createRoom(actor, plan, {
      clock,
      defaultVersion: (asker) => this.#defaultVersion.read(asker),
    });
    this.#noteCreated(roomId, plan);
    return roomId;
  }

  #noteCreated(roomId: string, { encryption }: RoomPlan): void {
    this.#options.encryption.note(encryption.map((content) => [roomId, content]));
  }

  async #changeMember(action: MembershipAction, options: ChangeMemberOptions): Promise<void> {
    const read = this.#read(`${action.name}()`, changeMemberSchema, options);
    return this.#run(read, (actor) => changeMembership(actor, action, read));
  }

  #read<T>(call: string, schema: Schema<T>, options: unknown): T {
    this.#options.lifecycle.assertOpen();
    return checkOptions(`rooms.${call}`, schema, options);
  }

  #run<T>({ userId, signal }: RoomCallOptions, call: (actor: Actor) => Promise<T>): Promise<T> {
    return this.#options.runAs(userId, call, signal);
  }

  #actingUserId({ userId }: RoomCallOptions): string | undefined {
    return userId ?? this.#options.adminUserId;
  }
}
