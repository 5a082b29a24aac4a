import { describe } from './ids.js';
import { invalidOptions } from './errors.js';
import { isObject } from './raw-event.js';
import type { EventContent } from './raw-event.js';
import { toSendableJson } from './sendable-json.js';

/** Homeservers accept events of up to 65,536 bytes; the rest is left for the other fields of the event. */
const MAX_CONTENT_BYTES = 60_000;

/** A checked copy of an event content, or of an object in one. Throws `INVALID_OPTIONS`. */
export function toContentPart(part: EventContent, name: string): EventContent {
  const copy = toSendableJson(part, name, { maxBytes: MAX_CONTENT_BYTES });
  if (isObject(copy)) return copy;
  throw invalidOptions(`expected \`${name}\` to be an object, got ${describe(copy)}`);
}
