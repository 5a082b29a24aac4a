import type { RawEvent } from './responses.js';

/** The texts of the messages among `events`. */
export const bodies = (events: readonly RawEvent[]): unknown[] =>
  events.filter((event) => event.type === 'm.room.message').map((event) => event.content['body']);

/** A sync filter that limits the timeline of each room to `limit` events. */
export const timelineLimit = (limit: number): object => ({ room: { timeline: { limit } } });
