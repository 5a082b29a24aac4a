import type { JsonObject } from '../json.js';
import { isJsonObject, objectOrEmpty } from '../json.js';
import { MatrixError, invalidParam } from '../matrix-error.js';
import { EventFilter } from '../rooms/event-filter.js';
import type { User } from '../world/user.js';

const DEFAULT_TIMELINE_LIMIT = 10;
/** Synapse's `filter_timeline_limit`, the maximum for `limit` of timelines. */
const MAX_TIMELINE_LIMIT = 100;

/** The parsed filter of a sync. */
export interface SyncFilter {
  readonly rooms: EventFilter;
  readonly timeline: EventFilter;
  readonly state: EventFilter;
  readonly ephemeral: EventFilter;
  readonly roomAccountData: EventFilter;
  readonly accountData: EventFilter;
  readonly presence: EventFilter;
  readonly timelineLimit: number;
  readonly includeLeave: boolean;
  readonly lazyLoadMembers: boolean;
  readonly includeRedundantMembers: boolean;
  readonly unreadByThread: boolean;
}

/** Reads the `filter` of a sync: JSON, or the id of a filter that the user has stored. */
export function readSyncFilter(user: User, parameter: string | null): SyncFilter {
  if (parameter === null || parameter === '') return parseSyncFilter({});
  if (parameter.startsWith('{')) return parseSyncFilter(parseInline(parameter));
  if (!/^\d+$/.test(parameter)) throw invalidParam('Invalid filter ID');
  const stored = user.filters[Number(parameter)];
  if (stored === undefined) throw invalidParam('No such filter');
  return parseSyncFilter(JSON.parse(stored));
}

function parseInline(parameter: string): unknown {
  try {
    return JSON.parse(parameter);
  } catch {
    throw new MatrixError(400, 'M_NOT_JSON', 'Invalid filter JSON');
  }
}

/** Checks a filter definition for common mistakes. Unknown members are accepted, as in Synapse. */
export function parseSyncFilter(definition: unknown): SyncFilter {
  const root = objectOrEmpty(definition);
  const room = objectOrEmpty(root['room']);
  const timeline = objectOrEmpty(room['timeline']);
  const state = objectOrEmpty(room['state']);
  checkRooms(room);
  return {
    rooms: new EventFilter(room),
    timeline: new EventFilter(timeline),
    state: new EventFilter(state),
    ephemeral: new EventFilter(objectOrEmpty(room['ephemeral'])),
    roomAccountData: new EventFilter(objectOrEmpty(room['account_data'])),
    accountData: new EventFilter(objectOrEmpty(root['account_data'])),
    presence: new EventFilter(objectOrEmpty(root['presence'])),
    timelineLimit: readLimit(timeline),
    includeLeave: room['include_leave'] === true,
    lazyLoadMembers: state['lazy_load_members'] === true,
    includeRedundantMembers: state['include_redundant_members'] === true,
    unreadByThread: timeline['unread_thread_notifications'] === true,
  };
}

function readLimit(timeline: JsonObject): number {
  const limit = timeline['limit'];
  if (limit === undefined) return DEFAULT_TIMELINE_LIMIT;
  if (typeof limit !== 'number') throw new MatrixError(400, 'M_UNKNOWN', `${show(limit)} is not of type 'number'`);
  return Math.min(limit, MAX_TIMELINE_LIMIT);
}

function checkRooms(room: JsonObject): void {
  for (const key of ['rooms', 'not_rooms']) {
    const rooms = room[key];
    for (const roomId of Array.isArray(rooms) ? rooms : []) {
      if (typeof roomId !== 'string' || !roomId.startsWith('!')) {
        throw new MatrixError(400, 'M_UNKNOWN', `${show(roomId)} is not a 'matrix_room_id'`);
      }
    }
  }
}

function show(value: unknown): string {
  return isJsonObject(value) ? '{...}' : `'${String(value)}'`;
}
