import type { RoomBatch } from '../core/ports/event-source.js';
import { RoomTimeline } from './room-timeline.js';

/** The timelines that one user's client keeps in memory, for pages and receipts. */
export class RoomTimelines {
  readonly #limit: number;
  readonly #timelines = new Map<string, RoomTimeline>();
  /** Last event that the user sent to each room, while it has not been received by sync. */
  readonly #unsyncedOwnEvents = new Map<string, string>();

  /** @param limit - events kept per room */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get(roomId: string): RoomTimeline | undefined {
    return this.#timelines.get(roomId);
  }

  /** The room's timeline; undefined while the last event that the user sent is missing from it. */
  getIfComplete(roomId: string): RoomTimeline | undefined {
    const timeline = this.#timelines.get(roomId);
    const own = this.#unsyncedOwnEvents.get(roomId);
    if (own !== undefined && timeline?.has(own)) this.#unsyncedOwnEvents.delete(roomId);
    return this.#unsyncedOwnEvents.has(roomId) ? undefined : timeline;
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
  }

  /** Until sync returns newer events, pages are read from the homeserver. */
  clear(): void {
    this.#timelines.clear();
  }

  delete(roomId: string): void {
    this.#timelines.delete(roomId);
  }
}
