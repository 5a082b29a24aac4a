import { ClientEvent, createClient, Filter, SyncState } from 'matrix-js-sdk';
import type { ISyncResponse, MatrixClient } from 'matrix-js-sdk';
import { abortedError, orTimeout } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import type { Credentials } from '../core/credentials.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { nextEventLoopTurn } from '../core/event-loop.js';
import { runAllSteps } from '../core/every-step.js';
import type { EventBatch, EventSink, EventSource } from '../core/ports/event-source.js';
import { isObject } from '../core/raw-event.js';
import { noTelemetry } from '../core/telemetry.js';
import type { SyncKind, SyncSize, SyncWatch, Telemetry } from '../core/telemetry.js';
import type { UserEncryption } from './crypto/user-encryption.js';
import type { StoredCheckpoint } from '../storage/checkpoint.js';
import type { Logger } from '../core/logger.js';
import type { AnswersOtherRequests } from '../http/failing-time.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { sdkFetch } from '../http/sdk-fetch.js';
import type { ServerVersions } from '../http/server-versions.js';
import type { Session } from '../http/session.js';
import { clientFailure } from '../sync/client-failure.js';
import { FastStart } from '../sync/fast-start.js';
import { interceptSdkRequests } from './intercepted-requests.js';
import { sdkLogger, silenceSdkRootLogger } from './sdk-logger.js';
import { dropRenewedRooms } from './renewed-rooms.js';
import { knownRoomsOf, resumeData, resumePosition, savedSync } from './room-snapshots.js';
import { JoinedCheck } from './joined-check.js';
import { MissedSync } from '../sync/missed-sync.js';
import { gapsOfAllRooms } from './missed-rooms.js';
import type { MissedBatches, MissedSink } from '../sync/missed-sync.js';
import { initialLimit, syncLimit } from '../sync/sync-query.js';
import { SyncRequests } from '../sync/sync-requests.js';
import type { SyncQuery } from '../sync/sync-requests.js';
import { SyncPoll } from '../sync/sync-poll.js';
import type { SyncResult, ClientGate } from '../sync/sync-poll.js';
import type { OnSdkFailure } from './sdk-containment.js';
import { assertClientSurface } from './private-surface.js';
import { SdkFeed } from './sdk-feed.js';
import type { KnownTimeline } from './sdk-feed.js';
import { SyncStore } from './sync-store.js';
import { dropKnownEvents, trimTimelines } from './sdk-timelines.js';

export interface SyncClientOptions {
  readonly credentials: Credentials;
  readonly session: Session;
  /** Where to resume from. */
  readonly stored: StoredCheckpoint;
  readonly http: HomeserverHttp;
  readonly versions: ServerVersions;
  /** Whether to start with few rooms where the homeserver offers sliding sync. */
  readonly slidingSync: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Events kept in memory per room. */
  readonly timelineLimit: number;
  /** How long the homeserver may hold a sync without news, in milliseconds. */
  readonly pollTimeoutMs: number;
  /** Time for the first sync, and for an answer beyond `pollTimeoutMs`, in milliseconds. */
  readonly startTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** How long what was missed may fail to come while the homeserver answers other requests, in milliseconds. */
  readonly gapFillTimeoutMs: number;
  readonly answersOtherwise: AnswersOtherRequests;
  readonly maxResponseBytes: number;
  readonly gate: ClientGate;
  /** The keys of the device, loaded and not open yet. @default none: the client cannot decrypt */
  readonly encryption?: UserEncryption | undefined;
  /** Gets what {@link SyncClient.catchUp} asks for. @default none: it is not called */
  readonly missed?: MissedSink;
  /** @default none */
  readonly telemetry?: Telemetry;
  /** Called when the connection to the homeserver is lost and when it is back. */
  readonly onConnection: (connected: boolean) => void;
  /** Called when the homeserver rejects the position; the client goes on with a fresh sync. */
  readonly onPositionLost: (error: MatrixClientManagerError) => void;
  /** Called once when a running client cannot go on: its token is dead for good, or the homeserver refuses it. */
  readonly onFatal: (error: MatrixClientManagerError) => void;
}

/** How long each part of a client is given to end, in milliseconds; all that they wait for was aborted before. */
const STOP_STEP_MS = 30_000;

type Phase = 'new' | 'starting' | 'running' | 'closing';

/**
 * One user's matrix-js-sdk client, with a sync loop that never ends by itself and always ends when told.
 *
 * The SDK asks for each `/sync` through {@link MatrixClient.http}; that one call is answered here instead, with our
 * deadline, back-off and checks, and rejects only after the SDK has been told to stop. So the SDK's own recovery,
 * which waits on timers of its own for up to ten seconds, never runs, and its 110-second timer per poll is never set.
 *
 * This file is long because starting, polling and stopping the SDK are one knot: each knows the traps of the others.
 */
export class SyncClient implements EventSource {
  readonly matrixClient: MatrixClient;
  readonly #options: Omit<SyncClientOptions, 'stored'>;
  /** The position to resume from. */
  readonly #resumesFrom: string | undefined;
  readonly #telemetry: Telemetry;
  readonly #userId: string;
  /** Ends every request but the poll. */
  readonly #requests = new AbortController();
  /** Ends the poll; fired after the SDK was told to stop, so that its loop takes the failure for the end. */
  readonly #poll = new AbortController();
  readonly #firstSync = Promise.withResolvers<void>();
  readonly #loopEnded = Promise.withResolvers<void>();
  #phase: Phase = 'new';
  #sink: EventSink = async () => {};
  #started: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;
  #polled = false;
  readonly #syncs: SyncPoll;
  readonly #fast: FastStart;
  readonly #missed: MissedSync | undefined;
  readonly #joined: JoinedCheck;
  readonly #feed: SdkFeed;
  /** What the SDK is processing. */
  #pending: SyncResult | undefined;
  /** Whether the stored position is marked as one with rooms missing. */
  #storedAsGrowing: boolean;
  #accountDataChanged = false;
  /** Whether the SDK did not get all of what it is processing. */
  #unobserved = false;
  #watch: SyncWatch | undefined;
  /** How many keys of the device the homeserver had left, in the words of its last answer. */
  #keysLeft: object = {};

  constructor(options: SyncClientOptions) {
    const { stored, ...rest } = options; // what is stored is large, and needed once
    this.#options = rest;
    this.#resumesFrom = resumePosition(stored);
    const { credentials, session, clock, logger, telemetry = noTelemetry } = options;
    const saved = savedSync(stored);
    this.#telemetry = telemetry;
    this.#userId = credentials.userId;
    this.#firstSync.promise.catch(() => {}); // start() may not be waiting any more
    silenceSdkRootLogger();
    this.matrixClient = createClient({
      baseUrl: options.http.homeserverUrl,
      userId: credentials.userId,
      deviceId: credentials.deviceId,
      accessToken: credentials.accessToken,
      store: new SyncStore(saved, (data) => this.#processed(data)),
      fetchFn: sdkFetch({
        connections: options.http.connections,
        clock,
        session,
        signal: this.#requests.signal,
        gate: options.gate,
        requestTimeoutMs: options.requestTimeoutMs,
        maxResponseBytes: options.maxResponseBytes,
        telemetry,
      }),
      logger: sdkLogger(logger, credentials.userId),
      disableVoip: true,
    });
    assertClientSurface(this.matrixClient); // before anything of it is replaced
    const onSdkFailure: OnSdkFailure = (error, roomId) => {
      telemetry.malformed(1);
      logger.warn({ userId: this.#userId, roomId, err: error }, 'the SDK could not take in a part of a sync');
    };
    this.#feed = new SdkFeed(this.matrixClient, saved, onSdkFailure, options.encryption !== undefined);
    const { signal } = this.#poll;
    const abortOnOutage = (): boolean => this.#phase === 'running';
    const requests = new SyncRequests({ ...options, telemetry, userId: this.#userId, signal, abortOnOutage });
    const covered = knownRoomsOf(stored);
    this.#storedAsGrowing = covered !== undefined;
    const fast = new FastStart({
      ...options,
      userId: this.#userId,
      requests,
      // Its second request would lose messages to the device that came with the first, if a kill came between.
      versions: options.slidingSync && options.encryption?.isNew !== false ? options.versions : undefined,
      knownRooms: covered,
      signal,
    });
    this.#fast = fast;
    this.#joined = new JoinedCheck(this.matrixClient, requests, logger, stored.since !== undefined);
    const { missed } = options;
    this.#missed = missed && new MissedSync({ ...options, userId: this.#userId, requests, signal, sink: missed });
    const { onPositionLost, encryption, gate, timelineLimit, startTimeoutMs, requestTimeoutMs } = options;
    this.#syncs = new SyncPoll({
      userId: this.#userId,
      session,
      requests,
      fastStart: fast,
      resumesFrom: this.#resumesFrom,
      hasDeliveredBefore: stored.lastDelivered.size > 0,
      gate,
      encryption,
      telemetry,
      clock,
      logger,
      timelineLimit,
      startTimeoutMs,
      requestTimeoutMs,
      signal,
      isStarting: () => this.#phase === 'starting',
      onConnection: (connected) => {
        if (this.#phase !== 'closing') options.onConnection(connected);
      },
      onPositionLost,
      onFailure: (error) => this.#fail(error),
    });
    interceptSdkRequests(this.matrixClient, {
      sync: (query) => {
        this.#polled = true;
        return this.#sync(query);
      },
      versions: () => options.versions.get(this.#requests.signal),
      isStarting: () => this.#phase === 'starting',
    });
    this.matrixClient.on(ClientEvent.SyncUnexpectedError, (error) => {
      logger.error({ userId: this.#userId, err: error }, 'the SDK failed on a part of a sync');
    });
    this.matrixClient.on(ClientEvent.Sync, (state) => {
      if (state === SyncState.Stopped) this.#loopEnded.resolve();
    });
  }

  /** When the homeserver last answered a sync, in milliseconds since the Unix epoch. */
  get lastSyncAt(): number | undefined {
    return this.#syncs.lastSyncAt;
  }

  /** Whether what the client knows is as new as it can be: connected, not resting, and through with what came. */
  get isCurrent(): boolean {
    return this.#syncs.isCurrent && this.#pending === undefined;
  }

  /** Whether rooms, or events that were missed, are not here because the homeserver fails to tell them. */
  get isIncomplete(): boolean {
    return this.#fast.isRoomLoadFailing || this.#missed?.isFailing === true;
  }

  /** Lets the client know what the library knows, for somebody who looks at it. */
  materialize(timelineOf: (roomId: string) => KnownTimeline | undefined): void {
    this.#feed.materialize(timelineOf);
  }

  /**
   * Asks once more for what came while nobody was there to take it.
   * @param history - whether that is everything, the history of the first sync included
   */
  catchUp(history: boolean): void {
    this.#missed?.request(history);
  }

  /** Asks before the next poll which rooms the user is in: the homeserver has refused a request for one. */
  checkRooms(): void {
    this.#joined.want();
  }

  /** As {@link SyncPoll.rest}. */
  rest(pollIntervalMs: number): void {
    this.#syncs.rest(pollIntervalMs);
  }

  wake(): void {
    this.#syncs.wake();
  }

  connect(sink: EventSink): void {
    this.#sink = sink;
  }

  /** Opens the client's encryption, where it has one; before {@link start}. After a rejection, call {@link stop}. */
  async openEncryption(): Promise<void> {
    const resumes = this.#resumesFrom !== undefined;
    await this.#options.encryption?.open(this.matrixClient, resumes, (error) => this.#fail(error));
  }

  /** Resolves when the first sync has been processed. After a rejection, call {@link stop}. */
  async start(signal: AbortSignal): Promise<void> {
    const { timelineLimit, pollTimeoutMs } = this.#options;
    this.#phase = 'starting';
    const abort = (): void => this.#firstSync.reject(abortedError(`starting ${this.#userId}`, signal.reason));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    try {
      if (!signal.aborted) {
        const started = this.matrixClient.startClient({
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
   * Resolves when no request, timer or listener of the client is left. Rejects when every step was taken, with what some
   * of them failed with. Idempotent.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** Each step is taken whatever those before it came to: what is left of a client must not sync on. */
  async #stop(): Promise<void> {
    const { matrixClient } = this;
    const { encryption } = this.#options;
    this.#phase = 'closing';
    this.#firstSync.reject(abortedError(`starting ${this.#userId}`));
    this.#requests.abort();
    await runAllSteps(
      [
        // stopClient() during startClient() would be undone by it, and a start-up request that has just failed sets a
        // keep-alive timer a few steps later: let both get there, so that stopClient() finds all there is to end.
        () => this.#inTime(this.#started, 'startClient()'),
        nextEventLoopTurn,
        () => this.#inTime(encryption?.settle(), 'the encryption'),
        () => matrixClient.stopClient(),
        () => this.#poll.abort(),
        () => {
          // From settle() on, the SDK's calls of its encryption do not return: its loop may stand in one for good.
          const isStuck = encryption !== undefined && this.#pending !== undefined;
          return this.#polled && !isStuck ? this.#inTime(this.#loopEnded.promise, 'the sync loop') : undefined;
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
        () => encryption?.close(),
      ],
      `stopping ${this.#userId}`,
    );
  }

  /** `part`, which is about to end, or `TIMEOUT`. */
  async #inTime(part: Promise<void> | undefined, what: string): Promise<void> {
    const message = `stopping ${this.#userId}: ${what} did not end within ${STOP_STEP_MS} ms`;
    const late = (): MatrixClientManagerError =>
      new MatrixClientManagerError('TIMEOUT', message, { userId: this.#userId });
    if (part) await orTimeout(part, this.#options.clock, STOP_STEP_MS, late);
  }

  /**
   * The next sync that has something to tell the SDK; what only brings messages that nobody looks at there goes past
   * it. Rejects when the client is stopped.
   */
  async #sync(query: SyncQuery): Promise<ISyncResponse> {
    for (let { since } = query; ;) {
      const answer = await this.#next({ ...query, since });
      const response = this.#handOut(answer);
      // Without a timeout the SDK is starting or catching up, and waits for this response.
      if (this.#phase !== 'running' || !query.timeout || this.#feed.concerns(response)) return response;
      since = response.next_batch;
      this.matrixClient.store.setSyncToken(since);
      await this.#processed(response);
    }
  }

  /** The next sync, after what was missed. */
  async #next(query: SyncQuery): Promise<SyncResult> {
    const { since } = query;
    const missed = this.#missed;
    if (since === undefined) return this.#syncs.next(query);
    for (;;) {
      const growth = !this.#fast.hasMissingRooms ? 'none' : this.#fast.isRoomLoadDue ? 'due' : 'postponed';
      await missed?.run(growth, this.#missedBatches(String(since)));
      const signal = missed?.signal ?? this.#poll.signal;
      try {
        const isDone = this.#phase === 'running' && !this.#fast.hasMissingRooms && !this.#syncs.hasQueuedResult;
        const suspects = isDone ? await this.#joined.suspects(signal) : new Set<string>();
        if (suspects.size === 0) return await this.#syncs.next(query, signal);
        const answer = await this.#syncs.next({ ...query, timeout: 0 }, signal);
        return { ...answer, sync: this.#joined.remove(answer.sync, suspects) };
      } catch (error) {
        if (!signal.aborted || this.#poll.signal.aborted) throw error;
      }
    }
  }

  /** What comes with these goes past the SDK, so the SDK's state is that of the position that it is at. */
  #missedBatches(position: string): MissedBatches {
    const { matrixClient } = this;
    const toBatch = (batch: EventBatch, stateChanged: ReadonlySet<string>, since: string | undefined): EventBatch => {
      const held = this.#feed.heldAccountData();
      const resume = resumeData(matrixClient, batch, stateChanged, true, this.#storedAsGrowing, held);
      return { ...batch, since, nextBatch: position, ...(resume && { resume }) };
    };
    return {
      fromSync: ({ batch, stateChanged }, since) => toBatch(batch, stateChanged, since),
      withGaps: (since = position) => {
        const { batch, roomIds } = gapsOfAllRooms(matrixClient, position);
        return toBatch(batch, roomIds, since);
      },
    };
  }

  #handOut(answer: SyncResult): ISyncResponse {
    const { sync, durationMs } = answer;
    const { malformed, batch } = sync;
    const response = sync.response as unknown as ISyncResponse;
    const { logger } = this.#options;
    if (malformed > 0) {
      this.#telemetry.malformed(malformed);
      logger.warn({ userId: this.#userId, malformed }, 'malformed parts of a sync were left out');
    }
    const { account_data: accountData } = response;
    this.#accountDataChanged = isObject(accountData) && Boolean(accountData.events?.length);
    this.#noteKeysLeft(response, batch.isBackfilledRooms === true);
    for (const roomId of dropRenewedRooms(this.matrixClient, response)) this.#options.encryption?.forgetRoom(roomId);
    this.#feed.prune(response);
    dropKnownEvents(this.matrixClient, response);
    this.#unobserved = !this.#feed.isMaterialized;
    this.#pending = answer;
    this.#watch = this.#telemetry.sync(this.#userId, kindOf(batch), durationMs);
    return response;
  }

  /** The SDK has processed what it got last, or there was nothing in it for the SDK. */
  async #processed(data: ISyncResponse): Promise<void> {
    const pending = this.#pending;
    const watch = this.#watch;
    this.#pending = undefined;
    const isPending = (pending?.sync.response as unknown) === data;
    if (!pending || !isPending || this.#phase === 'closing') return;
    const { sync, hasMissingRooms } = pending;
    const { encryption } = this.#options;
    // Keys that came with it are not on the disk: it has to come again.
    if (encryption?.failure) return this.#fail(encryption.failure);
    encryption?.synced(Boolean(data.device_lists?.changed?.length));
    const roomIds = sync.batch.rooms.map(({ roomId }) => roomId);
    trimTimelines(this.matrixClient, roomIds, this.#options.timelineLimit);
    this.#feed.trim(sync.stateChanged);
    try {
      const stores = this.#accountDataChanged || hasMissingRooms !== this.#storedAsGrowing;
      this.#storedAsGrowing = hasMissingRooms;
      const held = stores ? this.#feed.heldAccountData() : [];
      const resume = resumeData(this.matrixClient, sync.batch, sync.stateChanged, stores, hasMissingRooms, held);
      const take = async (): Promise<void> => {
        if (!this.#missed?.isUnderWay) await this.#sink({ ...sync.batch, ...(resume && { resume }) });
      };
      const taken = watch ? watch(sizeOf(sync.batch), take) : take();
      // Somebody has looked at the client while it did not get all of this.
      if (this.#unobserved && this.#feed.isMaterialized) this.#feed.fill(roomIds);
      await taken;
    } catch (error) {
      this.#fail(clientFailure(error, this.#userId));
    }
    if (this.#phase === 'starting') await encryption?.ready();
    this.#firstSync.resolve();
  }

  /** An answer of our own making says nothing of keys, and the SDK would take that for none. */
  #noteKeysLeft(response: ISyncResponse, isOwn: boolean): void {
    const { device_one_time_keys_count: count, device_unused_fallback_key_types: fallback } = response;
    if (isOwn) Object.assign(response, this.#keysLeft);
    else if (this.#options.encryption) {
      this.#keysLeft = { device_one_time_keys_count: count, device_unused_fallback_key_types: fallback };
    }
  }

  #fail(error: MatrixClientManagerError): void {
    if (this.#phase === 'closing') return;
    if (this.#phase === 'running') this.#options.onFatal(error);
    else this.#firstSync.reject(error);
  }
}

function kindOf({ since, catchUp, isBackfilledRooms }: EventBatch): SyncKind {
  if (catchUp) return 'catch-up';
  return since === undefined || isBackfilledRooms ? 'initial' : 'live';
}

function sizeOf({ rooms, invites }: EventBatch): SyncSize {
  const events = rooms.reduce((sum, { timeline, ephemeral }) => sum + timeline.length + ephemeral.length, 0);
  return { rooms: rooms.length, events: events + invites.length };
}
