import type { RawEvent } from '../core/raw-event.js';
import { changesOf, noChanges, toRoomMessage } from '../core/room-message.js';
import type { RoomMessage } from '../core/room-message.js';
import type { PagePosition } from './cursor.js';
import { fetchEventToken } from './history-api.js';
import { readChunk } from './page-chunk.js';
import { MAX_REQUESTS } from './page-request.js';
import type { PageContent, PageRequest } from './page-request.js';
import { knownReactions } from './reactions.js';
import type { RoomTimeline } from './room-timeline.js';

/** The most events that a cursor names as read. It then has some 2 kB, which fits into a URL. */
const MAX_READ = 30;

/**
 * Reads forwards, oldest first: from memory if the position is there, which reaches up to now, else from the homeserver
 * alone. The order of arrival in memory is the better one here, because an event that arrived late may be earlier in the
 * order of `/messages`, before the position.
 * @param start - for a first page, `beyond` is the option `after`
 */
export async function readForwards(
  request: PageRequest,
  start: PagePosition,
  timeline: RoomTimeline | undefined,
  isFirstPage: boolean,
): Promise<PageContent> {
  const { http, session, roomId, limit, isWanted, decrypt, members, signal } = request;
  const fromMemory = timeline && (await readTimeline(request, start, timeline));
  if (fromMemory) return fromMemory;
  let position: PagePosition | undefined = start;
  if (isFirstPage && start.beyond !== undefined) {
    position = { token: await fetchEventToken(http, session, start.beyond, { roomId, signal }) };
  }
  const read = new Set(start.read);
  const messages: RoomMessage[] = [];
  // After the last request the page may have fewer messages; its cursor continues there.
  for (let requests = 0; position && messages.length < limit && requests < MAX_REQUESTS; requests++) {
    const { events, next } = await readChunk(request, position, limit - messages.length, 'f');
    const unread = events.filter(({ event_id: id }) => !read.delete(id));
    const wanted = (await decrypt(unread)).filter((event) => isWanted(event, noChanges));
    messages.push(...wanted.map((event) => toRoomMessage(roomId, event, noChanges, members.of)));
    position = next;
  }
  return { messages, next: position && { ...position, ...(read.size > 0 && { read: [...read] }) }, source: 'rest' };
}

/** The page from memory; undefined if the position is not there, or if reading could not go on at the homeserver. */
async function readTimeline(
  { roomId, limit, isWanted, decrypt, members }: PageRequest,
  { token, beyond, read }: PagePosition,
  timeline: RoomTimeline,
): Promise<PageContent | undefined> {
  const known = [...timeline];
  const last = read?.at(-1) ?? beyond;
  const start = token === undefined ? known.findIndex(({ event_id: id }) => id === last) + 1 : 0;
  if (start === 0) return undefined;
  const inOrder = known.map(({ event_id: id }) => !timeline.isOutOfOrder(id)); // before the await: the timeline may change
  const newer = await decrypt(known.slice(start));
  const changes = changesOf(newer);
  const common = { source: 'synced', reactionsOf: knownReactions(newer, changes) } as const;
  const messages: RoomMessage[] = [];
  for (const [index, event] of newer.entries()) {
    if (messages.length === limit) {
      const next = positionAfter(known, inOrder, start + index);
      return next && { messages, next, ...common };
    }
    if (isWanted(event, changes)) messages.push(toRoomMessage(roomId, event, changes, members.of));
  }
  return { messages, next: undefined, ...common };
}

/**
 * The position after the first `count` events, from which the homeserver returns all others too. It orders events by depth
 * in the room's event graph, roughly by timestamp, so that the last of these events need not be the last one there.
 * Undefined if the cursor would have to name too many events.
 */
function positionAfter(
  known: readonly RawEvent[],
  inOrder: readonly boolean[],
  count: number,
): PagePosition | undefined {
  const earliestUnread = known
    .slice(count)
    .reduce((earliest, event) => Math.min(earliest, event.origin_server_ts), Infinity);
  const anchorIndex = known.findLastIndex(
    (event, index) => index < count && inOrder[index] && event.origin_server_ts <= earliestUnread,
  );
  const read = known.slice(anchorIndex + 1, count).map(({ event_id: id }) => id);
  const beyond = known[anchorIndex]?.event_id;
  if (beyond === undefined || read.length > MAX_READ) return undefined;
  return { beyond, ...(read.length > 0 && { read }) };
}
