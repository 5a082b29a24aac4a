import type { JsonObject } from '../json.js';

/** The keys of an event's content that a redaction keeps, by event type. */
const KEPT: Readonly<Record<string, readonly string[]>> = {
  'm.room.member': ['membership', 'join_authorised_via_users_server'],
  'm.room.join_rules': ['join_rule', 'allow'],
  'm.room.history_visibility': ['history_visibility'],
  'm.room.redaction': ['redacts'],
  'm.room.power_levels': [
    'ban',
    'events',
    'events_default',
    'invite',
    'kick',
    'redact',
    'state_default',
    'users',
    'users_default',
  ],
};

/**
 * The content of a redacted event.
 * @see https://spec.matrix.org/v1.16/rooms/v11/#redactions
 */
export function pruneContent(type: string, content: JsonObject): JsonObject {
  if (type === 'm.room.create') return content;
  const kept = Object.hasOwn(KEPT, type) ? (KEPT[type] ?? []) : [];
  return Object.fromEntries(Object.entries(content).filter(([key]) => kept.includes(key)));
}
