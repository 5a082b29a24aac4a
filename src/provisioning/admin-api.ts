import { randomBytes } from 'node:crypto';
import * as v from 'valibot';
import { orAborted, throwIfAborted } from '../core/abort.js';
import { callSchema, flag, optionsOf, readCallOptions, signal, text, wholeNumber } from '../core/call-options.js';
import type { CallOptions } from '../core/call-options.js';
import { assertRoomId, assertUserId, newUserId, serverNameOf } from '../core/ids.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { path } from '../http/path.js';
import { devicesSchema, deviceSchema, usersSchema, userSchema } from './admin-answers.js';
import type { Provisioner } from './provisioner.js';
import type { SynapseAdminHttp } from './synapse-admin-http.js';

/** A user as the Admin API shows it. */
export interface AdminUser {
  readonly userId: string;
  readonly displayName: string | undefined;
  readonly avatarUrl: string | undefined;
  readonly admin: boolean;
  readonly deactivated: boolean;
  readonly locked: boolean;
  /** Milliseconds since the Unix epoch. */
  readonly createdAt: number | undefined;
}

export interface AdminDevice {
  readonly deviceId: string;
  readonly displayName: string | undefined;
  /** Milliseconds since the Unix epoch. */
  readonly lastSeenAt: number | undefined;
  readonly lastSeenIp: string | undefined;
}

export interface ListUsersOptions extends CallOptions {
  /** Where the page before ended: its `next`. */
  readonly from?: string | undefined;
  /** Users per page. @default 100 */
  readonly limit?: number | undefined;
  /** Only users whose id or display name contains this. */
  readonly name?: string | undefined;
  /** Whether deactivated users are listed as well. @default false */
  readonly deactivated?: boolean | undefined;
}

const listUsersSchema = optionsOf<ListUsersOptions>({
  from: v.optional(text),
  limit: v.optional(wholeNumber(1, Number.MAX_SAFE_INTEGER)),
  name: v.optional(text),
  deactivated: v.optional(flag),
  signal: v.optional(signal),
});
export interface DeactivateUserOptions extends CallOptions {
  /** Whether to hide the user's messages from those who join their rooms later. @default false */
  readonly erase?: boolean | undefined;
}

const deactivateSchema = optionsOf<DeactivateUserOptions>({ erase: v.optional(flag), signal: v.optional(signal) });
const displayNameSchema = optionsOf<{ displayName: string }>({ displayName: text });

/**
 * The Admin API calls that a backend needs besides provisioning, on the same connection and pool. A `signal` ends the
 * call at once with `ABORTED`.
 *
 * This file is a little long because it is the list of these calls; each is one request or two.
 *
 * @see https://element-hq.github.io/synapse/latest/admin_api/user_admin_api.html
 */
export class AdminApi {
  readonly #admin: SynapseAdminHttp;
  readonly #provisioner: Provisioner;
  readonly #serverName: string;
  readonly #closed: AbortSignal | undefined;
  readonly #onDeactivated: ((userId: string) => Promise<void>) | undefined;

  /**
   * @internal Use `manager.admin`.
   * @param manager - `closed` fires when the manager shuts down: then calls end, and no further one is made;
   * `onDeactivated` forgets a user
   */
  constructor(
    admin: SynapseAdminHttp,
    provisioner: Provisioner,
    serverName: string,
    manager: { readonly closed?: AbortSignal; readonly onDeactivated?: (userId: string) => Promise<void> } = {},
  ) {
    this.#admin = admin;
    this.#provisioner = provisioner;
    this.#serverName = serverName;
    this.#closed = manager.closed;
    this.#onDeactivated = manager.onDeactivated;
  }

  /** The user, or undefined when the homeserver has no such account. */
  async getUser(userId: string, options: CallOptions = {}): Promise<AdminUser | undefined> {
    assertUserId(userId);
    const { signal: ending } = readCallOptions('getUser()', callSchema, options);
    return this.#find(userId, ending);
  }

  async #find(userId: string, ending: AbortSignal | undefined): Promise<AdminUser | undefined> {
    const at = path`/_synapse/admin/v2/users/${userId}`;
    try {
      return toUser(await this.#call(userSchema, { method: 'GET', at, doing: 'reading', userId, ending }));
    } catch (error) {
      if (isManagerError(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  /** One page of the homeserver's users; `next` is there when more follow. */
  async listUsers(options: ListUsersOptions = {}): Promise<{ users: AdminUser[]; total: number; next?: string }> {
    const read = readCallOptions('listUsers()', listUsersSchema, options);
    const { from, limit = 100, name, deactivated, signal: ending } = read;
    const { body } = await this.#pooled(usersSchema, ending, {
      operation: 'listing users',
      method: 'GET',
      path: '/_synapse/admin/v2/users',
      query: { from, limit, name, deactivated, guests: false },
      repeatable: true,
    });
    const { users, total, next_token: next } = body;
    return {
      users: this.#entries(userSchema, users).map(toUser),
      total: total ?? users.length,
      ...(next !== undefined && next !== null && { next: String(next) }),
    };
  }

  async setDisplayName(userId: string, displayName: string, options: CallOptions = {}): Promise<void> {
    readCallOptions('setDisplayName()', displayNameSchema, { displayName });
    const { signal: ending } = readCallOptions('setDisplayName()', callSchema, options);
    await this.#existing(userId, 'renaming', ending);
    const body = { displayname: displayName };
    const at = path`/_synapse/admin/v2/users/${userId}`;
    await this.#call(userSchema, { method: 'PUT', at, doing: 'renaming', userId, body, ending });
  }

  /**
   * Ends the account: it leaves its rooms and every session of it dies. `erase` also hides its messages from newcomers.
   * The manager stops the user's client and deletes what it keeps of them, as `forgetUser` does; their calls reject with
   * `USER_DEACTIVATED` from then on. Throws `INVALID_OPTIONS` for the manager's own admin.
   */
  async deactivateUser(userId: string, options: DeactivateUserOptions = {}): Promise<void> {
    assertUserId(userId);
    this.#admin.own.assertOther(userId, 'deactivate');
    const read = readCallOptions('deactivateUser()', deactivateSchema, options);
    const { erase = false, signal: ending } = read;
    // Once the account is deactivated, the user is forgotten, whether the caller still waits or not.
    await this.#ending(ending, async (until) => {
      await this.#provisioner.deactivateUser(userId, { erase, ...(until && { signal: until }) });
      await this.#onDeactivated?.(userId);
    });
  }

  /** Brings a deactivated account back, with a random password that nobody knows; `provisionUser` then logs it in. */
  async reactivateUser(userId: string, options: CallOptions = {}): Promise<AdminUser> {
    const { signal: ending } = readCallOptions('reactivateUser()', callSchema, options);
    const user = await this.#existing(userId, 'reactivating', ending);
    if (!user.deactivated) return user; // whose password is not ours to change
    const body = { deactivated: false, password: randomBytes(32).toString('base64url'), logout_devices: false };
    const at = path`/_synapse/admin/v2/users/${userId}`;
    return toUser(await this.#call(userSchema, { method: 'PUT', at, doing: 'reactivating', userId, body, ending }));
  }

  async listDevices(userId: string, options: CallOptions = {}): Promise<AdminDevice[]> {
    assertUserId(userId);
    const { signal: ending } = readCallOptions('listDevices()', callSchema, options);
    const at = path`/_synapse/admin/v2/users/${userId}/devices`;
    const { devices } = await this.#call(devicesSchema, {
      method: 'GET',
      at,
      doing: 'listing the devices of',
      userId,
      ending,
    });
    return this.#entries(deviceSchema, devices).map((device) => ({
      deviceId: device.device_id,
      displayName: device.display_name ?? undefined,
      lastSeenAt: device.last_seen_ts ?? undefined,
      lastSeenIp: device.last_seen_ip ?? undefined,
    }));
  }

  /**
   * Removes a device and its session; resolves also when it is gone already. Throws `INVALID_OPTIONS` for the one that
   * the manager's own admin is logged in on.
   */
  async deleteDevice(userId: string, deviceId: string, options: CallOptions = {}): Promise<void> {
    assertUserId(userId);
    const { signal: ending } = readCallOptions('deleteDevice()', callSchema, options);
    const { own } = this.#admin;
    if (userId === own.userId && (await this.#ending(ending, () => own.isOn(deviceId)))) {
      own.assertOther(userId, `delete device ${deviceId} of`);
    }
    const at = path`/_synapse/admin/v2/users/${userId}/devices/${deviceId}`;
    await this.#call(v.object({}), { method: 'DELETE', at, doing: 'deleting a device of', userId, ending });
  }

  /**
   * Makes a local user join a room. The admin has to be in a room that is not public (`FORBIDDEN` otherwise).
   * Resolves with the room id, also when the user is in the room already.
   */
  async joinRoom(userId: string, roomIdOrAlias: string, options: CallOptions = {}): Promise<string> {
    assertUserId(userId);
    const { signal: ending } = readCallOptions('joinRoom()', callSchema, options);
    if (typeof roomIdOrAlias !== 'string' || !roomIdOrAlias.startsWith('#')) assertRoomId(roomIdOrAlias);
    const at = path`/_synapse/admin/v1/join/${roomIdOrAlias}`;
    try {
      const body = { user_id: userId };
      const request = { method: 'POST', at, doing: 'joining a room for', userId, body, ending } as const;
      const joined = await this.#call(v.object({ room_id: v.string() }), request);
      return joined.room_id;
    } catch (error) {
      // Synapse answers a repeat with 403 and nothing but these words.
      if (!isManagerError(error, 'FORBIDDEN') || !/already in the room/i.test(error.message)) throw error;
      return roomIdOrAlias.startsWith('#') ? this.#resolveAlias(roomIdOrAlias, ending) : roomIdOrAlias;
    }
  }

  async #resolveAlias(alias: string, ending: AbortSignal | undefined): Promise<string> {
    const { body } = await this.#pooled(v.object({ room_id: v.string() }), ending, {
      operation: `resolving ${alias}`,
      method: 'GET',
      path: path`/_matrix/client/v3/directory/room/${alias}`,
      repeatable: true,
    });
    return body.room_id;
  }

  /** Whether a new account may have the username. A username that no account can have rejects with `INVALID_USER_ID`. */
  async isUsernameAvailable(username: string, options: CallOptions = {}): Promise<boolean> {
    newUserId(username, this.#serverName);
    const { signal: ending } = readCallOptions('isUsernameAvailable()', callSchema, options);
    try {
      const { body } = await this.#pooled(v.object({ available: v.boolean() }), ending, {
        operation: 'checking a username',
        method: 'GET',
        path: '/_synapse/admin/v1/username_available',
        query: { username },
        repeatable: true,
      });
      return body.available;
    } catch (error) {
      if (isManagerError(error, 'USER_EXISTS')) return false;
      throw error;
    }
  }

  /** Those entries of a list that are what they should be; the others are counted. */
  #entries<Schema extends v.GenericSchema>(schema: Schema, list: readonly unknown[]): v.InferOutput<Schema>[] {
    const entries = list.flatMap((entry) => {
      const read = v.safeParse(schema, entry);
      return read.success ? [read.output] : [];
    });
    this.#admin.http.countMalformed(list.length - entries.length);
    return entries;
  }

  /** A PUT on a user who does not exist would make one. */
  async #existing(userId: string, doing: string, ending: AbortSignal | undefined): Promise<AdminUser> {
    assertUserId(userId);
    const user = await this.#find(userId, ending);
    if (user) return user;
    const where = serverNameOf(userId) === this.#serverName ? '' : ` (this homeserver is ${this.#serverName})`;
    throw new MatrixClientManagerError('NOT_FOUND', `${doing} ${userId} failed: there is no such user${where}`, {
      userId,
    });
  }

  async #call<Schema extends v.GenericSchema>(
    schema: Schema,
    { method, at, doing, userId, body, ending }: AdminCall,
  ): Promise<v.InferOutput<Schema>> {
    const operation = `${doing} ${userId}`;
    return (await this.#pooled(schema, ending, { operation, userId, method, path: at, body, repeatable: true })).body;
  }

  #pooled<Schema extends v.GenericSchema>(
    schema: Schema,
    ending: AbortSignal | undefined,
    request: Parameters<SynapseAdminHttp['request']>[1],
  ): Promise<{ status: number; body: v.InferOutput<Schema> }> {
    return this.#ending(ending, (until) =>
      this.#admin.pooled(() => this.#admin.request(schema, { ...request, signal: until }), until),
    );
  }

  /** `call`; the wait for it ends at once with `ABORTED` when `ending` fires, with `MANAGER_CLOSED` at a shutdown. */
  async #ending<T>(ending: AbortSignal | undefined, call: (until: AbortSignal | undefined) => Promise<T>): Promise<T> {
    const closed = this.#closed;
    const until = ending && closed ? AbortSignal.any([ending, closed]) : (ending ?? closed);
    try {
      throwIfAborted(until, 'the call');
      return await orAborted(call(until), until, 'the call');
    } catch (error) {
      if (!closed?.aborted || !isManagerError(error, 'ABORTED')) throw error;
      throw new MatrixClientManagerError('MANAGER_CLOSED', 'the manager was shut down', { cause: error });
    }
  }
}

/** One call of the Admin API about a user. */
interface AdminCall {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  readonly at: string;
  /** What it does, for errors. */
  readonly doing: string;
  readonly userId: string;
  readonly body?: Record<string, unknown>;
  readonly ending: AbortSignal | undefined;
}

function toUser(user: v.InferOutput<typeof userSchema>): AdminUser {
  return {
    userId: user.name,
    displayName: user.displayname ?? undefined,
    avatarUrl: user.avatar_url ?? undefined,
    admin: Boolean(user.admin),
    deactivated: Boolean(user.deactivated),
    locked: Boolean(user.locked),
    // The list has milliseconds, the single user seconds; no account is from before September 2001.
    createdAt:
      user.creation_ts == null ? undefined : user.creation_ts < 1e12 ? user.creation_ts * 1000 : user.creation_ts,
  };
}
