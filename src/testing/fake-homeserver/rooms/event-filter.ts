import type { JsonObject } from '../json.js';
import { stringsOf } from '../json.js';

/** Filter conditions for all kinds of events. */
interface Filterable {
  readonly type: string;
  readonly sender?: string;
  readonly content?: JsonObject;
}

/** @see https://spec.matrix.org/v1.16/client-server-api/#filtering */
export class EventFilter {
  readonly #types: Matcher | undefined;
  readonly #notTypes: Matcher | undefined;
  readonly #senders: string[] | undefined;
  readonly #notSenders: string[] | undefined;
  readonly #containsUrl: unknown;
  readonly rooms: string[] | undefined;
  readonly notRooms: string[] | undefined;

  constructor(definition: JsonObject) {
    this.#types = matcher(stringsOf(definition['types']));
    this.#notTypes = matcher(stringsOf(definition['not_types']));
    this.#senders = stringsOf(definition['senders']);
    this.#notSenders = stringsOf(definition['not_senders']);
    this.#containsUrl = definition['contains_url'];
    this.rooms = stringsOf(definition['rooms']);
    this.notRooms = stringsOf(definition['not_rooms']);
  }

  accepts({ type, sender, content }: Filterable): boolean {
    if (this.#notTypes?.(type) || this.#types?.(type) === false) return false;
    if (sender !== undefined) {
      if (this.#notSenders?.includes(sender) || this.#senders?.includes(sender) === false) return false;
    }
    return this.#containsUrl === undefined || this.#containsUrl === (typeof content?.['url'] === 'string');
  }

  acceptsRoom(roomId: string): boolean {
    return !this.notRooms?.includes(roomId) && this.rooms?.includes(roomId) !== false;
  }
}

type Matcher = (type: string) => boolean;

/** Matches event types. `*` in a pattern matches any characters. */
function matcher(types: string[] | undefined): Matcher | undefined {
  if (!types) return undefined;
  const exact = new Set(types.filter((type) => !type.includes('*')));
  const patterns = types
    .filter((type) => type.includes('*'))
    .map((type) => new RegExp(`^${type.split('*').map(escapeRegExp).join('.*')}$`));
  return (type) => exact.has(type) || patterns.some((pattern) => pattern.test(type));
}

function escapeRegExp(text: string): string {
  return text.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`);
}
