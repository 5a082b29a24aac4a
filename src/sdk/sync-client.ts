import { ClientEvent, createClient, Filter, SyncState } from 'matrix-js-sdk';
import type { ISyncResponse, MatrixClient } from 'matrix-js-sdk';
import { abortedError, onAbort, orTimeout, throwIfAborted } from '../core/abort.js';
import type { Credentials } from '../core/credentials.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { nextEventLoopTurn } from '../core/event-loop.js';
import { readMemberProfile } from '../core/member-profile.js';
import type { MemberProfile } from '../core/member-profile.js';
import { runAllSteps } from '../core/run-all-steps.js';
import type { EventBatch, EventReceiver } from '../core/ports/event-source.js';
import type { KnownRoom } from '../core/ports/known-room.js';
import type { EventContent } from '../core/raw-event.js';
import type { SessionEngine } from '../core/ports/user-engine.js';
import type { Trace } from '../core/diagnostics.js';
import type { UserEncryption } from './crypto/user-encryption.js';
import type { StoredCheckpoint } from '../storage/checkpoint.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import { sdkFetch } from '../http/sdk-fetch.js';
import type { Session } from '../http/session.js';
import { encryptionEvents } from '../sync/encryption-events.js';
import { clientFailure, SyncPoll } from '../sync/sync-poll.js';
import { FastStart } from '../sync/fast-start.js';
import { refuseClearText } from './clear-text-guard.js';
import { interceptSdkRequests } from './intercepted-requests.js';
import { sdkLogger, silenceSdkRootLogger } from './sdk-logger.js';
import { readCheckpoint, resumeData } from './room-snapshots.js';
import { DeletedRoomCheck } from './deleted-room-check.js';
import { knownRooms } from './known-rooms.js';
import { MissedEventsSync } from '../sync/missed-events-sync.js';
import { gapsOfAllRooms } from './gaps-of-all-rooms.js';
import type { SyncedClient } from '../sync/missed-events-sync.js';
import { initialLimit, syncLimit } from '../sync/sync-query.js';
import type { SyncContext, SyncSettings } from '../sync/sync-context.js';
import type { SyncQuery } from '../sync/sync-requests.js';
import type { SyncResult } from '../sync/sync-poll.js';
import { UnreadCounts } from '../sync/unread-counts.js';
import { requestUnreadCounts } from '../sync/unread-request.js';
import { assertClientSurface } from './private-surface.js';
import { SdkFeed } from './sdk-feed.js';
import { SyncStore } from './sync-store.js';
import { UnreadSnapshots } from './unread-snapshots.js';

/** The user of a client. */
export interface SyncUser {
  readonly credentials: Credentials;
  readonly session: Session;
  /** The stored position and rooms to resume from. */
  readonly stored: StoredCheckpoint;
  /** The device's encryption, loaded but not opened. Undefined: the client cannot decrypt. */
  readonly encryption: UserEncryption | undefined;
  /** Whether a callback asks for presence events. Asked before each sync. @default none does */
  readonly wantsPresence?: () => boolean;
  /** Called when the connection to the homeserver is lost and when it is back. */
  readonly onReachableChanged: (connected: boolean) => void;
  /** Called once when a running client fails permanently, for example because its session has ended. */
  readonly onFatal: (error: MatrixClientManagerError) => void;
}

/** Time limit of each step of a stop, in milliseconds. Requests are aborted before, so a step is usually short. */
const STOP_STEP_MS = 30_000;

type Phase = 'new' | 'starting' | 'running' | 'closing';

/** The sync that the SDK is processing. */
interface PendingSync {
  readonly sync: SyncResult;
  readonly trace: Trace<'sync'>;
  readonly hasAccountData: boolean;
  /** Whether parts of the sync were held back from the SDK. */
  readonly wasHeldBack: boolean;
}

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
  readonly #context: SyncContext;
  readonly #user: Omit<SyncUser, 'stored'>;
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
  /** Whether the last sync asked for presence. */
  #asksForPresence = false;
  readonly #poll: SyncPoll;
  readonly #fastStart: FastStart;
  readonly #missedEventsSync: MissedEventsSync;
  readonly #deletedRooms: DeletedRoomCheck;
  readonly #feed: SdkFeed;
  readonly unread: UnreadCounts;
  readonly #unreadSnapshots: UnreadSnapshots;
  #pending: PendingSync | undefined;
  /** Whether the stored position was saved before all rooms were loaded. */
  #storedWithUnloadedRooms: boolean;

  constructor(homeserver: HomeserverContext, settings: SyncSettings, { stored, ...user }: SyncUser) {
    const { credentials, session, encryption } = user;
    const { logger } = homeserver;
    const { userId } = credentials;
    const isStarting = (): boolean => this.#phase === 'starting';
    const { signal } = this.#pollAbort;
    // An application that has asked for the SDK's client may read presence from it.
    const wantsPresence = (): boolean => (this.#asksForPresence = user.wantsPresence?.() || this.#feed.isComplete);
    const context = { ...settings, ...homeserver, userId, session, signal, isStarting, wantsPresence };
    this.#context = context;
    this.#user = user; // without `stored`, which is large
    const { resumesFrom, savedSync, loadedRooms, unread } = readCheckpoint(stored);
    this.unread = new UnreadCounts(unread, () => this.#feed.showUnread(this.unread.entries()));
    this.#unreadSnapshots = new UnreadSnapshots(this.unread);
    this.resumesFrom = resumesFrom;
    this.#firstSync.promise.catch(() => {}); // start() may not await it any more
    silenceSdkRootLogger();
    const matrixClient = createClient({
      baseUrl: context.http.homeserverUrl,
      userId,
      deviceId: credentials.deviceId,
      accessToken: credentials.accessToken,
      store: new SyncStore(savedSync, (data) => this.#deliverPending(data)),
      fetchFn: sdkFetch(context, session, this.#requestsAbort.signal),
      logger: sdkLogger(logger, userId),
      disableVoip: true,
    });
    this.#matrixClient = matrixClient;
    assertClientSurface(matrixClient); // before parts of the client are replaced
    this.#feed = new SdkFeed(matrixClient, context, savedSync, encryption !== undefined);
    this.#storedWithUnloadedRooms = loadedRooms !== undefined;
    this.#fastStart = new FastStart(context, {
      // The second sync of a fast start confirms the to-device messages of the first. The SDK does not have them yet, so
      // a crash in between would lose them. A new device has none.
      usesSlidingSync: settings.slidingSync && encryption?.wasNew !== false,
      loadedRooms,
      // Meanwhile batches of polls are not delivered, because the missed events come before them.
      mayLoadRooms: () => !this.#missedEventsSync.blocksDelivery,
    });
    this.#missedEventsSync = new MissedEventsSync(context, this.#fastStart);
    this.#deletedRooms = new DeletedRoomCheck(matrixClient, context, stored.since !== undefined);
    this.#poll = new SyncPoll(context, {
      fastStart: this.#fastStart,
      resumesFrom,
      hasDeliveredBefore: stored.lastDelivered.size > 0,
      encryption,
      onReachableChanged: (connected) => {
        if (this.#phase !== 'closing') user.onReachableChanged(connected);
      },
      onFailure: (error) => this.#fail(error),
    });
    const readVersions = (): Promise<unknown> => context.versions.get(this.#requestsAbort.signal);
    interceptSdkRequests(matrixClient, isStarting, (query) => this.#syncForSdk(query), readVersions);
    refuseClearText(matrixClient, {
      userId,
      hasEncryption: encryption !== undefined,
      isKnownEncrypted: async (roomId) =>
        (await settings.encryptedRooms.has(roomId)) || (await encryption?.knowsEncryption(roomId)) === true,
    });
    matrixClient.on(ClientEvent.SyncUnexpectedError, (error) => {
      logger.error({ userId, err: error }, 'the SDK failed to process a sync');
    });
    matrixClient.on(ClientEvent.Sync, (state) => {
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
    if (!this.#feed.isComplete && !this.unread.isComplete) void this.#completeUnread();
    this.#feed.passEverything((roomId) => this.#receiver?.timelineOf(roomId));
    return this.#matrixClient;
  }

  /** Requests the unread counts that sliding sync leaves out, for the SDK's rooms. */
  async #completeUnread(): Promise<void> {
    const { http, session, limits, logger, userId } = this.#context;
    try {
      const request = { http, session, timeoutMs: limits.startTimeoutMs };
      this.unread.complete(await requestUnreadCounts(request, this.#requestsAbort.signal));
    } catch (error) {
      logger.debug(
        { userId, err: error },
        'the unread counts could not be read; the SDK has those of changed rooms only',
      );
    }
  }

  /** Whether the room's `m.room.encryption` event was received. */
  hasEncryptionEvent(roomId: string): boolean {
    return this.#matrixClient.getRoom(roomId)?.hasEncryptionStateEvent() === true;
  }

  memberOf(roomId: string, userId: string): MemberProfile | undefined {
    const event = this.#matrixClient.getRoom(roomId)?.currentState.getStateEvents('m.room.member', userId);
    return event ? readMemberProfile(event.getContent()) : undefined;
  }

  rooms(): KnownRoom[] {
    return knownRooms(this.#matrixClient);
  }

  accountData(type: string): EventContent | undefined {
    return this.#matrixClient.store.accountData.get(type)?.getContent();
  }

  fetchMissedEvents(backlog: boolean): void {
    this.#missedEventsSync.request(backlog);
  }

  askForPresence(): void {
    if (!this.#asksForPresence) this.#missedEventsSync.repeatPoll();
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
    const { timelineLimit, pollTimeoutMs, userId } = this.#context;
    const operation = `starting ${userId}`;
    throwIfAborted(signal, operation);
    this.#phase = 'starting';
    const started = this.#matrixClient.startClient({
      initialSyncLimit: initialLimit(timelineLimit),
      pollTimeout: pollTimeoutMs,
      lazyLoadMembers: true,
      disablePresence: true,
      filter: Filter.fromJson(userId, '', { room: { timeline: { limit: syncLimit(timelineLimit) } } }),
    });
    this.#started = started.catch((error: unknown) => this.#fail(clientFailure(error, userId)));
    const removeListener = onAbort(signal, () => this.#firstSync.reject(abortedError(operation, signal.reason)));
    try {
      await this.#firstSync.promise; // without a detour: the caller may request missed events before the next poll
    } finally {
      removeListener();
    }
    this.#phase = 'running';
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
    const { userId } = this.#context;
    this.#phase = 'closing';
    this.#firstSync.reject(abortedError(`starting ${userId}`));
    await runAllSteps(
      [
        () => encryption?.cancelVerifications(), // makes requests
        () => this.#requestsAbort.abort(),
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
      `stopping ${userId}`,
    );
  }

  /** Awaits a step of the stop. Rejects with `TIMEOUT` after {@link STOP_STEP_MS}. */
  async #withStepTimeout(step: Promise<void> | undefined, name: string): Promise<void> {
    const { userId, clock } = this.#context;
    const message = `stopping ${userId}: ${name} did not end within ${STOP_STEP_MS} ms`;
    const timeoutError = (): MatrixClientManagerError => new MatrixClientManagerError('TIMEOUT', message, { userId });
    if (step) await orTimeout(step, clock, STOP_STEP_MS, timeoutError);
  }

  /**
   * Resolves with the next sync that has data for the SDK. Other syncs, such as those with messages only, go to delivery
   * without the SDK. Rejects when the client is stopped.
   */
  async #syncForSdk(query: SyncQuery): Promise<ISyncResponse> {
    this.#hasPolled = true;
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
      if (this.#receiver) await missedEventsSync.run(this.#syncedClient(this.#receiver, since));
      const { signal } = missedEventsSync;
      const mayCheckRooms =
        this.#phase === 'running' &&
        !signal.aborted && // missed events are wanted first
        !this.#fastStart.hasUnloadedRooms &&
        !missedEventsSync.blocksDelivery &&
        !this.#poll.hasQueuedResult;
      try {
        return await (mayCheckRooms
          ? this.#deletedRooms.next(this.#poll, query, signal)
          : this.#poll.next(query, signal));
      } catch (error) {
        if (!signal.aborted || this.#pollAbort.signal.aborted) throw error;
      }
    }
  }

  /** The SDK's current state, which belongs to `position`. */
  #syncedClient(receiver: EventReceiver, position: string): SyncedClient {
    return {
      receiver,
      toBatch: ({ batch, roomsToStore }) => {
        // A sync that was not delivered may have loaded the remaining rooms. Then all rooms have to be stored.
        const hasLoadedAll = this.#storedWithUnloadedRooms && !this.#fastStart.hasUnloadedRooms;
        const joined = hasLoadedAll ? joinedRoomIds(this.#matrixClient) : [];
        for (const room of batch.rooms) this.unread.take(room); // delivered also if a poll has changed it before
        return { ...this.#withResumeData(batch, new Set([...roomsToStore, ...joined]), true, true), position };
      },
      gapsSince: (since = position) => gapsOfAllRooms(this.#matrixClient, position, since),
    };
  }

  /**
   * Adds the data to resume from the SDK's current state.
   * @param hasAllCounts - whether the unread counts of all rooms of the batch are stored, and not only changed ones
   */
  #withResumeData(
    batch: EventBatch,
    roomsToStore: ReadonlySet<string>,
    hasAccountData: boolean,
    hasAllCounts: boolean,
  ): EventBatch {
    const { hasUnloadedRooms } = this.#fastStart;
    const storesAccountData = hasAccountData || hasUnloadedRooms !== this.#storedWithUnloadedRooms;
    this.#storedWithUnloadedRooms = hasUnloadedRooms;
    const accountData = storesAccountData ? { hasUnloadedRooms, held: this.#feed.heldAccountData() } : undefined;
    const unread = this.#unreadSnapshots.changes(batch, hasAllCounts);
    const resume = resumeData(this.#matrixClient, batch, roomsToStore, accountData, unread);
    return { ...batch, ...(resume && { resume }) };
  }

  /** Notes the encrypted rooms of the stored position: a version that did not remember them may have stored it. */
  #noteResumedRooms(): void {
    const events = this.#matrixClient.getRooms().flatMap(({ roomId, currentState }) => {
      const event = currentState.getStateEvents('m.room.encryption', '');
      return event ? [[roomId, event.getContent()] as const] : [];
    });
    this.#context.encryptedRooms.note(events);
  }

  #prepareForSdk(sync: SyncResult): ISyncResponse {
    const { batch, durationMs, kind, malformed } = sync;
    const { userId, logger, diagnostics, encryptedRooms } = this.#context;
    encryptedRooms.note(encryptionEvents(sync.response));
    if (malformed > 0) {
      diagnostics.publish('malformed', { parts: malformed });
      logger.warn({ userId, malformed }, 'left out malformed parts of a sync');
    }
    const response = sync.response as unknown as ISyncResponse;
    const hasAccountData = Boolean(response.account_data); // before parts of it are held back
    for (const roomId of this.#feed.prepare(sync, response)) this.#user.encryption?.dropRoomEncryptor(roomId);
    diagnostics.publish('syncReceived', { kind, durationMs });
    const trace = diagnostics.begin('sync', { userId, kind, waitMs: durationMs, ...sizeOf(batch) });
    this.#pending = { sync, trace, hasAccountData, wasHeldBack: !this.#feed.isComplete };
    return response;
  }

  /**
   * Delivers the pending batch with its resume data, once the SDK has processed it or if it has no data for the SDK.
   * Then ends a start. The SDK's next sync waits for this.
   */
  async #deliverPending(data: ISyncResponse): Promise<void> {
    const pending = this.#pending;
    this.#pending = undefined;
    const isPending = (pending?.sync.response as unknown) === data;
    if (!pending || !isPending || this.#phase === 'closing') return;
    const { roomsToStore } = pending.sync;
    const { encryption } = this.#user;
    // The keys of this sync are not stored, so its position must not be stored either; the next start repeats the sync.
    if (encryption?.failure) return this.#fail(encryption.failure);
    encryption?.synced(data.device_lists?.changed ?? [], data.to_device?.events?.length ?? 0);
    const batch = this.unread.takeChanges(pending.sync.batch);
    // The position was lost: a room that the user has left meanwhile is absent, and the SDK keeps it.
    if (batch.scope === 'all-rooms' && this.#phase === 'running') this.#deletedRooms.request();
    const roomIds = batch.rooms.map(({ roomId }) => roomId);
    this.#feed.trim(roomIds, roomsToStore);
    try {
      const delivered = pending.trace.run(async () => {
        if (this.#missedEventsSync.blocksDelivery) this.#receiver?.acceptUndelivered(batch);
        else await this.#receiver?.accept(this.#withResumeData(batch, roomsToStore, pending.hasAccountData, false));
      });
      // The application has asked for the client after parts of this sync were held back.
      if (pending.wasHeldBack && this.#feed.isComplete) this.#feed.fillTimelines(roomIds);
      await delivered;
    } catch (error) {
      this.#fail(clientFailure(error, this.#context.userId));
    }
    if (this.#phase === 'starting') {
      this.#noteResumedRooms();
      await encryption?.publishKeys();
    }
    this.#firstSync.resolve();
  }

  #fail(error: MatrixClientManagerError): void {
    if (this.#phase === 'closing') return;
    if (this.#phase === 'running') this.#user.onFatal(error);
    else this.#firstSync.reject(error);
  }
}

function joinedRoomIds(client: MatrixClient): string[] {
  return client.getRooms().flatMap((room) => (room.getMyMembership() === 'join' ? [room.roomId] : []));
}

function sizeOf({ rooms, invites, presence = [] }: EventBatch): { readonly rooms: number; readonly events: number } {
  const events = rooms.reduce((sum, { timeline, ephemeral }) => sum + timeline.length + ephemeral.length, 0);
  return { rooms: rooms.length, events: events + invites.length + presence.length };
}
