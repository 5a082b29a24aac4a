import { randomBytes } from 'node:crypto';
import { deactivate } from './endpoints/deactivate.js';
import { setDisplayName } from './endpoints/profile.js';
import type { JsonObject } from './json.js';
import { createRoom } from './rooms/create-room.js';
import { changeMembership } from './rooms/membership.js';
import type { ReceiptType } from './rooms/receipts.js';
import type { Room } from './rooms/room.js';
import type { RoomEvent } from './rooms/room-event.js';
import { setReceipt, setTyping } from './rooms/room-signals.js';
import { sendEvent } from './rooms/send-event.js';
import { canSee } from './rooms/visibility.js';
import { openDevice } from './world/log-in-out.js';
import type { Membership } from './world/user.js';
import type { World } from './world/world.js';

/** A user of the fake homeserver with a session on one device. */
export interface FakeUser {
  readonly userId: string;
  readonly accessToken: string;
  readonly deviceId: string;
}

export interface NewUser {
  /** The localpart. @default a random one */
  readonly username?: string;
  /** The whole user id, instead of `username`. */
  readonly userId?: string;
  /** @default the localpart */
  readonly displayName?: string;
  readonly admin?: boolean;
  /** Without a password the user cannot log in until an admin sets one. */
  readonly password?: string;
  /** @default a random one */
  readonly deviceId?: string;
}

export interface NewRoom {
  /** User id of the creator, who has all power in the room. */
  readonly creator: string;
  /** User ids of further members. */
  readonly members?: readonly string[];
  readonly name?: string;
  readonly topic?: string;
  /** @default 'private_chat' */
  readonly preset?: 'private_chat' | 'public_chat' | 'trusted_private_chat';
  readonly isDirect?: boolean;
  readonly initialState?: readonly { type: string; stateKey?: string; content: JsonObject }[];
  /** @default Synapse's default, '11' */
  readonly roomVersion?: string;
}

/**
 * Changes the homeserver without HTTP. The rules of the endpoints apply: an action that a user may not do throws, and
 * changes end waiting long polls.
 */
export class WorldDriver {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** Creates an account with a session on a new device. */
  createUser({ username, displayName, admin = false, password, deviceId, ...rest }: NewUser = {}): FakeUser {
    const userId = rest.userId ?? `@${username ?? `u${randomBytes(6).toString('hex')}`}:${this.#world.serverName}`;
    if (this.#world.users.has(userId)) throw new Error(`expected a user id that is not in use, got ${userId}`);
    const user = this.#world.addUser(userId);
    if (displayName !== undefined) user.displayName = displayName;
    user.admin = admin;
    user.password = password;
    const { session } = openDevice(this.#world, user, { deviceId });
    return { userId, accessToken: session.accessToken, deviceId: session.deviceId ?? '' };
  }

  /** Logs a user in on another device, without a password. @param deviceId - random by default */
  openSession(userId: string, deviceId?: string): FakeUser {
    const { session } = openDevice(this.#world, this.#world.knownUser(userId), { deviceId });
    return { userId, accessToken: session.accessToken, deviceId: session.deviceId ?? '' };
  }

  /** Sets a user's display name, in their rooms too. */
  setDisplayName(userId: string, displayName: string): void {
    setDisplayName(this.#world, this.#world.knownUser(userId), displayName);
  }

  /** Deactivates an account, as an admin does. */
  deactivateUser(userId: string): void {
    deactivate(this.#world, this.#world.knownUser(userId), false);
  }

  /** Locks or unlocks an account. Requests of a locked account get 401 `M_USER_LOCKED`. */
  lockUser(userId: string, locked = true): void {
    this.#world.knownUser(userId).locked = locked;
  }

  /** Invalidates one access token. Its device stays. */
  killToken(accessToken: string): void {
    const session = this.#world.sessions.peek(accessToken);
    if (session) this.#world.sessions.close(session);
  }

  /** Invalidates a user's access tokens. @param options - `softLogout` lets clients log in again on the same device */
  killTokens(userId: string, { softLogout = false }: { softLogout?: boolean } = {}): void {
    for (const session of this.#world.sessions.ofUser(userId)) this.#world.sessions.close(session, softLogout);
  }

  /** @returns the room's id */
  createRoom({ creator, members = [], isDirect, initialState = [], roomVersion, ...rest }: NewRoom): string {
    const room = createRoom(this.#world, creator, {
      ...rest,
      is_direct: isDirect,
      room_version: roomVersion,
      initial_state: initialState.map(({ type, stateKey = '', content }) => ({
        type,
        state_key: stateKey,
        content: structuredClone(content),
      })),
    });
    for (const userId of members) this.join(room.roomId, userId);
    return room.roomId;
  }

  /** Makes a user join a room. Invites them first if the room is not public. */
  join(roomId: string, userId: string): void {
    const room = this.#room(roomId);
    const isPublic = room.state.current.get('m.room.join_rules')?.content['join_rule'] === 'public';
    if (!isPublic && !['invite', 'join'].includes(room.membership(userId))) this.invite(roomId, userId);
    this.#changeMembership(roomId, userId, userId, 'join');
  }

  /** @param inviter - the room's creator by default */
  invite(roomId: string, userId: string, inviter?: string): void {
    this.#changeMembership(roomId, inviter ?? this.#creator(roomId), userId, 'invite');
  }

  leave(roomId: string, userId: string): void {
    this.#changeMembership(roomId, userId, userId, 'leave');
  }

  /** Removes a room with all its data, like `DELETE /_synapse/admin/v2/rooms/{roomId}`. Clients get no event of it. */
  deleteRoom(roomId: string): void {
    this.#world.removeRoom(roomId);
  }

  /** @param kicker - the room's creator by default */
  kick(roomId: string, userId: string, kicker?: string): void {
    this.#changeMembership(roomId, kicker ?? this.#creator(roomId), userId, 'leave');
  }

  /** @param banner - the room's creator by default */
  ban(roomId: string, userId: string, banner?: string): void {
    this.#changeMembership(roomId, banner ?? this.#creator(roomId), userId, 'ban');
  }

  /** @returns the event's id */
  sendMessage(
    roomId: string,
    sender: string,
    textOrContent: string | JsonObject,
    { type = 'm.room.message' }: { type?: string } = {},
  ): string {
    const content =
      typeof textOrContent === 'string' ? { msgtype: 'm.text', body: textOrContent } : structuredClone(textOrContent);
    return sendEvent(this.#world, this.#room(roomId), { type, sender, content }).eventId;
  }

  /** @returns the event's id */
  sendState(roomId: string, sender: string, type: string, content: JsonObject, stateKey = ''): string {
    return sendEvent(this.#world, this.#room(roomId), { type, sender, content: structuredClone(content), stateKey })
      .eventId;
  }

  /** @returns the redaction's id */
  redact(roomId: string, sender: string, eventId: string, reason?: string): string {
    const content = reason === undefined ? {} : { reason };
    const draft = { type: 'm.room.redaction', sender, content, redacts: eventId };
    return sendEvent(this.#world, this.#room(roomId), draft).eventId;
  }

  /** @param timeoutMs - after this time typing ends by itself; 30 seconds by default */
  setTyping(roomId: string, userId: string, typing: boolean, timeoutMs = 30_000): void {
    setTyping(this.#world, this.#world.joinedRoom(roomId, userId), userId, typing ? timeoutMs : undefined);
  }

  sendReceipt(roomId: string, userId: string, eventId: string, type: ReceiptType = 'm.read', threadId?: string): void {
    setReceipt(this.#world, this.#world.joinedRoom(roomId, userId), { userId, type, eventId, threadId });
  }

  /** All events of a room, oldest first. */
  events(roomId: string): RoomEvent[] {
    return [...this.#room(roomId).events];
  }

  /** All events that `/messages` returns to a user, newest first. @param userId - the room's creator by default */
  history(roomId: string, userId = this.#creator(roomId)): RoomEvent[] {
    const room = this.#room(roomId);
    const user = this.#world.users.get(userId);
    if (!user) throw new Error(`expected the id of a user on this homeserver, got ${userId}`);
    return room.events.filter((event) => canSee(room, user, event, !room.joined.has(userId))).toReversed();
  }

  #changeMembership(roomId: string, sender: string, target: string, membership: Membership): void {
    changeMembership(this.#world, this.#room(roomId), { sender, target, membership });
  }

  #creator(roomId: string): string {
    return this.#room(roomId).events[0]?.sender ?? '';
  }

  #room(roomId: string): Room {
    const room = this.#world.rooms.get(roomId);
    if (!room) throw new Error(`expected the id of a room on this homeserver, got ${roomId}`);
    return room;
  }
}
