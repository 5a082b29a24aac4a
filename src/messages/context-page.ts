import { noChanges, toRoomMessage } from '../core/room-message.js';
import { readContext } from './history-api.js';
import type { PageContent, PageRequest } from './page-request.js';

/** Reads an event and its neighbours, newest first. The next page has the messages before them. */
export async function readAround(request: PageRequest, eventId: string): Promise<PageContent> {
  const { http, session, roomId, limit, isWanted, decrypt, members, signal } = request;
  const context = await readContext(http, session, eventId, { roomId, limit: limit - 1, signal });
  members.add(context.members);
  const events = await decrypt([...context.newer.toReversed(), context.event, ...context.older]);
  const wanted = events.filter((event) => isWanted(event, noChanges));
  const messages = wanted.map((event) => toRoomMessage(roomId, event, noChanges, members.of));
  const isStart = (context.older.at(-1) ?? context.event).type === 'm.room.create';
  return { messages, next: isStart ? undefined : { token: context.start }, source: 'rest' };
}
