import { randomBytes } from 'node:crypto';
import * as v from 'valibot';
import { callSchema } from '../core/call-options.js';
import type { CallOptions } from '../core/call-options.js';
import { checkOptions, flag, optionsOf, signal, text, wholeNumber } from '../core/validation.js';
import { assertRoomId, assertUserId, newUserId, serverNameOf } from '../core/ids.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import type { HttpRequest } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import { devicesSchema, deviceSchema, usersSchema, userSchema } from './admin-answers.js';
import type { AdminDevice, AdminUser } from './admin-answers.js';
import type { Provisioner } from './provisioner.js';
import type { SynapseAdminHttp } from './synapse-admin-http.js';

export interface ListUsersOptions extends CallOptions {
  /** The `next` of the previous page. */
  readonly from?: string | undefined;
  /** Users per page. @default 100 */
  readonly limit?: number | undefined;
  /** Only users whose id or display name contains this. */
  readonly name?: string | undefined;
  /** Whether deactivated users are listed too. @default false */
  readonly deactivated?: boolean | undefined;
}

const listUsersSchema = optionsOf<ListUsersOptions>({
  from: v.optional(text),
  limit: v.optional(wholeNumber(1)),
  name: v.optional(text),
  deactivated: v.optional(flag),
  signal: v.optional(signal),
});

export interface DeactivateUserOptions extends CallOptions {
  /** Whether to hide the user's messages from users who join the rooms later. @default false */
  readonly erase?: boolean | undefined;
}

const deactivateSchema = optionsOf<DeactivateUserOptions>({ erase: v.optional(flag), signal: v.optional(signal) });
const roomSchema = v.object({ room_id: v.string() });
const displayNameSchema = optionsOf<{ displayName: string }>({ displayName: text });

export interface AccountListener {
  /** Deletes the stored data of the deactivated user. */
  readonly onDeactivated: (userId: string) => Promise<void>;
  readonly onRenamed: (userId: string) => void;
}

/**
 * The Admin API calls that a backend needs besides provisioning. They share `adminConcurrency` with provisioning. When
 * `signal` is aborted, a call rejects at once with `ABORTED`.
 *
 * This file is long because it is the list of these calls; each makes one or two requests.
 *
 * @see https://element-hq.github.io/synapse/latest/admin_api/user_admin_api.html
 */
export class AdminApi {
  readonly #admin: SynapseAdminHttp;
  readonly #provisioner: Provisioner;
  readonly #serverName: string;
  readonly #lifecycle: ManagerLifecycle;
  readonly #listener: AccountListener;

  /**
   * @internal Use `manager.admin`.
   * @param listener - is told of changes of accounts
   */
  constructor(
    admin: SynapseAdminHttp,
    provisioner: Provisioner,
    serverName: string,
    lifecycle: ManagerLifecycle,
    listener: AccountListener,
  ) {
    this.#admin = admin;
    this.#provisioner = provisioner;
    this.#serverName = serverName;
    this.#lifecycle = lifecycle;
    this.#listener = listener;
  }

  /** The user; undefined if the homeserver has no such account. */
  async getUser(userId: string, options: CallOptions = {}): Promise<AdminUser | undefined> {
    assertUserId(userId);
    const { signal: callerSignal } = checkOptions('getUser()', callSchema, options);
    try {
      return await this.#callUser(userId, 'reading', callerSignal);
    } catch (error) {
      if (isManagerError(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  /** One page of the homeserver's users. `next` is present if there are more; pass it as `from`. */
  async listUsers(options: ListUsersOptions = {}): Promise<{ users: AdminUser[]; total: number; next?: string }> {
    const { signal: callerSignal, limit = 100, ...rest } = checkOptions('listUsers()', listUsersSchema, options);
    const query = { ...rest, limit, guests: false };
    const request = { operation: 'listing users', method: 'GET', path: '/_synapse/admin/v2/users', query } as const;
    const { users, total, next_token: next } = await this.#call(usersSchema, request, callerSignal);
    return {
      users: this.#validEntries(userSchema, users),
      total: total ?? users.length,
      ...(next !== undefined && next !== null && { next: String(next) }),
    };
  }

  async setDisplayName(userId: string, displayName: string, options: CallOptions = {}): Promise<void> {
    checkOptions('setDisplayName()', displayNameSchema, { displayName });
    const { signal: callerSignal } = checkOptions('setDisplayName()', callSchema, options);
    await this.#requireUser(userId, 'renaming', callerSignal);
    const renaming = this.#callUser(userId, 'renaming', callerSignal, { displayname: displayName });
    await renaming.finally(() => this.#listener.onRenamed(userId));
  }

  /**
   * Deactivates the account: it leaves its rooms, and its sessions end. `erase` also hides its messages from users who
   * join later. The manager stops the user's client and deletes the stored data, as `forgetUser` does. Later calls for
   * the user reject with `USER_DEACTIVATED`. Throws `INVALID_OPTIONS` for the account of the option `admin`.
   */
  async deactivateUser(userId: string, options: DeactivateUserOptions = {}): Promise<void> {
    assertUserId(userId);
    this.#admin.account.assertNotAdmin(userId, 'deactivate');
    const { erase = false, signal: callerSignal } = checkOptions('deactivateUser()', deactivateSchema, options);
    // After the deactivation the user is forgotten even if the caller's signal has ended the call.
    await this.#lifecycle.run(async (combined) => {
      await this.#provisioner.deactivateUser(userId, { erase, signal: combined });
      await this.#listener.onDeactivated(userId);
    }, callerSignal);
  }

  /** Reactivates an account, with a random password that is not kept. Call `provisionUser` to log the user in. */
  async reactivateUser(userId: string, options: CallOptions = {}): Promise<AdminUser> {
    const { signal: callerSignal } = checkOptions('reactivateUser()', callSchema, options);
    const user = await this.#requireUser(userId, 'reactivating', callerSignal);
    if (!user.deactivated) return user; // an active account keeps its password
    const body = { deactivated: false, password: randomBytes(32).toString('base64url'), logout_devices: false };
    return this.#callUser(userId, 'reactivating', callerSignal, body);
  }

  async listDevices(userId: string, options: CallOptions = {}): Promise<AdminDevice[]> {
    assertUserId(userId);
    const { signal: callerSignal } = checkOptions('listDevices()', callSchema, options);
    const request = {
      operation: `listing the devices of ${userId}`,
      userId,
      method: 'GET',
      path: path`/_synapse/admin/v2/users/${userId}/devices`,
    } as const;
    const { devices } = await this.#call(devicesSchema, request, callerSignal);
    return this.#validEntries(deviceSchema, devices);
  }

  /**
   * Removes a device and its session; resolves also if there is no such device. Throws `INVALID_OPTIONS` for the device
   * of the option `admin`.
   */
  async deleteDevice(userId: string, deviceId: string, options: CallOptions = {}): Promise<void> {
    assertUserId(userId);
    const { signal: callerSignal } = checkOptions('deleteDevice()', callSchema, options);
    const { account } = this.#admin;
    if (userId === account.userId && (await this.#lifecycle.run(() => account.isLoggedInOn(deviceId), callerSignal))) {
      account.assertNotAdmin(userId, `delete device ${deviceId} of`);
    }
    const request = {
      operation: `deleting a device of ${userId}`,
      userId,
      method: 'DELETE',
      path: path`/_synapse/admin/v2/users/${userId}/devices/${deviceId}`,
    } as const;
    await this.#call(v.object({}), request, callerSignal);
  }

  /**
   * Makes a local user join a room; resolves to the room id, also if the user is already in the room. If the room is
   * not public, the admin has to be a member; otherwise this rejects with `FORBIDDEN`.
   */
  async joinRoom(userId: string, roomIdOrAlias: string, options: CallOptions = {}): Promise<string> {
    assertUserId(userId);
    const { signal: callerSignal } = checkOptions('joinRoom()', callSchema, options);
    if (typeof roomIdOrAlias !== 'string' || !roomIdOrAlias.startsWith('#')) assertRoomId(roomIdOrAlias);
    const request = {
      operation: `joining a room for ${userId}`,
      userId,
      method: 'POST',
      path: path`/_synapse/admin/v1/join/${roomIdOrAlias}`,
      body: { user_id: userId },
      repeatable: true,
    } as const;
    try {
      return (await this.#call(roomSchema, request, callerSignal)).room_id;
    } catch (error) {
      // For a user who is already in the room, Synapse answers 403; only the error text identifies this case.
      if (!isManagerError(error, 'FORBIDDEN') || !/already in the room/i.test(error.message)) throw error;
      return roomIdOrAlias.startsWith('#') ? this.#resolveAlias(roomIdOrAlias, callerSignal) : roomIdOrAlias;
    }
  }

  async #resolveAlias(alias: string, callerSignal: AbortSignal | undefined): Promise<string> {
    const at = path`/_matrix/client/v3/directory/room/${alias}`;
    const request = { operation: `resolving ${alias}`, method: 'GET', path: at } as const;
    return (await this.#call(roomSchema, request, callerSignal)).room_id;
  }

  /** Whether a new account may have the username. Rejects with `INVALID_USER_ID` for an invalid username. */
  async isUsernameAvailable(username: string, options: CallOptions = {}): Promise<boolean> {
    newUserId(username, this.#serverName);
    const { signal: callerSignal } = checkOptions('isUsernameAvailable()', callSchema, options);
    try {
      const at = '/_synapse/admin/v1/username_available';
      const request = { operation: 'checking a username', method: 'GET', path: at, query: { username } } as const;
      return (await this.#call(v.object({ available: v.boolean() }), request, callerSignal)).available;
    } catch (error) {
      if (isManagerError(error, 'USER_EXISTS')) return false;
      throw error;
    }
  }

  /** The valid entries of a list. Invalid ones are left out and counted in the metrics. */
  #validEntries<Schema extends v.GenericSchema>(schema: Schema, list: readonly unknown[]): v.InferOutput<Schema>[] {
    const entries = list.flatMap((entry) => {
      const read = v.safeParse(schema, entry);
      return read.success ? [read.output] : [];
    });
    this.#admin.http.countMalformed(list.length - entries.length);
    return entries;
  }

  /** The user; rejects with `NOT_FOUND` if there is none, because a PUT would make the account. */
  async #requireUser(userId: string, doing: string, callerSignal: AbortSignal | undefined): Promise<AdminUser> {
    const user = await this.getUser(userId, { signal: callerSignal });
    if (user) return user;
    const where = serverNameOf(userId) === this.#serverName ? '' : ` (this homeserver is ${this.#serverName})`;
    throw new MatrixClientManagerError('NOT_FOUND', `${doing} ${userId} failed: there is no such user${where}`, {
      userId,
    });
  }

  /** Reads or, with a body, changes a user. */
  #callUser(userId: string, doing: string, callerSignal: AbortSignal | undefined, body?: object): Promise<AdminUser> {
    const operation = `${doing} ${userId}`;
    const at = path`/_synapse/admin/v2/users/${userId}`;
    return this.#call(userSchema, { operation, userId, method: body ? 'PUT' : 'GET', path: at, body }, callerSignal);
  }

  #call<Schema extends v.GenericSchema>(
    schema: Schema,
    request: Omit<HttpRequest, 'session' | 'signal'>,
    callerSignal: AbortSignal | undefined,
  ): Promise<v.InferOutput<Schema>> {
    return this.#lifecycle.run(async (signal) => {
      const send = () => this.#admin.request(schema, { ...request, signal });
      return (await this.#admin.runLimited(send, signal)).body;
    }, callerSignal);
  }
}
