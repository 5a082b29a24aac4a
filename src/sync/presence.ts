import type { PresenceUpdate } from '../core/ports/event-source.js';
import { toPresenceState } from '../core/presence-state.js';
import { isBareEvent } from './response-parts.js';
import type { BareEvent, JsonObject, ResponseParts } from './response-parts.js';

/** A presence event of a `/sync` whose required parts have the right types. */
export interface PresenceBody extends BareEvent, JsonObject {
  readonly type: string;
  readonly sender: string;
  readonly content: BareEvent['content'] & { readonly presence: string };
}

/** @see https://spec.matrix.org/v1.16/client-server-api/#mpresence */
export function isPresence(value: unknown): value is PresenceBody {
  if (!isBareEvent(value) || value.type !== 'm.presence') return false;
  const { sender, content } = value;
  return typeof sender === 'string' && sender.startsWith('@') && typeof content.presence === 'string';
}

/** The latest presence of each user. Optional parts of the wrong type are left out and counted. */
export function readPresence(parts: ResponseParts, events: readonly PresenceBody[]): PresenceUpdate[] {
  const updates = new Map<string, PresenceUpdate>();
  for (const { sender, content } of events) {
    const lastActiveAgoMs = parts.count(content, 'last_active_ago');
    const statusMessage = parts.text(content, 'status_msg');
    const currentlyActive = parts.flag(content, 'currently_active');
    updates.set(sender, {
      sender,
      presence: toPresenceState(content.presence),
      ...(lastActiveAgoMs !== undefined && { lastActiveAgoMs }),
      ...(statusMessage !== undefined && { statusMessage }),
      ...(currentlyActive !== undefined && { currentlyActive }),
    });
  }
  return [...updates.values()];
}
