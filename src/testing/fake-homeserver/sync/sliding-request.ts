import type { JsonObject } from '../json.js';
import { isJsonObject, objectOrEmpty } from '../json.js';
import { MatrixError } from '../matrix-error.js';

/** The requested parts of a room. */
export interface SlidingRoomConfig {
  /** Pairs of event type and state key: `*` for any, `$ME` for the user, `$LAZY` for members the timeline needs. */
  readonly requiredState: readonly (readonly [string, string])[];
  readonly timelineLimit: number;
}

export interface SlidingList extends SlidingRoomConfig {
  /** First and last index in the list, both included. */
  readonly ranges: readonly (readonly [number, number])[];
  readonly isInvite: boolean | undefined;
}

export interface SlidingRequest {
  readonly connection: string;
  readonly lists: ReadonlyMap<string, SlidingList>;
  readonly subscriptions: ReadonlyMap<string, SlidingRoomConfig>;
  readonly extensions: ReadonlySet<string>;
}

/** Reads the members of a request body that this library uses. Throws for parts that are not served here. */
export function readSlidingRequest(body: JsonObject): SlidingRequest {
  const { conn_id: connection, lists, room_subscriptions: subscriptions, extensions } = body;
  return {
    connection: typeof connection === 'string' ? connection : '',
    lists: new Map(entries(lists).map(([name, list]) => [name, readList(list)])),
    subscriptions: new Map(entries(subscriptions).map(([roomId, config]) => [roomId, readConfig(config)])),
    extensions: new Set(entries(extensions).flatMap(([name, { enabled }]) => (enabled === true ? [served(name)] : []))),
  };
}

function entries(value: unknown): [string, JsonObject][] {
  return Object.entries(objectOrEmpty(value)).map(([key, part]) => {
    if (!isJsonObject(part)) throw badJson(`${key} is no object`);
    return [key, part];
  });
}

function readList(list: JsonObject): SlidingList {
  const { ranges, filters } = list;
  const { is_invite: isInvite, ...others } = objectOrEmpty(filters);
  const [other] = Object.keys(others);
  if (other !== undefined) throw new Error(`The fake homeserver does not serve the sliding sync filter ${other}`);
  if (!Array.isArray(ranges) || !ranges.every(isRange)) throw badJson('lists: ranges');
  return { ...readConfig(list), ranges, isInvite: typeof isInvite === 'boolean' ? isInvite : undefined };
}

function readConfig({ required_state: state, timeline_limit: limit }: JsonObject): SlidingRoomConfig {
  if (!Array.isArray(state) || !state.every(isPair)) throw badJson('required_state');
  if (typeof limit !== 'number' || limit > 1000) throw badJson('timeline_limit');
  return { requiredState: state, timelineLimit: limit };
}

function served(extension: string): string {
  if (['account_data', 'receipts', 'typing'].includes(extension)) return extension;
  throw new Error(`The fake homeserver does not serve the sliding sync extension ${extension}`);
}

function isRange(value: unknown): value is [number, number] {
  return Array.isArray(value) && value.length === 2 && value.every((place) => Number.isInteger(place) && place >= 0);
}

function isPair(value: unknown): value is [string, string] {
  return Array.isArray(value) && value.length === 2 && value.every((part) => typeof part === 'string');
}

function badJson(what: string): MatrixError {
  return new MatrixError(400, 'M_BAD_JSON', `${what}: invalid`);
}
