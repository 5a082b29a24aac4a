import { isManagerError } from '../core/errors.js';
import { failureClass, isRetryable } from '../http/failure-class.js';
import { retryDelayMs } from '../http/retry.js';
import type { RoomBatch } from '../core/ports/event-source.js';
import { withoutLiveEvents, noSections, roomsWithFullState } from './room-sections.js';
import type { RoomSections } from './room-sections.js';
import { offersSlidingSync, SlidingSync } from './sliding-sync.js';
import { initialLimit, NO_ROOMS_FILTER } from './sync-query.js';
import type { SyncContext } from './sync-context.js';
import { requestJoinedRooms, syncOnce } from './sync-requests.js';
import { readSyncResponse } from './sync-response.js';
import type { ParsedSync, RoomChanges } from './sync-response.js';

/** Number of rooms in the first window, and in each later one. */
const FIRST_WINDOW_SIZE = 20;
const WINDOW_SIZE = 40;

/** Failed attempts in a row after which loading more rooms is postponed and the client polls without them. */
const LOAD_ATTEMPTS = 3;
const POSTPONE_BACKOFF = { baseDelayMs: 5_000, maxDelayMs: 600_000 };

export interface FastStartOptions {
  /** Whether sliding sync may be used. */
  readonly usesSlidingSync: boolean;
  /** Ids of the loaded rooms if the client was stopped before it had loaded all; undefined otherwise. */
  readonly loadedRooms: Iterable<string> | undefined;
  /** Whether more rooms may be loaded now. */
  readonly mayLoadRooms: () => boolean;
}

/** Rooms that are loaded together. */
interface RoomWindow {
  readonly sections: RoomSections;
  /** Whether all rooms are loaded once these are. */
  readonly isLast: boolean;
}

interface WindowWithSync {
  readonly sections: RoomSections;
  /** The events since the position. Empty if other rooms have to be loaded first. */
  readonly liveSync: readonly ParsedSync[];
}

/**
 * Starts a client with a few rooms and loads the others while the client is already live.
 *
 * A `/sync` without rooms gives the position. Sliding sync then loads a window of rooms; its cost depends on the rooms
 * it returns, not on the number of joined rooms. A plain `/sync` from the position returns the live events. They are
 * removed from the window, so the rest of the window is backlog, and no event after the position is lost.
 *
 * If the plain sync has events of a room that is not loaded, that room is loaded first and the plain sync is repeated.
 * If rooms cannot be loaded, the client polls without them: their live events are delivered, and their backlog follows
 * when they can be loaded.
 *
 * This file is a little long because the loaded, queued and unavailable rooms are one state.
 */
export class FastStart {
  readonly #context: SyncContext;
  readonly #options: FastStartOptions;
  readonly #slidingSync: SlidingSync;
  /** Only kept while other rooms are not loaded. */
  readonly #loadedRooms: Set<string>;
  /** Rooms that sliding sync was asked for and did not return. */
  readonly #unavailableRooms = new Set<string>();
  /** Rooms to load, after {@link #priorityRooms}. */
  #queuedRooms: string[] = [];
  /** Rooms to load first, because they have live events. */
  #priorityRooms: string[] = [];
  #hasUnloadedRooms: boolean;
  /** Whether the next window is preceded by a sync from the stored position, as after a restart with unloaded rooms. */
  #syncsFirst: boolean;
  #slidingSyncFailed = false;
  /** Failed attempts to load rooms, and the earliest time of the next one in milliseconds since the Unix epoch. */
  #failures = 0;
  #nextLoadAt = 0;

  constructor(context: SyncContext, options: FastStartOptions) {
    const { loadedRooms } = options;
    this.#context = context;
    this.#options = options;
    this.#slidingSync = new SlidingSync(context);
    this.#loadedRooms = new Set(loadedRooms);
    this.#hasUnloadedRooms = loadedRooms !== undefined;
    this.#syncsFirst = this.#hasUnloadedRooms;
  }

  /** Whether some of the user's rooms are not loaded. */
  get hasUnloadedRooms(): boolean {
    return this.#hasUnloadedRooms;
  }

  /** Whether rooms are not loaded and loading them has failed repeatedly. */
  get isRoomLoadFailing(): boolean {
    return this.#hasUnloadedRooms && this.#failures >= LOAD_ATTEMPTS;
  }

  /** Whether rooms are not loaded and may be loaded now. */
  get isRoomLoadDue(): boolean {
    const { clock } = this.#context;
    return this.#hasUnloadedRooms && this.#options.mayLoadRooms() && clock.now() >= this.#nextLoadAt;
  }

  /**
   * Loads the first rooms and the live events. Returns the syncs for the client to process, in order; undefined if the
   * homeserver does not offer a fast start.
   */
  async loadFirstRooms(): Promise<ParsedSync[] | undefined> {
    if (!(await this.#canUseSlidingSync())) return undefined;
    const position = await syncOnce(this.#context, { filter: NO_ROOMS_FILTER, isCatchUp: false });
    const window = await this.#tryFirstWindow();
    if (!window) return undefined;
    this.#hasUnloadedRooms = !window.isLast;
    const { sections, liveSync } = await this.#addLiveSync(window, position.batch.position, false);
    return [this.#roomsAsSync(sections, this.#hasUnloadedRooms && 'first-rooms', position.response), ...liveSync];
  }

  /**
   * Loads more rooms and the live events. Returns at least one sync for the client to process; undefined if loading is
   * postponed because it has failed repeatedly.
   * @param isCatchUp - whether the user missed the live events; their provenance is then `gap-fill`
   */
  async loadMoreRooms(since: string, isCatchUp: boolean): Promise<ParsedSync[] | undefined> {
    try {
      for (;;) {
        const { sections, liveSync } = await this.#addLiveSync(await this.#nextWindow(), since, isCatchUp);
        this.#failures = Math.min(this.#failures, LOAD_ATTEMPTS - 1); // after a postponement, a single failure postpones again
        const hasBackfill = sections.join.size > 0;
        const backfill = hasBackfill ? [this.#roomsAsSync(sections, 'late-rooms', { next_batch: since })] : [];
        if (backfill.length + liveSync.length > 0) return [...backfill, ...liveSync];
      }
    } catch (error) {
      if (!this.#postponesAfter(error)) throw error;
      return undefined;
    }
  }

  /** Records a failed load. Returns whether loading is now postponed. */
  #postponesAfter(error: unknown): boolean {
    const { clock, logger, userId, signal } = this.#context;
    if (signal.aborted || !isRetryable(failureClass(error)) || ++this.#failures < LOAD_ATTEMPTS) return false;
    const delayMs = retryDelayMs(error, this.#failures - LOAD_ATTEMPTS + 1, POSTPONE_BACKOFF);
    this.#nextLoadAt = clock.now() + delayMs;
    logger.warn({ userId, err: error, delayMs }, 'loading more rooms failed; polling without them for now');
    return true;
  }

  /** Updates the loaded and queued rooms from a plain sync. Returns the sync with its unloaded rooms marked. */
  recordPlainSync(sync: ParsedSync): ParsedSync {
    if (sync.batch.scope === 'all-rooms') this.#markAllRoomsLoaded();
    if (!this.#hasUnloadedRooms) return sync;
    const marked = this.markUnloadedRooms(sync, roomsWithFullState(sync));
    this.#syncsFirst = false;
    this.#loadFirst(marked, this.#priorityRooms);
    this.#updateLoadedRooms(sync);
    return marked;
  }

  /**
   * Marks the unloaded rooms: the changes have their live events, but neither their backlog nor their full state.
   * @param complete - rooms whose full state is in the changes, if the client processes them
   */
  markUnloadedRooms<Changes extends RoomChanges>(changes: Changes, complete: ReadonlySet<string> = new Set()): Changes {
    if (!this.#hasUnloadedRooms) return changes;
    const { batch, roomsToStore } = changes;
    const isUnloaded = ({ roomId, membership }: RoomBatch): boolean =>
      membership === 'join' && !this.#loadedRooms.has(roomId) && !complete.has(roomId);
    const rooms = batch.rooms.map((room) => (isUnloaded(room) ? { ...room, isAwaitingBackfill: true as const } : room));
    // A stored room counts as loaded, so the state of an unloaded room must not be stored.
    const stored = new Set(roomsToStore);
    for (const { roomId, isAwaitingBackfill } of rooms) if (isAwaitingBackfill) stored.delete(roomId);
    return { ...changes, batch: { ...batch, rooms }, roomsToStore: stored };
  }

  #markAllRoomsLoaded(): void {
    this.#hasUnloadedRooms = false;
    this.#loadedRooms.clear();
    this.#unavailableRooms.clear();
    this.#queuedRooms = [];
    this.#priorityRooms = [];
  }

  /** Loads the queued rooms first, and the unloaded ones of the sync, except those that sliding sync does not return. */
  #loadFirst({ batch }: ParsedSync, queued: readonly string[]): void {
    const unloaded = batch.rooms.filter(({ isAwaitingBackfill }) => isAwaitingBackfill).map(({ roomId }) => roomId);
    const roomIds = new Set([...queued, ...unloaded]);
    this.#priorityRooms = [...roomIds].filter((roomId) => !this.#unavailableRooms.has(roomId));
  }

  #updateLoadedRooms(sync: ParsedSync): void {
    for (const roomId of roomsWithFullState(sync)) this.#loadedRooms.add(roomId);
    for (const { roomId, membership } of sync.batch.rooms) {
      if (membership === 'leave') this.#loadedRooms.delete(roomId);
    }
  }

  async #canUseSlidingSync(): Promise<boolean> {
    return this.#options.usesSlidingSync && !this.#slidingSyncFailed && offersSlidingSync(this.#context);
  }

  /** The first window; undefined if sliding sync fails, so that the client starts with a plain sync. */
  async #tryFirstWindow(): Promise<RoomWindow | undefined> {
    return this.#trySlidingSync(this.#slidingSync.mostRecent(FIRST_WINDOW_SIZE), isOutage);
  }

  /** The next unloaded rooms; those with live events come first. */
  async #nextWindow(): Promise<RoomWindow> {
    if (this.#syncsFirst) return { sections: noSections(), isLast: false };
    const canLoad = (roomId: string): boolean => !this.#loadedRooms.has(roomId) && !this.#unavailableRooms.has(roomId);
    if (![...this.#priorityRooms, ...this.#queuedRooms].some(canLoad)) {
      const message = 'requesting the joined rooms failed; loading all rooms with one plain sync';
      const joined = await this.#orUndefined(requestJoinedRooms(this.#context), shouldWaitForHomeserver, message);
      if (!joined) return this.#loadAllRooms();
      this.#queuedRooms = joined.filter((roomId) => !this.#loadedRooms.has(roomId));
      if (this.#queuedRooms.length === 0) return { sections: noSections(), isLast: true };
    }
    const next = new Set([...this.#priorityRooms, ...this.#queuedRooms.filter(canLoad)]);
    return this.#loadRooms([...next].slice(0, WINDOW_SIZE));
  }

  /** Loads these rooms by sliding sync; if it fails, loads all other rooms by a plain sync. */
  async #loadRooms(roomIds: readonly string[]): Promise<RoomWindow> {
    if (roomIds.length === 0 || !(await this.#canUseSlidingSync())) return this.#loadAllRooms();
    const sections = await this.#trySlidingSync(this.#slidingSync.rooms(roomIds), shouldWaitForHomeserver);
    if (!sections) return this.#loadAllRooms();
    for (const roomId of roomIds) if (!sections.join.has(roomId)) this.#unavailableRooms.add(roomId);
    return { sections, isLast: false };
  }

  /** Like {@link #orUndefined}. Sliding sync is not used any more after a failure. */
  async #trySlidingSync<T>(request: Promise<T>, mustWait: (error: unknown) => boolean): Promise<T | undefined> {
    const result = await this.#orUndefined(request, mustWait, 'sliding sync failed; using plain syncs');
    this.#slidingSyncFailed = result === undefined;
    return result;
  }

  /** Resolves to undefined if the request fails. Rejects if the client was stopped or `mustWait` returns true. */
  async #orUndefined<T>(
    request: Promise<T>,
    mustWait: (error: unknown) => boolean,
    message: string,
  ): Promise<T | undefined> {
    const { signal, logger, userId } = this.#context;
    try {
      return await request;
    } catch (error) {
      if (signal.aborted || mustWait(error)) throw error;
      logger.warn({ userId, err: error }, message);
      return undefined;
    }
  }

  /** Loads all unloaded rooms with one plain initial sync, which is slow. */
  async #loadAllRooms(): Promise<RoomWindow> {
    const { response } = await syncOnce(this.#context, { isCatchUp: false });
    const unloaded = Object.entries(response.rooms.join ?? {}).filter(([roomId]) => !this.#loadedRooms.has(roomId));
    return { sections: { ...noSections(), join: new Map(unloaded) }, isLast: true };
  }

  /**
   * Makes a plain sync from `since`, and removes the events of that sync from the window. If the sync has events of rooms
   * that are not loaded, these rooms are queued first and no sync is returned. Notes the window's rooms as loaded.
   */
  async #addLiveSync({ sections, isLast }: RoomWindow, since: string, isCatchUp: boolean): Promise<WindowWithSync> {
    const sync = await syncOnce(this.#context, { since, isCatchUp });
    const backlog = withoutLiveEvents(sections, sync);
    for (const roomId of backlog.join.keys()) this.#loadedRooms.add(roomId);
    this.#syncsFirst = false;
    if (isLast) this.#markAllRoomsLoaded();
    const marked = this.markUnloadedRooms(sync, roomsWithFullState(sync));
    this.#loadFirst(marked, []);
    if (this.#priorityRooms.length > 0) return { sections: backlog, liveSync: [] };
    this.#updateLoadedRooms(sync);
    return { sections: backlog, liveSync: [marked] };
  }

  /** The loaded rooms as a sync without live events, with the other parts of `response`. */
  #roomsAsSync(
    { join, invite }: RoomSections,
    scope: 'first-rooms' | 'late-rooms' | false,
    response: { readonly next_batch: string },
  ): ParsedSync {
    const { userId, timelineLimit } = this.#context;
    const data = { ...response, rooms: { join: Object.fromEntries(join), invite: Object.fromEntries(invite) } };
    const options = { userId, since: undefined, isCatchUp: false, timelineLimit: initialLimit(timelineLimit) };
    const parsed = readSyncResponse(data, options);
    return { ...parsed, batch: { ...parsed.batch, ...(scope && { scope }) } };
  }
}

function isOutage(error: unknown): boolean {
  return failureClass(error) === 'unavailable';
}

/**
 * Whether to repeat the request later: the homeserver is down or busy, or the access token has to be renewed. After a
 * time-out or an invalid response a plain sync is used instead, because sliding sync may never work there.
 */
function shouldWaitForHomeserver(error: unknown): boolean {
  if (!isManagerError(error) || error.code === 'INVALID_RESPONSE' || error.code === 'TIMEOUT') return false;
  const { status } = error;
  return status === undefined || status === 401 || status === 429 || [502, 503, 504].includes(status);
}
