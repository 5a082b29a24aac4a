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
  const { beyond, token } = start;
  if (token === undefined && beyond !== undefined && timeline?.has(beyond)) {
    const known = [...timeline];
    const index = known.findIndex(({ event_id: id }) => id === beyond);
    return readTimeline(request, beyond, await decrypt(known.slice(index + 1)));
  }
  let position: PagePosition | undefined = start;
  if (isFirstPage && beyond !== undefined) {
    position = { token: await fetchEventToken(http, session, beyond, { roomId, signal }) };
  }
  const messages: RoomMessage[] = [];
  // After the last request the page may have fewer messages; its cursor continues there.
  for (let requests = 0; position && messages.length < limit && requests < MAX_REQUESTS; requests++) {
    const { events, next } = await readChunk(request, position, limit - messages.length, 'f');
    const wanted = (await decrypt(events)).filter((event) => isWanted(event, noChanges));
    messages.push(...wanted.map((event) => toRoomMessage(roomId, event, noChanges, members.of)));
    position = next;
  }
  return { messages, next: position, source: 'rest' };
}

function readTimeline(
  { roomId, limit, isWanted, members }: PageRequest,
  beyond: string,
  newer: readonly RawEvent[],
): PageContent {
  const changes = changesOf(newer);
  const common = { source: 'synced', reactionsOf: knownReactions(newer, changes) } as const;
  const messages: RoomMessage[] = [];
  let last = beyond;
  for (const event of newer) {
    if (messages.length === limit) return { messages, next: { beyond: last }, ...common };
    last = event.event_id;
    if (isWanted(event, changes)) messages.push(toRoomMessage(roomId, event, changes, members.of));
  }
  return { messages, next: undefined, ...common };
}
