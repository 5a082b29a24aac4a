import { isDeeperThan, MAX_EVENT_DEPTH } from '../core/json-depth.js';
import { isObject } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';

export type JsonObject = Readonly<Record<string, unknown>>;

/** An event that is in no timeline. */
export interface BareEvent {
  readonly type: string;
  readonly content: EventContent;
  readonly sender?: unknown;
}

/**
 * Takes parts out of a homeserver's answer. A part that is missing or null is none; one of another type than it should
 * be is none either, and counted.
 */
export class ResponseParts {
  malformed = 0;

  object(of: JsonObject, name: string): JsonObject | undefined {
    return this.#part(of, name, isObject);
  }

  array(of: JsonObject, name: string): readonly unknown[] | undefined {
    return this.#part(of, name, (value): value is unknown[] => Array.isArray(value));
  }

  strings(of: JsonObject, name: string): string[] | undefined {
    const values = this.array(of, name);
    return values && this.#good(values, (value) => typeof value === 'string');
  }

  /** The object's numbers that can count something. */
  counts(of: JsonObject, name: string): Record<string, number> | undefined {
    const values = this.object(of, name);
    if (!values) return undefined;
    const good = this.#good(Object.entries(values), (entry): entry is [string, number] => isCount(entry[1]));
    return Object.fromEntries(good);
  }

  /** The objects among the object's own values. */
  objects(of: JsonObject, name: string, isKey: (key: string) => boolean = () => true): [string, JsonObject][] {
    const entries = Object.entries(this.object(of, name) ?? {});
    return this.#good(entries, (entry): entry is [string, JsonObject] => isKey(entry[0]) && isObject(entry[1]));
  }

  /** The events of a section that are such. */
  events<T extends object>(section: JsonObject | undefined, isOne: (value: unknown) => value is T): T[] {
    return section ? this.#good(this.array(section, 'events') ?? [], isOne) : [];
  }

  /** Those of `events` that the SDK can take in; the others stay out of it, and of it alone. */
  forSdk<T extends object>(events: readonly T[]): T[] {
    return this.#good(events, isFitForSdk);
  }

  #part<T>(of: JsonObject, name: string, isPart: (value: unknown) => value is T): T | undefined {
    const value = Object.hasOwn(of, name) ? of[name] : undefined;
    if (value === undefined || value === null) return undefined;
    if (isPart(value)) return value;
    this.malformed++;
    return undefined;
  }

  #good<T, S extends T>(values: readonly T[], isGood: (value: T) => value is S): S[];
  #good<T>(values: readonly T[], isGood: (value: T) => boolean): T[];
  #good<T>(values: readonly T[], isGood: (value: T) => boolean): T[] {
    const good = values.filter((value) => isGood(value));
    this.malformed += values.length - good.length;
    return good;
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
 * Whether the SDK can take the event in. It recurses over what is nested, keeps users and members in plain objects by
 * their ids, and reads a member's name as a string.
 */
export function isFitForSdk(event: object): boolean {
  const { type, sender, event_id: eventId, state_key: stateKey, content } = event as JsonObject;
  if (isDeeperThan(event, MAX_EVENT_DEPTH)) return false;
  if (![sender, eventId].every(isFreeKey)) return false;
  return type !== 'm.room.member' || stateKey === undefined || (isFreeKey(stateKey) && isMember(content));
}

/** Not so: `constructor`, `__proto__` and the like, which every plain object has something under. */
function isFreeKey(key: unknown): boolean {
  return typeof key !== 'string' || !(key in Object.prototype);
}

function isMember(content: unknown): boolean {
  if (!isObject(content)) return false;
  const { displayname, avatar_url: avatarUrl, membership } = content;
  return (
    typeof membership === 'string' && [displayname, avatarUrl].every((text) => text == null || typeof text === 'string')
  );
}
