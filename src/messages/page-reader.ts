import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { Session } from '../http/session.js';
import { fetchPage } from './message-fetcher.js';
import type { MessagePage, PageRequest } from './message-fetcher.js';
import type { GetRoomMessagesOptions } from './page-options.js';
import type { RoomTimeline } from './room-timeline.js';

/** What a page needs of the user's client. */
export interface PageClient {
  /** The room's newest events without a gap up to now; undefined while the client may be behind. */
  currentTimeline(roomId: string): RoomTimeline | undefined;
  requestFailed(error: unknown): void;
}

/** The session to read with, and the user's client if it runs. */
export interface PageCaller {
  readonly session: Session;
  readonly userSession?: PageClient;
}

/** Returns a function that decrypts the events of a page of the room; undefined if the user has no encryption. */
export type PageDecryption = (
  userId: string | undefined,
  roomId: string,
  signal: AbortSignal,
) => PageRequest['decrypt'] | undefined;

/** Reads pages of messages, with the timelines in memory of the caller's client. */
export class PageReader {
  readonly #http: HomeserverHttp;
  readonly #decryption: PageDecryption;

  constructor(http: HomeserverHttp, decryption: PageDecryption) {
    this.#http = http;
    this.#decryption = decryption;
  }

  async read(
    { session, userSession }: PageCaller,
    { userId, roomId, limit = 50, from, types }: GetRoomMessagesOptions,
    signal: AbortSignal,
  ): Promise<MessagePage> {
    const timeline = userSession?.currentTimeline(roomId);
    const decrypt = this.#decryption(userId, roomId, signal);
    try {
      const page = { roomId, limit, from: from ?? undefined, types, signal, decrypt };
      return await fetchPage(this.#http, session, timeline, page);
    } catch (error) {
      userSession?.requestFailed(error);
      throw error;
    }
  }
}
