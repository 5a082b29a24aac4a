import type { MemberOf, MemberProfile } from '../core/member-profile.js';
import type { RawEvent } from '../core/raw-event.js';
import type { RoomMessage } from '../core/room-message.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { Session } from '../http/session.js';
import type { PagePosition } from './cursor.js';
import type { eventTypeFilter } from './event-types.js';
import type { RoomTimeline } from './room-timeline.js';

export interface MessagePage {
  /** Newest first; with the option `after` oldest first. */
  readonly messages: RoomMessage[];
  /** The cursor of the next page; absent when there are no further events that the user may see. */
  readonly end?: string;
  /** Where the messages came from: the client's memory (`synced`), the homeserver (`rest`), or both (`mixed`). */
  readonly source: 'synced' | 'rest' | 'mixed';
}

/** What a page needs of the user's client. */
export interface PageClient {
  /** The room's newest events without a gap up to now; undefined while the client may be behind. */
  currentTimeline(roomId: string): RoomTimeline | undefined;
  /** The profile of a member of the room, if the client knows it. */
  memberOf(roomId: string, userId: string): MemberProfile | undefined;
  requestFailed(error: unknown): void;
}

/** The session to read with, and the user's client if it runs. */
export interface PageCaller {
  readonly session: Session;
  readonly userSession?: PageClient;
}

export type DecryptEvents = (events: readonly RawEvent[]) => Promise<RawEvent[]>;

/** Returns a function that decrypts the events of a page of the room; undefined if the user has no encryption. */
export type PageDecryption = (
  userId: string | undefined,
  roomId: string,
  signal: AbortSignal,
) => DecryptEvents | undefined;

/** A page that is being read. */
export interface PageRequest {
  readonly http: HomeserverHttp;
  readonly session: Session;
  readonly roomId: string;
  readonly limit: number;
  readonly isWanted: ReturnType<typeof eventTypeFilter>;
  readonly decrypt: DecryptEvents;
  readonly members: PageMembers;
  readonly signal: AbortSignal;
}

/** The profiles of senders that are known without a request of their own: from the client, or sent with a page. */
export class PageMembers {
  readonly #ofClient: MemberOf;
  readonly #ofPages = new Map<string, MemberProfile>();

  constructor(ofClient: MemberOf) {
    this.#ofClient = ofClient;
  }

  /** Adds those of a page. Those of newer pages are kept. */
  add(profiles: ReadonlyMap<string, MemberProfile>): void {
    for (const [userId, profile] of profiles) if (!this.#ofPages.has(userId)) this.#ofPages.set(userId, profile);
  }

  readonly of: MemberOf = (userId) => this.#ofClient(userId) ?? this.#ofPages.get(userId);
}

/** Events that were read. */
export interface Chunk<Event> {
  /** In the order of the reading. */
  readonly events: Event[];
  /** Where the next events begin; undefined if there are none. */
  readonly next: PagePosition | undefined;
}

/** Returns the events that react to a message; undefined if they are not all known. */
export type KnownReactions = (eventId: string) => readonly RawEvent[] | undefined;

/** What was read of a page. */
export interface PageContent {
  readonly messages: RoomMessage[];
  readonly next: PagePosition | undefined;
  readonly source: MessagePage['source'];
  /** The reactions to messages from memory. */
  readonly reactionsOf?: KnownReactions | undefined;
}

/** Most requests for one page. A room can have thousands of consecutive events that `types` does not select. */
export const MAX_REQUESTS = 50;
