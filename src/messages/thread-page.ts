import { throwIfAborted } from '../core/abort.js';
import type { RawEvent } from '../core/raw-event.js';
import { noChanges, toRoomMessage } from '../core/room-message.js';
import type { RoomMessage } from '../core/room-message.js';
import type { PagePosition } from './cursor.js';
import { readContext, readRelations } from './history-api.js';
import { MAX_REQUESTS } from './page-request.js';
import type { Chunk, PageContent, PageRequest } from './page-request.js';

/** Reads a thread, newest first; its first event comes last. */
export async function readThread(request: PageRequest, start: PagePosition, threadId: string): Promise<PageContent> {
  const { roomId, limit, isWanted, decrypt, members } = request;
  const messages: RoomMessage[] = [];
  let position: PagePosition | undefined = start;
  for (let requests = 0; position && messages.length < limit && requests < MAX_REQUESTS; requests++) {
    const { events, next } = await readChunk(request, position, threadId, limit - messages.length);
    const wanted = (await decrypt(events)).filter((event) => isWanted(event, noChanges));
    messages.push(...wanted.map((event) => toRoomMessage(roomId, event, noChanges, members.of)));
    position = next;
  }
  return { messages, next: position, source: 'rest' };
}

/** Positions of a thread: tokens of `/relations`, then its first event, which is no relation of itself. */
async function readChunk(
  { http, session, roomId, members, signal }: PageRequest,
  { token, beyond }: PagePosition,
  threadId: string,
  limit: number,
): Promise<Chunk<RawEvent>> {
  throwIfAborted(signal, `reading a thread of ${roomId}`);
  if (beyond !== undefined) {
    const { event, members: senders } = await readContext(http, session, threadId, { roomId, limit: 0, signal });
    members.add(senders);
    return { events: [event], next: undefined };
  }
  const relation = { roomId, eventId: threadId, relType: 'm.thread', from: token, limit, signal };
  const { events, next } = await readRelations(http, session, relation);
  return { events, next: next === undefined || next === token ? { beyond: threadId } : { token: next } };
}
