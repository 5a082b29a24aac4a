import type { RawEvent } from './answers.js';

/** The texts of the messages among `events`. */
export const bodies = (events: readonly RawEvent[]): unknown[] =>
  events.filter((event) => event.type === 'm.room.message').map((event) => event.content['body']);

/** A sync filter that bounds the timeline of each room. */
export const timelineLimit = (limit: number): object => ({ room: { timeline: { limit } } });
