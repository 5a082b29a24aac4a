import type { IncomingMessage, ServerResponse } from 'node:http';
import type { MatrixClientManager } from 'matrix-client-manager';
import type { Person } from '../seed/people.js';
import type { DemoServerOptions } from './demo-server.js';
import { Refusal } from './failures.js';
import { receiveFile, sendStoredFile } from './files.js';
import { toMessageView } from './message-view.js';
import { reply } from './reply.js';
import { optionalTextIn, readJson, textIn } from './request-body.js';
import { listRooms } from './room-list.js';
import { UserFeed } from './user-feed.js';

/** One request about a room. */
interface RoomRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly person: Person;
  readonly feed: UserFeed;
  readonly roomId: string;
  /** What follows in the path, such as an event id. */
  readonly rest: string | undefined;
  /** Aborted when the page no longer waits. */
  readonly signal: AbortSignal;
}

const PAGE_SIZE = 30;

/**
 * The API of the page: `/api/people`, `/api/<key>/events`, `/api/<key>/rooms`, `/api/<key>/rooms/<roomId>/...`. The key names
 * the user who acts. A real application would know the user by a session of its own.
 */
export class ChatApi {
  readonly #manager: MatrixClientManager;
  readonly #options: DemoServerOptions;
  readonly #feeds: ReadonlyMap<string, UserFeed>;

  constructor(options: DemoServerOptions) {
    const { manager, people } = options;
    this.#manager = manager;
    this.#options = options;
    this.#feeds = new Map([...people].map(([key, { userId }]) => [key, new UserFeed(manager, userId)]));
  }

  async handle(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const [, , key = '', kind = '', roomId = '', action = '', rest] = url.pathname.split('/').map(decode);
    const { people, description } = this.#options;
    const route = (text: string): string => `${request.method} ${text}`;
    if (key === 'people' && kind === '' && request.method === 'GET') {
      return reply(response, 200, { people: [...people.values()], description });
    }
    const [person, feed] = [people.get(key), this.#feeds.get(key)];
    if (!person || !feed) throw new Refusal(404, 'NOT_FOUND');
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    if (roomId === '') {
      switch (route(kind)) {
        case 'GET events':
          return feed.stream(response, url.searchParams.get('lastEventId') ?? undefined);
        case 'GET rooms':
          return reply(response, 200, { rooms: await listRooms(this.#manager, person.userId, gone.signal) });
        case 'POST rooms':
          return this.#createRoom(request, response, person);
        default:
          throw new Refusal(404, 'NOT_FOUND');
      }
    }
    const handler = kind === 'rooms' ? this.#roomHandlers.get(route(action)) : undefined;
    if (!handler) throw new Refusal(404, 'NOT_FOUND');
    await handler({ request, response, url, person, feed, roomId, rest, signal: gone.signal });
  }

  cutStreams(): void {
    for (const feed of this.#feeds.values()) feed.cut();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#feeds.values()].map((feed) => feed.close()));
  }

  /** A room of all users of the demo. */
  async #createRoom(request: IncomingMessage, response: ServerResponse, { userId }: Person): Promise<void> {
    const name = textIn(await readJson(request), 'name')
      .trim()
      .slice(0, 100);
    if (name === '') throw new Refusal(400, 'BAD_REQUEST');
    const invite = [...this.#options.people.values()].map((other) => other.userId).filter((other) => other !== userId);
    reply(response, 201, await this.#manager.rooms.create({ userId, name, invite }));
  }

  readonly #roomHandlers: ReadonlyMap<string, (asked: RoomRequest) => Promise<void>> = new Map([
    ['GET messages', (asked) => this.#readPage(asked)],
    ['POST messages', (asked) => this.#sendMessage(asked)],
    ['POST reactions', (asked) => this.#sendReaction(asked)],
    ['POST redactions', (asked) => this.#redact(asked)],
    ['POST typing', (asked) => this.#sendTyping(asked)],
    ['POST read', (asked) => this.#markRead(asked)],
    ['POST join', (asked) => this.#join(asked)],
    ['POST files', (asked) => receiveFile(this.#manager, asked)],
    ['GET files', (asked) => sendStoredFile(this.#manager, asked)],
  ]);

  /** A page, newest first, with the reactions of its time and, on the newest page, how far others have read. */
  async #readPage({ response, url, person, feed, roomId, signal }: RoomRequest): Promise<void> {
    const from = url.searchParams.get('from') ?? undefined;
    const types = ['message', 'reaction'];
    const { userId } = person;
    const page = await this.#manager.getRoomMessages({ userId, roomId, from, types, limit: PAGE_SIZE, signal });
    reply(response, 200, {
      messages: page.messages.filter(({ type }) => type === 'message').map(toMessageView),
      reactions: page.messages
        .filter(({ type, redacted, relatesTo, key }) => type === 'reaction' && !redacted && relatesTo && key)
        .map(({ eventId, sender, relatesTo, key }) => ({ eventId, sender, relatesTo, key })),
      receipts: from === undefined ? feed.receipts.of(roomId) : [],
      end: page.end,
    });
  }

  async #sendMessage({ request, response, person, roomId }: RoomRequest): Promise<void> {
    const body = await readJson(request);
    const sent = await this.#manager.sendMessage({
      userId: person.userId,
      roomId,
      text: textIn(body, 'text'),
      txnId: optionalTextIn(body, 'txnId'),
      replyTo: optionalTextIn(body, 'replyTo'),
      edits: optionalTextIn(body, 'edits'),
    });
    reply(response, 201, { eventId: sent.eventId });
  }

  async #sendReaction({ request, response, person, roomId }: RoomRequest): Promise<void> {
    const body = await readJson(request);
    const reaction = { eventId: textIn(body, 'eventId'), key: textIn(body, 'key') };
    const { eventId } = await this.#manager.sendReaction({ userId: person.userId, roomId, ...reaction });
    reply(response, 201, { eventId });
  }

  async #redact({ request, response, person, roomId }: RoomRequest): Promise<void> {
    const eventId = textIn(await readJson(request), 'eventId');
    await this.#manager.redact({ userId: person.userId, roomId, eventId });
    reply(response, 201, {});
  }

  async #sendTyping({ request, response, person, roomId }: RoomRequest): Promise<void> {
    const { typing } = await readJson(request);
    if (typeof typing !== 'boolean') throw new Refusal(400, 'BAD_REQUEST');
    await this.#manager.sendTyping({ userId: person.userId, roomId, typing, timeoutMs: 10_000 });
    reply(response, 200, {});
  }

  async #markRead({ request, response, person, roomId }: RoomRequest): Promise<void> {
    const eventId = textIn(await readJson(request), 'eventId');
    await this.#manager.markRead({ userId: person.userId, roomId, eventId });
    reply(response, 200, {});
  }

  async #join({ request, response, person, roomId, signal }: RoomRequest): Promise<void> {
    await readJson(request);
    await this.#manager.rooms.join({ userId: person.userId, roomId, signal });
    reply(response, 200, {});
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new Refusal(400, 'BAD_REQUEST');
  }
}
