import { isDeeperThan, MAX_EVENT_DEPTH } from '../core/json-depth.js';
import { isObject } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';

export type JsonObject = Readonly<Record<string, unknown>>;

/** An event without an id: account data, ephemeral, to-device or presence. */
export interface BareEvent {
  readonly type: string;
  readonly content: EventContent;
  readonly sender?: unknown;
}

/**
 * Reads parts of a homeserver's response. A part that is missing or null counts as absent. A part of the wrong type
 * counts as absent too, and adds to {@link malformed}.
 */
export class ResponseParts {
  malformed = 0;

  object(parent: JsonObject, name: string): JsonObject | undefined {
    return this.#part(parent, name, isObject);
  }

  array(parent: JsonObject, name: string): readonly unknown[] | undefined {
    return this.#part(parent, name, (value): value is unknown[] => Array.isArray(value));
  }

  text(parent: JsonObject, name: string): string | undefined {
    return this.#part(parent, name, (value): value is string => typeof value === 'string');
  }

  flag(parent: JsonObject, name: string): boolean | undefined {
    return this.#part(parent, name, (value): value is boolean => typeof value === 'boolean');
  }

  /** An integer from 0. */
  count(parent: JsonObject, name: string): number | undefined {
    return this.#part(parent, name, isCount);
  }

  strings(parent: JsonObject, name: string): string[] | undefined {
    const values = this.array(parent, name);
    return values && this.#keepValid(values, (value): value is string => typeof value === 'string');
  }

  /** The object's entries whose value is a count: an integer from 0. */
  counts(parent: JsonObject, name: string): Record<string, number> | undefined {
    const values = this.object(parent, name);
    if (!values) return undefined;
    const counts = this.#keepValid(Object.entries(values), (entry): entry is [string, number] => isCount(entry[1]));
    return Object.fromEntries(counts);
  }

  /** The object's entries whose value is an object and whose key is accepted. */
  objects(parent: JsonObject, name: string, isKey: (key: string) => boolean = () => true): [string, JsonObject][] {
    const entries = Object.entries(this.object(parent, name) ?? {});
    return this.#keepValid(entries, (entry): entry is [string, JsonObject] => isKey(entry[0]) && isObject(entry[1]));
  }

  /** The well-formed events of a section. */
  events<T extends object>(section: JsonObject | undefined, isEvent: (value: unknown) => value is T): T[] {
    return section ? this.#keepValid(this.array(section, 'events') ?? [], isEvent) : [];
  }

  /** Returns the events that the SDK can process. The others count as malformed, but callbacks and pages get them. */
  keepFitForSdk<T extends object>(events: readonly T[]): T[] {
    return this.#keepValid(events, isFitForSdk);
  }

  #part<T>(parent: JsonObject, name: string, isValid: (value: unknown) => value is T): T | undefined {
    const value = Object.hasOwn(parent, name) ? parent[name] : undefined;
    if (value === undefined || value === null) return undefined;
    if (isValid(value)) return value;
    this.malformed++;
    return undefined;
  }

  #keepValid<T, S extends T>(values: readonly T[], isValid: (value: T) => value is S): S[] {
    const valid = values.filter((value) => isValid(value));
    this.malformed += values.length - valid.length;
    return valid;
  }
}

export function isRoomId(id: string): boolean {
  return id.startsWith('!');
}

export function isBareEvent(value: unknown): value is BareEvent & JsonObject {
  return isObject(value) && typeof value.type === 'string' && isObject(value.content);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/**
 * Whether the SDK can process the event. The SDK recurses into nested content, uses ids as keys of plain objects, and
 * reads a member's display name and avatar as strings without a check.
 */
export function isFitForSdk<T extends object>(event: T): event is T {
  const { type, sender, event_id: eventId, state_key: stateKey, content } = event as JsonObject;
  if (isDeeperThan(event, MAX_EVENT_DEPTH)) return false;
  if (![sender, eventId].every(isSafeKey)) return false;
  return type !== 'm.room.member' || stateKey === undefined || (isSafeKey(stateKey) && isMemberContent(content));
}

/** False for keys such as `constructor` and `__proto__`, which every plain object inherits. */
function isSafeKey(key: unknown): boolean {
  return typeof key !== 'string' || !(key in Object.prototype);
}

function isMemberContent(content: unknown): boolean {
  if (!isObject(content)) return false;
  const { displayname, avatar_url: avatarUrl, membership } = content;
  return (
    typeof membership === 'string' && [displayname, avatarUrl].every((text) => text == null || typeof text === 'string')
  );
}
