import type { User } from '../harness/homeserver.ts';

/** Calls about rooms, for a user with a client or without one. */
export interface RoomCalls {
  /** Resolves to the room's id. */
  readonly createRoom: (user: User, name: string) => Promise<string>;
  /** Has users in a room, invited by a member where it takes that; resolves to how many are in it now. */
  readonly ensureMembers: (by: User, roomId: string, users: readonly User[]) => Promise<number>;
  /** Resolves to how many members the room has. */
  readonly countMembers: (user: User, roomId: string) => Promise<number>;
  /** The rooms with the newest activity, with what a list of chats shows. */
  readonly listRooms: (user: User, limit: number) => Promise<RoomTotals>;
}

/** What a list of rooms comes to, to compare lists of different making. */
export interface RoomTotals {
  readonly rooms: number;
  readonly unread: number;
}

/** A line of a list of chats, as it is made of an answer of the homeserver, or of a client. */
export interface ListedRoom {
  readonly roomId: string;
  readonly name: unknown;
  readonly topic: unknown;
  readonly avatarUrl: unknown;
  readonly memberCount: number;
  readonly lastMessage: unknown;
  readonly lastActivityAt: number;
  readonly unread: number;
  readonly highlights: number;
}

/** How many users join at a time: as the library does it. */
export const JOINS_AT_A_TIME = 8;

/** What a list comes to of which the first `limit` rooms are shown. */
export function totalsOf(listed: readonly ListedRoom[], limit: number): RoomTotals {
  const shown = listed.toSorted((a, b) => b.lastActivityAt - a.lastActivityAt).slice(0, limit);
  return { rooms: shown.length, unread: shown.reduce((sum, { unread }) => sum + unread, 0) };
}
