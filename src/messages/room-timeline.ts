import type { RoomBatch } from '../core/ports/event-source.js';
import type { RawEvent } from '../core/raw-event.js';

interface Segment {
  /** Token of the position right before the segment's first event. */
  readonly prevBatch: string | undefined;
  readonly events: RawEvent[];
}

/**
 * The newest events of a room, without a hole up to now, as they came by sync. Kept in the pieces they came in,
 * because the homeserver tells a token for the start of each, and REST goes on from there.
 */
export class RoomTimeline {
  readonly #limit: number;
  readonly #segments: Segment[] = [];
  readonly #ids = new Map<string, RawEvent>();
  /** Events that came after one with a later timestamp. */
  readonly #late = new Set<string>();
  #latest = -Infinity;

  /** @param limit - events kept at most, unless a single sync brings more */
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
   * Whether the homeserver's history has these events in the same order. A sync goes by arrival, history by depth in
   * the room's graph. They differ where an event was overtaken while it was being made, and then its timestamp, which
   * it got at the beginning, is before that of one that came earlier. (Seen on Synapse with many senders at once.)
   */
  get isOrdered(): boolean {
    return this.#late.size === 0;
  }

  /** Token of the position right before the oldest event; undefined when the homeserver told none. */
  get prevBatch(): string | undefined {
    return this.#segments[0]?.prevBatch;
  }

  has(eventId: string): boolean {
    return this.#ids.has(eventId);
  }

  /** Whether `eventId` is `other` or comes before it; undefined when one of them is not here. */
  isNotAfter(eventId: string, other: string): boolean | undefined {
    if (!this.#ids.has(eventId) || !this.#ids.has(other)) return undefined;
    for (const event of this) {
      if (event.event_id === eventId) return true;
      if (event.event_id === other) return false;
    }
    return undefined;
  }

  append(room: RoomBatch): void {
    const fresh = room.timeline.filter(({ event_id: id }) => !this.#ids.has(id));
    // A limited timeline leaves a hole, unless it overlaps with what is here.
    if (room.limited && fresh.length === room.timeline.length) this.#clear();
    if (fresh.length === 0) return;
    const whole = fresh.length === room.timeline.length;
    this.#segments.push({ prevBatch: whole ? room.prevBatch : undefined, events: fresh });
    for (const event of fresh) {
      this.#ids.set(event.event_id, event);
      if (event.origin_server_ts < this.#latest) this.#late.add(event.event_id);
      else this.#latest = event.origin_server_ts;
    }
    while (this.#segments.length > 1 && this.#ids.size > this.#limit) this.#dropOldest();
  }

  /** Every event kept, oldest first. */
  *[Symbol.iterator](): Iterator<RawEvent> {
    for (const { events } of this.#segments) yield* events;
  }

  #dropOldest(): void {
    for (const { event_id: id } of this.#segments.shift()?.events ?? []) {
      this.#ids.delete(id);
      this.#late.delete(id);
    }
  }

  #clear(): void {
    this.#segments.length = 0;
    this.#ids.clear();
    this.#late.clear();
    this.#latest = -Infinity;
  }
}
