import { MatrixClientManagerError } from '../core/errors.js';
import { decodeCursorText } from '../core/opaque-cursor.js';
import { isObject } from '../core/raw-event.js';

/** A room of a list, with the time that the list is ordered by. */
export interface Ordered {
  readonly roomId: string;
  /** 0 or absent: the room is among the last. */
  readonly lastActivityAt?: number | undefined;
}

/** The end of a page of a room list. It does not need a last room: a page can be empty though there are more rooms. */
export interface Place {
  /** The index of the first room after the page. */
  readonly index: number;
  /** Activity of the last listed room. */
  readonly at: number;
  /** Ids of the last rooms that were listed. */
  readonly recent: readonly string[];
  /** Of a homeserver's window: the ids of its first and last room. */
  readonly edges?: readonly string[];
}

export interface Page<T> {
  readonly rooms: readonly T[];
  readonly place: Place;
  readonly hasMore: boolean;
}

/**
 * How many ids a place keeps. When unlisted rooms move to the top, the next window begins with rooms of earlier pages, and
 * these ids tell them from new ones.
 */
const RECENT = 50;
/** The place before the first page. */
export const BEGINNING: Place = { index: 0, at: Number.MAX_SAFE_INTEGER, recent: [] };

/** The place after `rooms`, which follow `before`. */
export function placeAfter(rooms: readonly Ordered[], before: Place, index: number, edges?: readonly string[]): Place {
  const recent = [...before.recent, ...rooms.map(({ roomId }) => roomId)].slice(-RECENT);
  const last = rooms.at(-1);
  return { index, at: last ? (last.lastActivityAt ?? 0) : before.at, recent, ...(edges && { edges }) };
}

/** The page after `before` of all rooms. */
export function sortedPage<T extends Ordered>(all: readonly T[], limit: number, before: Place): Page<T> {
  const end = { lastActivityAt: before.at, roomId: before.recent.at(-1) ?? '' };
  const rest = all.filter((room) => byActivity(end, room) < 0).toSorted(byActivity);
  const rooms = rest.slice(0, limit);
  const index = all.length - rest.length + rooms.length;
  return { rooms, place: placeAfter(rooms, before, index), hasMore: rest.length > limit };
}

export function byActivity(a: Ordered, b: Ordered): number {
  const newer = (b.lastActivityAt ?? 0) - (a.lastActivityAt ?? 0);
  return newer === 0 ? (a.roomId < b.roomId ? -1 : Number(a.roomId > b.roomId)) : newer;
}

/** Reads the option `from`. Throws `INVALID_CURSOR`. */
export function readPlace(scope: string, from: string, userId: string): Place {
  const place = decodeCursorText(scope, from);
  if (isPlace(place)) return place;
  const message = `expected \`from\` to be the unchanged \`next\` of an earlier page of these rooms of ${userId}. Start again without \`from\``;
  throw new MatrixClientManagerError('INVALID_CURSOR', message, { userId });
}

function isPlace(place: unknown): place is Place {
  if (!isObject(place)) return false;
  const { index, at, recent, edges = [] } = place;
  return Number.isSafeInteger(index) && Number(index) >= 0 && Number.isFinite(at) && isIds(recent) && isIds(edges);
}

function isIds(value: unknown): boolean {
  return Array.isArray(value) && value.every((id) => typeof id === 'string');
}
