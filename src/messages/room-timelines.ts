import type { RoomBatch } from '../core/ports/event-source.js';
import { RoomTimeline } from './room-timeline.js';

/** The timelines that one user's client keeps in memory, for pages and receipts. */
export class RoomTimelines {
  readonly #limit: number;
  readonly #timelines = new Map<string, RoomTimeline>();
  /** Last event that the user sent to each room, while it has not been received by sync. */
  readonly #unsyncedOwnEvents = new Map<string, string>();
  #isSuspended = false;

  /** @param limit - events kept per room */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get(roomId: string): RoomTimeline | undefined {
    return this.#timelines.get(roomId);
  }

  /** The room's timeline; undefined while the last event that the user sent is missing from it, and while suspended. */
  getIfComplete(roomId: string): RoomTimeline | undefined {
    const timeline = this.#timelines.get(roomId);
    return this.#isSuspended || this.#unsyncedOwnEvents.has(roomId) ? undefined : timeline;
  }

  /** Call this when the user has sent an event. Until sync returns it, pages are read from the homeserver. */
  noteSent(roomId: string, eventId: string): void {
    if (!this.#timelines.get(roomId)?.has(eventId)) this.#unsyncedOwnEvents.set(roomId, eventId);
  }

  append(room: RoomBatch): void {
    const { roomId } = room;
    if (room.membership === 'leave') return this.delete(roomId);
    const timeline = this.#timelines.get(roomId) ?? new RoomTimeline(this.#limit);
    timeline.append(room);
    this.#timelines.set(roomId, timeline);
    const own = this.#unsyncedOwnEvents.get(roomId);
    if (own !== undefined && timeline.has(own)) this.#unsyncedOwnEvents.delete(roomId);
  }

  /**
   * Call this before the list of ignored users is changed: until sync tells of the change, pages are read from the
   * homeserver, because messages of newly ignored users may still arrive.
   */
  suspend(): void {
    this.#isSuspended = true;
  }

  /** Ends {@link suspend}, after sync has told of the change, or if none was made. The timelines begin anew. */
  restart(): void {
    this.#isSuspended = false;
    this.#timelines.clear();
  }

  delete(roomId: string): void {
    this.#timelines.delete(roomId);
  }
}
