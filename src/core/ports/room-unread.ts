import type { UnreadCount } from '../unread-count.js';

/** The unread counts of a user's joined rooms, as far as the user's client knows them. */
export interface RoomUnread {
  /** Whether the counts of all rooms are known. If not, {@link complete} adds those of the others. */
  readonly isComplete: boolean;
  get(roomId: string): UnreadCount;
  /** The rooms that have unread events. */
  entries(): Iterable<readonly [roomId: string, count: UnreadCount]>;
  /** Adds the counts of the rooms that no batch has reported yet. */
  complete(counts: ReadonlyMap<string, UnreadCount>): void;
  /** Counts the room as read until its next report. Call it when the user has read the room up to its last event. */
  noteRead(roomId: string): void;
}
