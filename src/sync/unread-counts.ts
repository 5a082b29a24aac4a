import type { EventBatch, RoomBatch } from '../core/ports/event-source.js';
import type { RoomUnread } from '../core/ports/room-unread.js';
import { NOTHING_UNREAD } from '../core/unread-count.js';
import type { UnreadCount } from '../core/unread-count.js';

/**
 * The unread counts of one user's joined rooms. The homeserver reports the count of a room in each sync that has the room,
 * and changes it in no other way. Sliding sync reports none, so after it the counts of the other rooms are unknown until
 * {@link complete}.
 */
export class UnreadCounts implements RoomUnread {
  /** The rooms with unread events. */
  readonly #counts: Map<string, UnreadCount>;
  /** The reported rooms while the counts of others are unknown; undefined once all are known. */
  #reported: Set<string> | undefined;
  /** Rooms that the user has read since their last report. */
  readonly #read = new Set<string>();
  /** Rooms whose count was dropped because the user is no longer in them, until their leave comes. */
  readonly #dropped = new Set<string>();

  readonly #onCompleted: () => void;

  /**
   * @param stored - the counts of all rooms, from an earlier client
   * @param onCompleted - called at the end of {@link complete}
   */
  constructor(stored?: ReadonlyMap<string, UnreadCount>, onCompleted: () => void = () => {}) {
    this.#onCompleted = onCompleted;
    this.#counts = new Map(stored);
    this.#reported = stored ? undefined : new Set();
  }

  get isComplete(): boolean {
    return this.#reported === undefined;
  }

  /** Rooms that have lost their count without a leave. */
  get dropped(): Iterable<string> {
    return this.#dropped;
  }

  get(roomId: string): UnreadCount {
    return (!this.#read.has(roomId) && this.#counts.get(roomId)) || NOTHING_UNREAD;
  }

  *entries(): Generator<readonly [roomId: string, count: UnreadCount]> {
    for (const [roomId, count] of this.#counts) if (!this.#read.has(roomId)) yield [roomId, count];
  }

  /**
   * Takes in the reported counts. Returns the batch with the changed ones only. A room that the user has left counts as
   * read.
   */
  takeChanges(batch: EventBatch): EventBatch {
    if (batch.scope === 'all-rooms') this.#dropAllBut(batch.rooms);
    const rooms = batch.rooms.map((room) => {
      const hasChanged = this.take(room);
      if (hasChanged && room.membership === 'leave') return { ...room, unread: NOTHING_UNREAD };
      if (hasChanged || room.unread === undefined) return room;
      const { unread: _unchanged, ...rest } = room;
      return rest;
    });
    const hasAll =
      batch.scope === 'all-rooms' && batch.rooms.every((room) => room.membership === 'leave' || room.unread);
    if (hasAll) this.#reported = undefined;
    return { ...batch, rooms };
  }

  /** Takes in the reported count of a room. Returns whether it has changed. */
  take({ roomId, membership, unread }: RoomBatch): boolean {
    const wasDropped = this.#dropped.delete(roomId);
    if (membership === 'leave') {
      this.#reported?.add(roomId); // the counts of `complete` may be older
      return this.#set(roomId, NOTHING_UNREAD) || wasDropped;
    }
    if (!unread) return false;
    this.#read.delete(roomId);
    const isFirst = this.#reported?.has(roomId) === false;
    this.#reported?.add(roomId);
    return this.#set(roomId, unread) || isFirst;
  }

  complete(counts: ReadonlyMap<string, UnreadCount>): void {
    if (!this.#reported) return;
    for (const [roomId, count] of counts) if (!this.#reported.has(roomId)) this.#set(roomId, count);
    this.#reported = undefined;
    this.#onCompleted();
  }

  noteRead(roomId: string): void {
    if (this.#counts.has(roomId)) this.#read.add(roomId);
  }

  /** Drops the counts of rooms that a batch of all rooms lacks: the user has left them while the position was lost. */
  #dropAllBut(rooms: readonly RoomBatch[]): void {
    const present = new Set(rooms.map(({ roomId }) => roomId));
    for (const roomId of [...this.#counts.keys()].filter((known) => !present.has(known))) {
      this.#dropped.add(roomId);
      this.#set(roomId, NOTHING_UNREAD);
    }
  }

  /** Returns whether the count has changed. */
  #set(roomId: string, count: UnreadCount): boolean {
    const { unread, highlights } = this.#counts.get(roomId) ?? NOTHING_UNREAD;
    if (count.unread === 0 && count.highlights === 0) {
      this.#read.delete(roomId);
      return this.#counts.delete(roomId);
    }
    if (unread === count.unread && highlights === count.highlights) return false;
    this.#counts.set(roomId, { unread: count.unread, highlights: count.highlights });
    return true;
  }
}
