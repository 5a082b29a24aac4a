import { changesOf, noChanges, toRoomMessage } from '../core/room-message.js';
import type { RoomMessage } from '../core/room-message.js';
import type { PagePosition } from './cursor.js';
import { readChunk } from './page-chunk.js';
import { MAX_REQUESTS } from './page-request.js';
import type { Chunk, KnownReactions, PageContent, PageRequest } from './page-request.js';
import { knownReactions } from './reactions.js';
import type { RoomTimeline } from './room-timeline.js';

/** Reads backwards: first from the timeline in memory, then from the homeserver. */
export async function readBackwards(
  request: PageRequest,
  start: PagePosition,
  timeline: RoomTimeline | undefined,
): Promise<PageContent> {
  const { roomId, limit, isWanted, decrypt } = request;
  const oldest = timeline?.oldest;
  const canUse = timeline !== undefined && timeline.size > 0 && timeline.isOrdered && start.token === undefined;
  const inMemory = canUse ? await readTimeline(request, start, timeline) : undefined;
  const messages = inMemory ? [...inMemory.events] : [];
  let position = inMemory ? inMemory.next : start;
  let requests = 0;
  // After the last request the page may have fewer messages; its cursor continues there.
  while (position && messages.length < limit && requests < MAX_REQUESTS) {
    const { events, next } = await readChunk(request, position, limit - messages.length, 'b');
    const [newest] = events;
    if (requests++ === 0 && inMemory && oldest && newest && newest.origin_server_ts > oldest.origin_server_ts) {
      // The order of events is uncertain where memory and homeserver meet, so the page is read from the homeserver only.
      return readBackwards(request, start, undefined);
    }
    const wanted = (await decrypt(events)).filter((event) => isWanted(event, noChanges));
    messages.push(...wanted.map((event) => toRoomMessage(roomId, event, noChanges, request.members.of)));
    position = next;
  }
  const fromMemory = inMemory?.events.length ?? 0;
  const isFromHomeserver = !inMemory || messages.length > fromMemory;
  const source = isFromHomeserver ? (fromMemory > 0 ? 'mixed' : 'rest') : 'synced';
  return { messages, next: position, source, reactionsOf: inMemory?.reactionsOf };
}

/** The part of a page that is in memory. */
interface KnownPart extends Chunk<RoomMessage> {
  readonly reactionsOf: KnownReactions;
}

/** The timeline's messages older than `beyond`; undefined if that event is not in the timeline. */
async function readTimeline(
  { roomId, limit, isWanted, decrypt, members }: PageRequest,
  { beyond }: PagePosition,
  timeline: RoomTimeline,
): Promise<KnownPart | undefined> {
  const { prevBatch } = timeline; // read before the await: the timeline may drop its oldest events meanwhile
  const known = await decrypt([...timeline]);
  const end = beyond === undefined ? known.length : known.findIndex(({ event_id: id }) => id === beyond);
  if (end < 0) return undefined;
  const changes = changesOf(known);
  const reactionsOf = knownReactions(known, changes);
  const messages: RoomMessage[] = [];
  let last = beyond;
  for (const event of known.slice(0, end).toReversed()) {
    if (messages.length === limit) return { events: messages, reactionsOf, next: { beyond: last } };
    last = event.event_id;
    if (isWanted(event, changes)) messages.push(toRoomMessage(roomId, event, changes, members.of));
  }
  if (known[0]?.type === 'm.room.create') return { events: messages, reactionsOf, next: undefined };
  return { events: messages, reactionsOf, next: prevBatch === undefined ? { beyond: last } : { token: prevBatch } };
}
