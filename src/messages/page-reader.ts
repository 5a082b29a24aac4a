import { readBackwards } from './backward-page.js';
import { readAround } from './context-page.js';
import { decodeCursor, encodeCursor } from './cursor.js';
import { eventTypeFilter } from './event-types.js';
import { readForwards } from './forward-page.js';
import type { GetRoomMessagesOptions } from './get-room-messages-options.js';
import { PageMembers } from './page-request.js';
import type { MessagePage, PageCaller, PageContent, PageDecryption, PageRequest } from './page-request.js';
import { withReactions } from './reactions.js';
import type { RoomTimeline } from './room-timeline.js';
import { readThread } from './thread-page.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';

/**
 * Reads pages of a room's messages as the user of a session sees them: first from the timeline in memory of the user's
 * client, then from the homeserver. Both have the same events in the same order, so that pages do not depend on the events
 * in memory.
 */
export class PageReader {
  readonly #http: HomeserverHttp;
  readonly #decryption: PageDecryption;

  constructor(http: HomeserverHttp, decryption: PageDecryption) {
    this.#http = http;
    this.#decryption = decryption;
  }

  async read(
    { session, userSession }: PageCaller,
    options: GetRoomMessagesOptions,
    signal: AbortSignal,
  ): Promise<MessagePage> {
    const { userId, roomId, limit = 50, after, types, reactions } = options;
    const decrypt = this.#decryption(userId, roomId, signal) ?? (async (events) => [...events]);
    const members = new PageMembers((sender) => userSession?.memberOf(roomId, sender));
    const isWanted = eventTypeFilter(types, after !== undefined);
    const request = { http: this.#http, session, roomId, limit, isWanted, decrypt, members, signal };
    try {
      const { messages, next, source, reactionsOf } = await readContent(request, options, () =>
        userSession?.currentTimeline(roomId),
      );
      return {
        messages: reactions ? await withReactions(request, messages, reactionsOf) : messages,
        ...(next && { end: encodeCursor(cursorScope(options), next) }),
        source,
      };
    } catch (error) {
      userSession?.requestFailed(error);
      throw error;
    }
  }
}

async function readContent(
  request: PageRequest,
  options: GetRoomMessagesOptions,
  currentTimeline: () => RoomTimeline | undefined,
): Promise<PageContent> {
  const { roomId, from, after, around, threadId } = options;
  const start = from === undefined ? { beyond: after } : decodeCursor(cursorScope(options), from, roomId);
  if (around !== undefined) return readAround(request, around);
  if (threadId !== undefined) return readThread(request, start, threadId);
  if (after !== undefined) return readForwards(request, start, currentTimeline(), from === undefined);
  return readBackwards(request, start, currentTimeline());
}

/** What a cursor is valid for: the room, and the way of reading. Those after `around` go on backwards in the room. */
function cursorScope({ roomId, after, threadId }: GetRoomMessagesOptions): string {
  if (after !== undefined) return `${roomId}\0after\0${after}`;
  return threadId === undefined ? roomId : `${roomId}\0thread\0${threadId}`;
}
