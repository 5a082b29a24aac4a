import { checkedAs, listOf, shown } from './validation.js';
import type { Schema } from './validation.js';

/** A filter of event types: exact names, and prefixes such as `m.call.*`. */
export class EventTypes {
  readonly #names = new Set<string>();
  readonly #prefixes: string[] = [];

  /** @param types - checked by {@link eventTypeList} */
  constructor(types: readonly string[]) {
    for (const type of types) {
      if (type.endsWith('.*')) this.#prefixes.push(type.slice(0, -1));
      else this.#names.add(type);
    }
  }

  has(type: string): boolean {
    return this.#names.has(type) || this.#prefixes.some((prefix) => type.startsWith(prefix));
  }

  /** Whether the filter contains a kind of event, such as `message`. */
  hasKind(kind: string): boolean {
    return this.#names.has(kind);
  }
}

/**
 * The schema of a list of event types, of prefixes that end in `.*`, and of `kinds` of events. Custom event types need
 * no dot.
 * @see https://spec.matrix.org/v1.16/client-server-api/#types-of-room-events
 */
export function eventTypeList(kinds: readonly string[]): Schema<readonly string[]> {
  const expected = `${kinds.join(', ')}, an event type, or a prefix like m.call.*`;
  return listOf(checkedAs<string>(expected, isEventTypeOrPrefix, shown));
}

function isEventTypeOrPrefix(type: unknown): boolean {
  return typeof type === 'string' && /^[^\s*]+$/.test(type.endsWith('.*') ? type.slice(0, -2) : type);
}
