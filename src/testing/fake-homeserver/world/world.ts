import type { Clock } from '../../../core/clock.js';
import { forbidden, notFound } from '../matrix-error.js';
import { randomEventId } from '../random-ids.js';
import { Room } from '../rooms/room.js';
import type { EventDraft, RoomEvent } from '../rooms/room-event.js';
import { membershipIn } from '../rooms/room-event.js';
import { DeviceInboxes } from './device-inboxes.js';
import { DeviceKeys } from './device-keys.js';
import { KeyBackups } from './key-backups.js';
import { PositionTokens } from './position-tokens.js';
import { RefreshTokens } from './refresh-tokens.js';
import { RoomDeletions } from './room-deletions.js';
import { Sessions } from './sessions.js';
import { Stream } from './stream.js';
import { User } from './user.js';
import { Waiters } from './waiters.js';

interface StoredMedia {
  readonly bytes: Uint8Array;
  readonly contentType: string;
  readonly fileName: string | null;
}

/** All data of the homeserver. */
export class World {
  readonly stream = new Stream();
  readonly positions = new PositionTokens();
  readonly sessions: Sessions;
  readonly refreshTokens = new RefreshTokens();
  readonly waiters = new Waiters();
  readonly users = new Map<string, User>();
  readonly rooms = new Map<string, Room>();
  readonly aliases = new Map<string, string>();
  /** Who has made each alias. */
  readonly aliasCreators = new Map<string, string>();
  /** Ids of rooms that nobody may join. */
  readonly blockedRooms = new Set<string>();
  readonly roomDeletions = new RoomDeletions();
  readonly deviceKeys = new DeviceKeys();
  readonly inboxes = new DeviceInboxes();
  readonly keyBackups = new KeyBackups();
  /** Uploaded files by media id. */
  readonly media = new Map<string, StoredMedia>();
  /** Event ids by device and request path with transaction id, for repeated requests. */
  readonly transactions = new Map<string, string>();

  constructor(
    readonly clock: Clock,
    readonly serverName: string,
  ) {
    this.sessions = new Sessions(clock);
  }

  addUser(userId: string): User {
    const user = new User(userId, this.clock.now());
    this.users.set(userId, user);
    return user;
  }

  /** The user with the id. Throws 404 if there is none. */
  knownUser(userId: string): User {
    const user = this.users.get(userId);
    if (!user) throw notFound('User not found');
    return user;
  }

  /** The room with the id. Throws 403 if `userId` is not in it, or if it does not exist. */
  joinedRoom(roomId: string, userId: string): Room {
    const room = this.rooms.get(roomId);
    if (!room?.joined.has(userId)) throw forbidden(`User ${userId} not in room ${roomId}`);
    return room;
  }

  addRoom(roomId: string, version: string): Room {
    const room = new Room(roomId, version);
    this.rooms.set(roomId, room);
    return room;
  }

  /** Adds an event to a room and wakes the long polls of its members. The caller checks that the event is allowed. */
  append(room: Room, draft: EventDraft): RoomEvent {
    const { stateKey, redacts, sentBy } = draft;
    const replaces = stateKey === undefined ? undefined : room.state.current.get(draft.type, stateKey);
    const event: RoomEvent = {
      eventId: draft.eventId ?? randomEventId(),
      roomId: room.roomId,
      type: draft.type,
      sender: draft.sender,
      content: draft.content,
      timestamp: this.clock.now(),
      stream: this.stream.next(),
      ...(stateKey !== undefined && { stateKey }),
      ...(redacts !== undefined && { redacts }),
      ...(sentBy && { sentBy }),
      ...(replaces && { replaces }),
    };
    room.add(event);
    if (event.type === 'm.room.member') this.#noteMembership(event);
    this.waiters.wakeAll(room.joined);
    return event;
  }

  /** Wakes the long polls of a room's members after a change of typing or receipts. */
  notify(room: Room): void {
    this.waiters.wakeAll(room.joined);
  }

  /** Removes a room with all its data. */
  removeRoom(roomId: string): void {
    this.rooms.delete(roomId);
    for (const user of this.users.values()) user.rooms.delete(roomId);
    for (const [alias, target] of this.aliases) if (target === roomId) this.aliases.delete(alias);
  }

  /** Stops all timers of the homeserver. */
  dispose(): void {
    this.roomDeletions.stop(this.clock);
    for (const room of this.rooms.values()) room.typing.clear(this.clock);
  }

  #noteMembership(event: RoomEvent): void {
    const user = this.users.get(event.stateKey ?? '');
    if (!user) return;
    user.rooms.set(event.roomId, { membership: membershipIn(event), stream: event.stream, forgotten: false });
    this.waiters.wake(user.userId);
  }
}
