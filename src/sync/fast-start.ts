import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import { isManagerError } from '../core/errors.js';
import { failureClass, isRetryable } from '../http/failure-class.js';
import { retryDelayMs } from '../http/retry.js';
import type { ServerVersions } from '../http/server-versions.js';
import { beforeNews, noSections, wholeRooms } from './room-sections.js';
import type { RoomSections } from './room-sections.js';
import { SLIDING_SYNC_FEATURE, SlidingSync } from './sliding-sync.js';
import { cacheBuster, initialLimit, NO_ROOMS_FILTER, syncFilter, syncLimit } from './sync-query.js';
import type { SyncRequests } from './sync-requests.js';
import { readSyncResponse } from './sync-response.js';
import type { JoinedRoomBody, ReadSync } from './sync-response.js';

/** Rooms that a client starts with, and rooms that it takes in at once afterwards. */
const FIRST_WINDOW = 20;
const WINDOW = 40;

/** Failures to take in further rooms, from which on the client lives without them, and tries now and then. */
const GROWTH_ATTEMPTS = 3;
const PUT_OFF = { baseDelayMs: 5_000, maxDelayMs: 600_000 };

export interface FastStartOptions {
  readonly userId: string;
  readonly requests: SyncRequests;
  /** Undefined where sliding sync is not to be used. */
  readonly versions: ServerVersions | undefined;
  readonly timelineLimit: number;
  readonly startTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Rooms that the client has, where an earlier start was cut short; undefined where it was not. */
  readonly covered: Iterable<string> | undefined;
}

interface Rooms {
  readonly sections: RoomSections;
  /** Whether there are no others. */
  readonly isAll: boolean;
}

interface UpToNow {
  readonly sections: RoomSections;
  readonly news: ReadSync | undefined;
}

/** A part of what the homeserver told, in the order in which the client has to take it. */
export interface SyncChunk {
  readonly read: ReadSync;
  /** Whether rooms are still missing after it. */
  readonly growing: boolean;
}

/**
 * Starts a client with a few rooms, and has it take in the others while it lives already.
 *
 * The position comes first, from a sync without rooms. Rooms come after it by sliding sync, which costs what it brings
 * and not what the user has joined. Then a plain sync from the position says what is news, and what is not in it is
 * history: so news is news whichever way it comes first, and from the first position on nothing is missed. Where
 * there are news of a room that is missing, the room is fetched, and the news asked for once more. Where the rooms are
 * not to be had, the client goes on without them: their news come alone, and their history when it can be had.
 *
 * This file is a little long because which rooms are there, asked for and given up is one state.
 */
export class FastStart {
  readonly #options: FastStartOptions;
  readonly #sliding: SlidingSync;
  readonly #knownRooms: Set<string>;
  /** Rooms that sliding sync was asked for and did not have. */
  readonly #unavailableRooms = new Set<string>();
  /** Rooms to ask for next. */
  #waiting: string[] = [];
  /** Rooms to ask for before: they have news. */
  #urgent: string[] = [];
  #hasMissingRooms: boolean;
  /** Whether what was missed comes first. */
  #resuming: boolean;
  #refused = false;
  /** Attempts to take in rooms that failed, and when the next one may be made. */
  #failures = 0;
  #notBefore = 0;
  #lastPoll = { since: '', timeout: 0 };

  constructor(options: FastStartOptions) {
    const { requests, userId, timelineLimit, covered } = options;
    this.#options = options;
    this.#sliding = new SlidingSync(requests, userId, initialLimit(timelineLimit));
    this.#knownRooms = new Set(covered);
    this.#hasMissingRooms = covered !== undefined;
    this.#resuming = this.#hasMissingRooms;
  }

  /** Whether rooms are missing. */
  get hasMissingRooms(): boolean {
    return this.#hasMissingRooms;
  }

  /** Whether rooms are missing because the homeserver has failed to tell them. */
  get isFailing(): boolean {
    return this.#hasMissingRooms && this.#failures >= GROWTH_ATTEMPTS;
  }

  /** Whether rooms are missing and are to be asked for next. */
  get isDue(): boolean {
    return this.#hasMissingRooms && this.#options.clock.now() >= this.#notBefore;
  }

  /** Nothing is missing any more. */
  finish(): void {
    this.#hasMissingRooms = false;
    this.#knownRooms.clear();
    this.#unavailableRooms.clear();
    this.#waiting = [];
    this.#urgent = [];
  }

  /** The first rooms, and what is news by now; undefined where the homeserver does not do that. */
  async begin(): Promise<SyncChunk[] | undefined> {
    if (!(await this.#isOffered())) return undefined;
    const answer = await this.#sync({ filter: NO_ROOMS_FILTER, timeout: cacheBuster(this.#options.clock) });
    const position = this.#read(answer, undefined, false);
    const window = await this.#tryWindow();
    if (!window) return undefined;
    this.#hasMissingRooms = !window.isAll;
    const { sections, news } = await this.#upToNow(window, position.batch.nextBatch, false);
    const growing = this.#hasMissingRooms;
    const read = this.#read({ ...position.response, rooms: toRooms(sections) }, undefined, false);
    const first = { ...read, batch: { ...read.batch, ...(growing && { isPartialInitialSync: true }) } };
    return [{ read: first, growing }, ...(news ? [{ read: news, growing }] : [])];
  }

  /** Further rooms, and what is news by now. @param catchUp - whether the position is from before the client's start */
  async loadMoreRooms(since: string, catchUp: boolean): Promise<SyncChunk[]> {
    for (;;) {
      const { sections, news } = await this.#upToNow(await this.#moreRooms(), since, catchUp);
      this.#failures = Math.min(this.#failures, GROWTH_ATTEMPTS - 1); // from now on the first failure puts off
      const growing = this.#hasMissingRooms;
      const parts = news ? [{ read: news, growing }] : [];
      if (sections.join.size > 0) {
        const late = this.#read({ next_batch: since, rooms: toRooms(sections) }, undefined, false);
        parts.unshift({ read: { ...late, batch: { ...late.batch, since, isBackfilledRooms: true } }, growing });
      }
      if (parts.length > 0) return parts;
    }
  }

  /** Whether an attempt to grow has failed once too often, so that the client has to live without the rooms for now. */
  postpone(error: unknown): boolean {
    const { clock, logger, userId, signal } = this.#options;
    if (signal.aborted || !isRetryable(failureClass(error)) || ++this.#failures < GROWTH_ATTEMPTS) return false;
    const delayMs = retryDelayMs(error, this.#failures - GROWTH_ATTEMPTS + 1, PUT_OFF);
    this.#notBefore = clock.now() + delayMs;
    logger.warn({ userId, err: error, delayMs }, 'taking in further rooms failed; going on without them for now');
    return true;
  }

  /** A plain sync that was asked for while rooms were missing: what it tells of those is not all there is of them. */
  markMissingRooms(read: ReadSync): ReadSync {
    const whole = wholeRooms(read);
    const { batch } = read;
    const isMissing = ({ roomId, membership }: { roomId: string; membership: string }): boolean =>
      membership === 'join' && !this.#knownRooms.has(roomId) && !whole.has(roomId);
    const parts = new Set(batch.rooms.filter(isMissing).map(({ roomId }) => roomId));
    this.#resuming = false;
    this.#urgent = [...new Set([...this.#urgent, ...parts])].filter((roomId) => !this.#unavailableRooms.has(roomId));
    this.#noteMembership(read, whole);
    const rooms = batch.rooms.map((room) =>
      parts.has(room.roomId) ? { ...room, isWithoutHistory: true as const } : room,
    );
    // A stored room counts as complete.
    const stateChanged = new Set([...read.stateChanged].filter((roomId) => !parts.has(roomId)));
    return { ...read, batch: { ...batch, rooms }, stateChanged };
  }

  async #isOffered(): Promise<boolean> {
    const { versions, signal } = this.#options;
    if (!versions || this.#refused) return false;
    const answer = await versions.get(signal).catch(() => undefined);
    return answer?.unstable_features?.[SLIDING_SYNC_FEATURE] === true;
  }

  /** The first window; undefined when there is none to be had, so that the start has to do without. */
  async #tryWindow(): Promise<Rooms | undefined> {
    try {
      return await this.#sliding.newest(FIRST_WINDOW);
    } catch (error) {
      if (this.#options.signal.aborted || failureClass(error) === 'unavailable') throw error;
      this.#refuse(error);
      return undefined;
    }
  }

  /** The next rooms that are missing: first those that have news. */
  async #moreRooms(): Promise<Rooms> {
    if (this.#resuming) return { sections: noSections(), isAll: false };
    const isFresh = (roomId: string): boolean => !this.#knownRooms.has(roomId) && !this.#unavailableRooms.has(roomId);
    if (![...this.#urgent, ...this.#waiting].some(isFresh)) {
      const joined = await this.#joinedRooms();
      if (!joined) return this.#everyRoom();
      this.#waiting = joined.filter((roomId) => !this.#knownRooms.has(roomId));
      if (this.#waiting.length === 0) return { sections: noSections(), isAll: true };
    }
    return this.#rooms([...new Set([...this.#urgent, ...this.#waiting.filter(isFresh)])].slice(0, WINDOW));
  }

  /** Undefined where the homeserver does not tell. */
  async #joinedRooms(): Promise<string[] | undefined> {
    const { requests, signal, logger, userId } = this.#options;
    try {
      return await requests.joinedRooms();
    } catch (error) {
      if (signal.aborted || isRetryableLater(error)) throw error;
      logger.warn({ userId, err: error }, 'asking for the joined rooms failed; going on without it');
      return undefined;
    }
  }

  /** Those rooms; all that are missing where sliding sync cannot have them. */
  async #rooms(roomIds: readonly string[]): Promise<Rooms> {
    if (roomIds.length === 0 || !(await this.#isOffered())) return this.#everyRoom();
    try {
      const sections = await this.#sliding.rooms(roomIds);
      for (const roomId of roomIds) if (!sections.join.has(roomId)) this.#unavailableRooms.add(roomId);
      return { sections, isAll: false };
    } catch (error) {
      if (this.#options.signal.aborted || isRetryableLater(error)) throw error;
      this.#refuse(error);
      return this.#everyRoom();
    }
  }

  /** Every room that is missing, the slow way. */
  async #everyRoom(): Promise<Rooms> {
    const { timelineLimit, clock } = this.#options;
    const filter = syncFilter(initialLimit(timelineLimit));
    const read = this.#read(await this.#sync({ filter, timeout: cacheBuster(clock) }), undefined, false);
    const missing = Object.entries(read.response.rooms?.join ?? {}).filter(([roomId]) => !this.#knownRooms.has(roomId));
    return { sections: { ...noSections(), join: new Map<string, JoinedRoomBody>(missing) }, isAll: true };
  }

  /**
   * The rooms as they were before what has happened since the position, and that, unless some of it is of rooms that
   * are missing: then those have to come first. Counts the rooms as covered.
   */
  async #upToNow({ sections, isAll }: Rooms, since: string, catchUp: boolean): Promise<UpToNow> {
    const filter = syncFilter(syncLimit(this.#options.timelineLimit));
    const news = this.#read(await this.#sync({ filter, since, timeout: this.#timeout(since) }), since, catchUp);
    if (news.batch.nextBatch === since) this.#lastPoll.timeout--;
    const whole = wholeRooms(news);
    const isMissing = ({ roomId, membership }: { roomId: string; membership: string }): boolean =>
      membership === 'join' &&
      ![this.#knownRooms, this.#unavailableRooms, whole, sections.join].some((known) => known.has(roomId));
    const before = beforeNews(sections, news);
    this.#urgent =
      this.#hasMissingRooms && !isAll ? news.batch.rooms.filter(isMissing).map(({ roomId }) => roomId) : [];
    this.#resuming = false;
    for (const roomId of before.join.keys()) this.#knownRooms.add(roomId);
    if (this.#urgent.length > 0) return { sections: before, news: undefined };
    this.#noteMembership(news, whole);
    if (isAll) this.finish();
    return { sections: before, news };
  }

  #noteMembership({ batch }: ReadSync, whole: ReadonlySet<string>): void {
    for (const roomId of whole) this.#knownRooms.add(roomId);
    for (const { roomId, membership } of batch.rooms) {
      if (membership === 'leave') this.#knownRooms.delete(roomId);
    }
  }

  /**
   * How long the homeserver may wait for news: hardly, and never as long as the last time. Synapse answers for two
   * minutes as it did to the same question, unless nothing had happened; that would make history of what is news.
   */
  #timeout(since: string): number {
    const { clock } = this.#options;
    const first = this.#resuming ? cacheBuster(clock) % 100 : 0; // an earlier process may have asked as well
    const timeout = this.#lastPoll.since === since ? this.#lastPoll.timeout + 1 : first;
    this.#lastPoll = { since, timeout };
    return timeout;
  }

  #sync(query: { filter: string; since?: string; timeout: number }): Promise<unknown> {
    const { requests, startTimeoutMs, requestTimeoutMs } = this.#options;
    const timeoutMs = query.since === undefined ? startTimeoutMs : requestTimeoutMs;
    return requests.sync({ ...query, set_presence: 'offline' }, timeoutMs);
  }

  #read(data: unknown, since: string | undefined, catchUp: boolean): ReadSync {
    const limit = since === undefined ? initialLimit : syncLimit;
    return readSyncResponse(data, { since, catchUp, timelineLimit: limit(this.#options.timelineLimit) });
  }

  #refuse(error: unknown): void {
    const { userId, logger } = this.#options;
    this.#refused = true;
    logger.warn({ userId, err: error }, 'sliding sync failed; going on without it');
  }
}

function toRooms({ join, invite }: RoomSections): object {
  return { join: Object.fromEntries(join), invite: Object.fromEntries(invite) };
}

/** Whether the homeserver may well do it later: it is down, busy, or does not know the token. */
function isRetryableLater(error: unknown): boolean {
  if (!isManagerError(error) || error.code === 'INVALID_RESPONSE' || error.code === 'TIMEOUT') return false;
  const { status } = error;
  return status === undefined || status === 401 || status === 429 || [502, 503, 504].includes(status);
}
