import type { RoomBatch } from '../core/ports/event-source.js';
import type { RawEvent } from '../core/raw-event.js';

interface Segment {
  /** Pagination token of the position before the segment's first event. */
  readonly prevBatch: string | undefined;
  readonly events: RawEvent[];
}

/**
 * The newest events of a room as received by sync, without gaps. Stored as one segment per sync, because the homeserver
 * sends a `prev_batch` token for the start of each; older events are read by REST from that token.
 */
export class RoomTimeline {
  readonly #limit: number;
  readonly #segments: Segment[] = [];
  readonly #ids = new Map<string, RawEvent>();
  /** Ids of events that were received after an event with a later timestamp. */
  readonly #outOfOrder = new Set<string>();
  #latestTimestamp = -Infinity;

  /** @param limit - most events kept; a single sync with more events is kept whole */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#ids.size;
  }

  /** The oldest event kept. */
  get oldest(): RawEvent | undefined {
    return this.#segments[0]?.events[0];
  }

  /**
   * Whether /messages returns these events in the same order. Sync orders events by arrival, /messages by depth in the
   * room's event graph. If the orders differ, an event has an earlier timestamp than one that arrived before it.
   * (Seen on Synapse with many concurrent senders.)
   */
  get isOrdered(): boolean {
    return this.#outOfOrder.size === 0;
  }

  /** Whether the event was received after an event with a later timestamp. */
  isOutOfOrder(eventId: string): boolean {
    return this.#outOfOrder.has(eventId);
  }

  /** Pagination token of the position before the oldest event; undefined if the homeserver sent none. */
  get prevBatch(): string | undefined {
    return this.#segments[0]?.prevBatch;
  }

  has(eventId: string): boolean {
    return this.#ids.has(eventId);
  }

  /** Whether `eventId` equals `other` or precedes it; undefined if one of them is not in the timeline. */
  isNotAfter(eventId: string, other: string): boolean | undefined {
    if (!this.#ids.has(eventId) || !this.#ids.has(other)) return undefined;
    for (const event of this) {
      if (event.event_id === eventId) return true;
      if (event.event_id === other) return false;
    }
    return undefined;
  }

  append(room: RoomBatch): void {
    const added = room.timeline.filter(({ event_id: id }) => !this.#ids.has(id));
    const isOverlapping = added.length < room.timeline.length;
    // A limited sync leaves a gap, unless it overlaps with the events in memory.
    if (room.limited && !isOverlapping) this.#clear();
    if (added.length === 0) return;
    this.#segments.push({ prevBatch: isOverlapping ? undefined : room.prevBatch, events: added });
    for (const event of added) {
      this.#ids.set(event.event_id, event);
      if (event.origin_server_ts < this.#latestTimestamp) this.#outOfOrder.add(event.event_id);
      else this.#latestTimestamp = event.origin_server_ts;
    }
    while (this.#segments.length > 1 && this.#ids.size > this.#limit) this.#dropOldest();
  }

  /** All events, oldest first. */
  *[Symbol.iterator](): Iterator<RawEvent> {
    for (const { events } of this.#segments) yield* events;
  }

  #dropOldest(): void {
    for (const { event_id: id } of this.#segments.shift()?.events ?? []) {
      this.#ids.delete(id);
      this.#outOfOrder.delete(id);
    }
  }

  #clear(): void {
    this.#segments.length = 0;
    this.#ids.clear();
    this.#outOfOrder.clear();
    this.#latestTimestamp = -Infinity;
  }
}
