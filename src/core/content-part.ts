import type { EventContent } from './raw-event.js';
import { toSendableJson } from './sendable-json.js';
import { checkArgument, object } from './validation.js';

/** Homeservers accept events of up to 65,536 bytes; the rest is left for the other fields of the event. */
const MAX_CONTENT_BYTES = 60_000;

/** A checked copy of an event content, or of an object in one. Throws `INVALID_OPTIONS`. */
export function toContentPart(part: EventContent, name: string): EventContent {
  return checkArgument(name, object<EventContent>(), toSendableJson(part, name, MAX_CONTENT_BYTES));
}
