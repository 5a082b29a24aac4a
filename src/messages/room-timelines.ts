import type { RoomBatch } from '../core/ports/event-source.js';
import { RoomTimeline } from './room-timeline.js';

/** What one user's client has in memory of its rooms, for pages and receipts. */
export class RoomTimelines {
  readonly #limit: number;
  readonly #timelines = new Map<string, RoomTimeline>();
  /** The last event that the user sent to a room and that has not come back by sync. */
  readonly #sent = new Map<string, string>();

  /** @param limit - events kept per room */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get(roomId: string): RoomTimeline | undefined {
    return this.#timelines.get(roomId);
  }

  /** The room's timeline; undefined while the user's own last message is missing in it. */
  withOwnEvents(roomId: string): RoomTimeline | undefined {
    const timeline = this.#timelines.get(roomId);
    const own = this.#sent.get(roomId);
    if (own !== undefined && timeline?.has(own)) this.#sent.delete(roomId);
    return this.#sent.has(roomId) ? undefined : timeline;
  }

  hasSent(roomId: string, eventId: string): void {
    if (!this.#timelines.get(roomId)?.has(eventId)) this.#sent.set(roomId, eventId);
  }

  append(room: RoomBatch): void {
    const { roomId } = room;
    if (room.membership === 'leave') return this.delete(roomId);
    const timeline = this.#timelines.get(roomId) ?? new RoomTimeline(this.#limit);
    timeline.append(room);
    this.#timelines.set(roomId, timeline);
  }

  delete(roomId: string): void {
    this.#timelines.delete(roomId);
  }
}
