import { ClientEvent, createClient, Filter, SyncState } from 'matrix-js-sdk';
import type { ISyncResponse, MatrixClient } from 'matrix-js-sdk';
import { abortedError, orTimeout } from '../core/abort.js';
import type { Credentials } from '../core/credentials.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { nextEventLoopTurn } from '../core/event-loop.js';
import { runAllSteps } from '../core/run-all-steps.js';
import type { EventBatch, EventReceiver } from '../core/ports/event-source.js';
import type { SessionEngine } from '../core/ports/user-engine.js';
import { isObject } from '../core/raw-event.js';
import type { Trace } from '../core/diagnostics.js';
import type { UserEncryption } from './crypto/user-encryption.js';
import type { StoredCheckpoint } from '../storage/checkpoint.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import { sdkFetch } from '../http/sdk-fetch.js';
import type { Session } from '../http/session.js';
import { clientFailure } from '../sync/client-failure.js';
import { FastStart } from '../sync/fast-start.js';
import { interceptSdkRequests } from './intercepted-requests.js';
import { sdkLogger, silenceSdkRootLogger } from './sdk-logger.js';
import { removeRoomsWithFullState } from './remove-rooms-with-full-state.js';
import { loadedRoomsIfPartial, resumeData, resumePosition, savedSync } from './room-snapshots.js';
import { DeletedRoomCheck } from './deleted-room-check.js';
import { MissedEventsSync } from '../sync/missed-events-sync.js';
import { gapsOfAllRooms } from './gaps-of-all-rooms.js';
import type { SyncedClient } from '../sync/missed-events-sync.js';
import { initialLimit, syncLimit, uncachedFilter } from '../sync/sync-query.js';
import type { SyncContext } from '../sync/sync-context.js';
import { SyncRequests } from '../sync/sync-requests.js';
import type { SyncQuery } from '../sync/sync-requests.js';
import { SyncPoll } from '../sync/sync-poll.js';
import type { SyncResult } from '../sync/sync-poll.js';
import type { OnSdkFailure } from './sdk-containment.js';
import { assertClientSurface } from './private-surface.js';
import { SdkFeed } from './sdk-feed.js';
import { SyncStore } from './sync-store.js';
import { dropKnownEvents, trimTimelines } from './sdk-timelines.js';

/** The settings of clients that poll. */
export interface SyncSettings {
  /** Whether to start with a few rooms if the homeserver supports sliding sync. */
  readonly slidingSync: boolean;
  /** Events kept in memory per room. */
  readonly timelineLimit: number;
  /** How long the homeserver may hold a sync that has no events, in milliseconds. */
  readonly pollTimeoutMs: number;
  /** How long the sync for missed events may fail while the homeserver answers other requests, in milliseconds. */
  readonly gapFillTimeoutMs: number;
}

/** The user of a client. */
export interface SyncUser {
  readonly credentials: Credentials;
  readonly session: Session;
  /** The stored position and rooms to resume from. */
  readonly stored: StoredCheckpoint;
  /** The device's encryption, loaded but not opened. Undefined: the client cannot decrypt. */
  readonly encryption: UserEncryption | undefined;
  /** Called when the connection to the homeserver is lost and when it is back. */
  readonly onReachableChanged: (connected: boolean) => void;
  /** Called once when a running client fails permanently, for example because its session has ended. */
  readonly onFatal: (error: MatrixClientManagerError) => void;
}

/** Time limit of each step of a stop, in milliseconds. Requests are aborted before, so a step is usually short. */
const STOP_STEP_MS = 30_000;

type Phase = 'new' | 'starting' | 'running' | 'closing';

/**
 * One user's matrix-js-sdk client. Its sync loop ends only when {@link SyncClient.stop} is called.
 *
 * The SDK sends each `/sync` through `matrixClient.http`. That call is replaced: {@link SyncPoll} sends the request with
 * its own deadline, back-off and checks, and the call rejects only after the SDK was told to stop. So the SDK's own
 * recovery, which waits up to ten seconds on timers of its own, never runs, and its 110-second timer per poll is not set.
 *
 * This file is long because starting, polling and stopping the SDK depend on each other.
 */
export class SyncClient implements SessionEngine<MatrixClient> {
  readonly #matrixClient: MatrixClient;
  readonly #context: HomeserverContext;
  readonly #settings: SyncSettings;
  readonly #user: Omit<SyncUser, 'stored'>;
  readonly #userId: string;
  readonly resumesFrom: string | undefined;
  /** Aborts every request except the poll. */
  readonly #requestsAbort = new AbortController();
  /** Aborts the poll. Fires after the SDK was told to stop, so that the SDK's loop ends at the rejected request. */
  readonly #pollAbort = new AbortController();
  readonly #firstSync = Promise.withResolvers<void>();
  readonly #loopEnded = Promise.withResolvers<void>();
  #phase: Phase = 'new';
  #receiver: EventReceiver | undefined;
  #started: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;
  #hasPolled = false;
  readonly #poll: SyncPoll;
  readonly #fastStart: FastStart;
  readonly #missedEventsSync: MissedEventsSync;
  readonly #deletedRooms: DeletedRoomCheck;
  readonly #feed: SdkFeed;
  /** The result that the SDK is processing. */
  #pending: SyncResult | undefined;
  /** Whether the stored position was saved before all rooms were loaded. */
  #storedWithUnloadedRooms: boolean;
  #accountDataChanged = false;
  /** Whether parts of the pending result were held back from the SDK. */
  #wasHeldBack = false;
  /** The trace of the pending result. */
  #trace: Trace<'sync'> | undefined;
  /** The counts of the device's one-time and fallback keys, as in the last sync response. */
  #deviceKeyCounts: object = {};

  constructor(context: HomeserverContext, settings: SyncSettings, user: SyncUser) {
    const { stored, ...rest } = user; // large, and needed only in the constructor
    const { credentials, session, encryption } = user;
    const { logger, diagnostics } = context;
    const { userId } = credentials;
    const { timelineLimit } = settings;
    this.#context = context;
    this.#settings = settings;
    this.#user = rest;
    this.#userId = userId;
    this.resumesFrom = resumePosition(stored);
    const saved = savedSync(stored);
    this.#firstSync.promise.catch(() => {}); // start() may not await it any more
    silenceSdkRootLogger();
    this.#matrixClient = createClient({
      baseUrl: context.http.homeserverUrl,
      userId,
      deviceId: credentials.deviceId,
      accessToken: credentials.accessToken,
      store: new SyncStore(saved, (data) => this.#deliverPending(data)),
      fetchFn: sdkFetch(context, session, this.#requestsAbort.signal),
      logger: sdkLogger(logger, userId),
      disableVoip: true,
    });
    assertClientSurface(this.#matrixClient); // before parts of the client are replaced
    const onSdkFailure: OnSdkFailure = (error, roomId) => {
      diagnostics.publish('malformed', { parts: 1 });
      logger.warn({ userId, roomId, err: error }, 'the SDK failed to process a part of a sync; skipping that part');
    };
    this.#feed = new SdkFeed(this.#matrixClient, saved, onSdkFailure, encryption !== undefined);
    const loadedRooms = loadedRoomsIfPartial(stored);
    this.#storedWithUnloadedRooms = loadedRooms !== undefined;
    const syncContext: SyncContext = { ...context, userId, session, timelineLimit, signal: this.#pollAbort.signal };
    const requests = new SyncRequests(syncContext, () => this.#phase === 'running');
    const fastStart = new FastStart(syncContext, requests, {
      // The second sync of a fast start confirms the to-device messages of the first. The SDK does not have them yet, so
      // a crash in between would lose them. A new device has none.
      usesSlidingSync: settings.slidingSync && encryption?.wasNew !== false,
      loadedRooms,
      // Meanwhile batches of polls are not delivered, because the missed events come before them.
      mayLoadRooms: () => !this.#missedEventsSync.blocksDelivery,
    });
    this.#fastStart = fastStart;
    this.#deletedRooms = new DeletedRoomCheck(this.#matrixClient, requests, logger, stored.since !== undefined);
    const { gapFillTimeoutMs } = settings;
    this.#missedEventsSync = new MissedEventsSync(syncContext, requests, { fastStart, gapFillTimeoutMs });
    this.#poll = new SyncPoll(syncContext, requests, {
      fastStart,
      resumesFrom: this.resumesFrom,
      hasDeliveredBefore: stored.lastDelivered.size > 0,
      encryption,
      isStarting: () => this.#phase === 'starting',
      onReachableChanged: (connected) => {
        if (this.#phase !== 'closing') user.onReachableChanged(connected);
      },
      onFailure: (error) => this.#fail(error),
    });
    interceptSdkRequests(this.#matrixClient, {
      sync: (query) => {
        this.#hasPolled = true;
        return this.#syncForSdk(query);
      },
      versions: () => context.versions.get(this.#requestsAbort.signal),
      isStarting: () => this.#phase === 'starting',
    });
    this.#matrixClient.on(ClientEvent.SyncUnexpectedError, (error) => {
      logger.error({ userId, err: error }, 'the SDK failed to process a sync');
    });
    this.#matrixClient.on(ClientEvent.Sync, (state) => {
      if (state === SyncState.Stopped) this.#loopEnded.resolve();
    });
  }

  /** Time of the last successful sync, in milliseconds since the Unix epoch. */
  get lastSyncAt(): number | undefined {
    return this.#poll.lastSyncAt;
  }

  /** Whether the client is connected, is not resting, and has processed all received events. */
  get isCurrent(): boolean {
    return this.#poll.isCurrent && this.#pending === undefined;
  }

  get hasUnloadedRooms(): boolean {
    return this.#fastStart.hasUnloadedRooms;
  }

  /** Whether rooms or missed events are absent because loading them has failed. */
  get isIncomplete(): boolean {
    return this.#fastStart.isRoomLoadFailing || this.#missedEventsSync.isFailing;
  }

  async sdkClient(): Promise<MatrixClient> {
    return this.sdkClientIfMade();
  }

  /**
   * Returns the SDK's client, which exists from the beginning. The first call passes everything to it that was held back,
   * and ends the saving of memory and CPU for this user: call it only for the application.
   */
  sdkClientIfMade(): MatrixClient {
    this.#feed.passEverything((roomId) => this.#receiver?.timelineOf(roomId));
    return this.#matrixClient;
  }

  /** Whether the room's `m.room.encryption` event was received. */
  hasEncryptionEvent(roomId: string): boolean {
    return this.#matrixClient.getRoom(roomId)?.hasEncryptionStateEvent() === true;
  }

  fetchMissedEvents(backlog: boolean): void {
    this.#missedEventsSync.request(backlog);
  }

  /** Checks for deleted rooms before the next poll; call it when the homeserver has refused a request for a room. */
  checkRooms(): void {
    this.#deletedRooms.request();
  }

  /** See {@link SyncPoll.rest}. */
  rest(pollIntervalMs: number): void {
    this.#poll.rest(pollIntervalMs);
  }

  /** See {@link SyncPoll.wake}. */
  wake(): void {
    this.#poll.wake();
  }

  connect(receiver: EventReceiver): void {
    this.#receiver = receiver;
  }

  async openEncryption(): Promise<void> {
    const resumes = this.resumesFrom !== undefined;
    await this.#user.encryption?.open(this.#matrixClient, resumes, (error) => this.#fail(error));
  }

  /** Resolves when the first sync was processed. After a rejection, call {@link stop}. */
  async start(signal: AbortSignal): Promise<void> {
    const { timelineLimit, pollTimeoutMs } = this.#settings;
    this.#phase = 'starting';
    const abort = (): void => this.#firstSync.reject(abortedError(`starting ${this.#userId}`, signal.reason));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    try {
      if (!signal.aborted) {
        const started = this.#matrixClient.startClient({
          initialSyncLimit: initialLimit(timelineLimit),
          pollTimeout: pollTimeoutMs,
          lazyLoadMembers: true,
          disablePresence: true,
          filter: Filter.fromJson(this.#userId, '', { room: { timeline: { limit: syncLimit(timelineLimit) } } }),
        });
        this.#started = started.catch((error: unknown) => this.#fail(clientFailure(error, this.#userId)));
      }
      await this.#firstSync.promise;
      this.#phase = 'running';
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /**
   * Resolves when no request, timer or listener of the client is left. If steps fail, the other steps still run, and the
   * promise rejects at the end with the errors. Idempotent.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** Every step runs even if earlier ones fail, so that a half-stopped client does not go on syncing. */
  async #stop(): Promise<void> {
    const matrixClient = this.#matrixClient;
    const { encryption } = this.#user;
    this.#phase = 'closing';
    this.#firstSync.reject(abortedError(`starting ${this.#userId}`));
    this.#requestsAbort.abort();
    await runAllSteps(
      [
        // startClient() would undo a stopClient() that is called while it runs. A start-up request that has just failed
        // sets a keep-alive timer a few microtasks later. Both are awaited, so that stopClient() can clear everything.
        () => this.#withStepTimeout(this.#started, 'startClient()'),
        nextEventLoopTurn,
        () => this.#withStepTimeout(encryption?.shutDown(), 'the encryption'),
        () => matrixClient.stopClient(),
        () => this.#pollAbort.abort(),
        () => {
          // After shutDown(), the SDK's calls to its encryption never resolve, so its loop may wait for one forever.
          const isStuck = encryption !== undefined && this.#pending !== undefined;
          return this.#hasPolled && !isStuck
            ? this.#withStepTimeout(this.#loopEnded.promise, 'the sync loop')
            : undefined;
        },
        nextEventLoopTurn,
        () => matrixClient.http.abort(),
        () => {
          for (const room of matrixClient.store.getRooms()) {
            room.removeAllListeners();
            room.currentState.removeAllListeners();
          }
          matrixClient.removeAllListeners();
        },
        () => this.#withStepTimeout(encryption?.close(), 'the release of its keys'),
      ],
      `stopping ${this.#userId}`,
    );
  }

  /** Awaits a step of the stop. Rejects with `TIMEOUT` after {@link STOP_STEP_MS}. */
  async #withStepTimeout(step: Promise<void> | undefined, name: string): Promise<void> {
    const message = `stopping ${this.#userId}: ${name} did not end within ${STOP_STEP_MS} ms`;
    const timeoutError = (): MatrixClientManagerError =>
      new MatrixClientManagerError('TIMEOUT', message, { userId: this.#userId });
    if (step) await orTimeout(step, this.#context.clock, STOP_STEP_MS, timeoutError);
  }

  /**
   * Resolves with the next sync that has data for the SDK. Other syncs, such as those with messages only, go to delivery
   * without the SDK. Rejects when the client is stopped.
   */
  async #syncForSdk(query: SyncQuery): Promise<ISyncResponse> {
    for (let { since } = query; ;) {
      const result = await this.#next({ ...query, since });
      const response = this.#prepareForSdk(result);
      // A query without a timeout means that the SDK is starting or catching up; it needs this response.
      if (this.#phase !== 'running' || !query.timeout || this.#feed.hasDataForSdk(response)) return response;
      since = response.next_batch;
      this.#matrixClient.store.setSyncToken(since);
      await this.#deliverPending(response);
    }
  }

  /** Fetches missed events and checks for deleted rooms if needed, then resolves with the next sync. */
  async #next(query: SyncQuery): Promise<SyncResult> {
    const { since } = query;
    const missedEventsSync = this.#missedEventsSync;
    if (since === undefined) return this.#poll.next(query);
    for (;;) {
      if (this.#receiver) await missedEventsSync.run(this.#syncedClient(this.#receiver, String(since)));
      const { signal } = missedEventsSync;
      try {
        const canCheck =
          this.#phase === 'running' &&
          !this.#fastStart.hasUnloadedRooms &&
          !missedEventsSync.blocksDelivery &&
          !this.#poll.hasQueuedResult;
        const suspects = canCheck ? await this.#deletedRooms.findSuspects(signal) : new Set<string>();
        if (suspects.size === 0) return await this.#poll.next(query, signal);
        // A cached response would lack the newest events, such as the user's own leave.
        const filter = uncachedFilter(String(query.filter));
        const result = await this.#poll.next({ ...query, filter, timeout: 0 }, signal);
        return { ...result, sync: this.#deletedRooms.remove(result.sync, suspects) };
      } catch (error) {
        if (!signal.aborted || this.#pollAbort.signal.aborted) throw error;
      }
    }
  }

  /** The SDK's current state, which belongs to `position`. */
  #syncedClient(receiver: EventReceiver, position: string): SyncedClient {
    const matrixClient = this.#matrixClient;
    return {
      receiver,
      toBatch: ({ batch, roomsToStore }) => {
        const held = this.#feed.heldAccountData();
        const resume = resumeData(matrixClient, batch, roomsToStore, true, this.#storedWithUnloadedRooms, held);
        return { ...batch, position, ...(resume && { resume }) };
      },
      gapsSince: (since = position) => gapsOfAllRooms(matrixClient, position, since),
    };
  }

  #prepareForSdk(result: SyncResult): ISyncResponse {
    const { sync, durationMs } = result;
    const { malformed, batch, kind } = sync;
    const response = sync.response as unknown as ISyncResponse;
    const { logger, diagnostics } = this.#context;
    if (malformed > 0) {
      diagnostics.publish('malformed', { parts: malformed });
      logger.warn({ userId: this.#userId, malformed }, 'left out malformed parts of a sync');
    }
    const { account_data: accountData } = response;
    this.#accountDataChanged = isObject(accountData) && Boolean(accountData.events?.length);
    this.#keepDeviceKeyCounts(response, batch.scope === 'late-rooms');
    for (const roomId of removeRoomsWithFullState(this.#matrixClient, sync))
      this.#user.encryption?.dropRoomEncryptor(roomId);
    this.#feed.holdBack(response);
    dropKnownEvents(this.#matrixClient, response);
    this.#wasHeldBack = !this.#feed.isComplete;
    this.#pending = result;
    diagnostics.publish('syncReceived', { kind, durationMs });
    this.#trace = diagnostics.begin('sync', { userId: this.#userId, kind, waitMs: durationMs, ...sizeOf(batch) });
    return response;
  }

  /**
   * Delivers the pending batch with its resume data, once the SDK has processed it or if it has no data for the SDK.
   * Then ends a start. The SDK's next sync waits for this.
   */
  async #deliverPending(data: ISyncResponse): Promise<void> {
    const pending = this.#pending;
    const trace = this.#trace;
    this.#pending = undefined;
    const isPending = (pending?.sync.response as unknown) === data;
    if (!pending || !isPending || this.#phase === 'closing') return;
    const { sync, hasUnloadedRooms } = pending;
    const { encryption } = this.#user;
    // The keys of this sync are not stored, so its position must not be stored either; the next start repeats the sync.
    if (encryption?.failure) return this.#fail(encryption.failure);
    encryption?.synced(Boolean(data.device_lists?.changed?.length));
    const roomIds = sync.batch.rooms.map(({ roomId }) => roomId);
    trimTimelines(this.#matrixClient, roomIds, this.#settings.timelineLimit);
    this.#feed.trimState(sync.roomsToStore);
    try {
      const storeAccountData = this.#accountDataChanged || hasUnloadedRooms !== this.#storedWithUnloadedRooms;
      this.#storedWithUnloadedRooms = hasUnloadedRooms;
      const held = storeAccountData ? this.#feed.heldAccountData() : [];
      const resume = resumeData(
        this.#matrixClient,
        sync.batch,
        sync.roomsToStore,
        storeAccountData,
        hasUnloadedRooms,
        held,
      );
      const deliver = async (): Promise<void> => {
        if (this.#missedEventsSync.blocksDelivery) this.#receiver?.acceptUndelivered(sync.batch);
        else await this.#receiver?.accept({ ...sync.batch, ...(resume && { resume }) });
      };
      const delivered = trace ? trace.run(deliver) : deliver();
      // The application has asked for the client after parts of this sync were held back.
      if (this.#wasHeldBack && this.#feed.isComplete) this.#feed.fillTimelines(roomIds);
      await delivered;
    } catch (error) {
      this.#fail(clientFailure(error, this.#userId));
    }
    if (this.#phase === 'starting') await encryption?.publishKeys();
    this.#firstSync.resolve();
  }

  /** Adds the last key counts to a response that the library made: the SDK would read missing counts as zero. */
  #keepDeviceKeyCounts(response: ISyncResponse, isLibraryMade: boolean): void {
    const { device_one_time_keys_count: count, device_unused_fallback_key_types: fallback } = response;
    if (isLibraryMade) Object.assign(response, this.#deviceKeyCounts);
    else if (this.#user.encryption) {
      this.#deviceKeyCounts = { device_one_time_keys_count: count, device_unused_fallback_key_types: fallback };
    }
  }

  #fail(error: MatrixClientManagerError): void {
    if (this.#phase === 'closing') return;
    if (this.#phase === 'running') this.#user.onFatal(error);
    else this.#firstSync.reject(error);
  }
}

function sizeOf({ rooms, invites }: EventBatch): { readonly rooms: number; readonly events: number } {
  const events = rooms.reduce((sum, { timeline, ephemeral }) => sum + timeline.length + ephemeral.length, 0);
  return { rooms: rooms.length, events: events + invites.length };
}
