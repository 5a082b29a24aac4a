import { ClientEvent, createClient, Filter, SyncState } from 'matrix-js-sdk';
import type { ISyncResponse, MatrixClient } from 'matrix-js-sdk';
import { aborted, abortedError, delay } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import type { Credentials } from '../core/credentials.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { turnOfTheEventLoop } from '../core/event-loop.js';
import type { EventBatch, EventSink, EventSource } from '../core/event-source.js';
import { isObject } from '../core/raw-event.js';
import type { RequestGate } from '../core/request-gate.js';
import { noTelemetry } from '../core/telemetry.js';
import type { SyncKind, SyncSize, SyncWatch, Telemetry } from '../core/telemetry.js';
import type { UserEncryption } from '../encryption/user-encryption.js';
import type { StoredCheckpoint } from '../storage/checkpoint.js';
import type { Logger } from '../core/logger.js';
import { failureClass } from '../http/failure-class.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { invalidResponse } from '../http/response-error.js';
import { retryDelayMs } from '../http/retry.js';
import { sdkFetch } from '../http/sdk-fetch.js';
import type { ServerVersions } from '../http/server-versions.js';
import type { Session } from '../http/session.js';
import { FastStart } from './fast-start.js';
import type { Part } from './fast-start.js';
import { answerItself } from './own-answers.js';
import { sdkLogger, silenceSdkRootLogger } from './sdk-logger.js';
import { coveredSoFar, resumeData, savedSync } from './room-snapshots.js';
import { MalformedSync, readSyncResponse } from './sync-response.js';
import { cacheBuster, initialLimit, syncLimit } from './sync-query.js';
import { SYNC_PATH, SyncRequests } from './sync-requests.js';
import type { SyncQuery } from './sync-requests.js';
import type { ReadSync } from './sync-response.js';
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
  readonly maxResponseBytes: number;
  readonly gate: ClientGate;
  /** The keys of the device, loaded and not open yet. @default none: the client cannot decrypt */
  readonly encryption?: UserEncryption | undefined;
  /** @default none */
  readonly telemetry?: Telemetry;
  /** Called when the connection to the homeserver is lost and when it is back. */
  readonly onConnection: (connected: boolean) => void;
  /** Called when the homeserver rejects the position; the client goes on with a fresh sync. */
  readonly onPositionLost: (error: MatrixClientManagerError) => void;
  /** Called once when a running client cannot go on: its token is dead for good, or the homeserver refuses it. */
  readonly onFatal: (error: MatrixClientManagerError) => void;
}

/** What a client needs to know of the way to the homeserver. */
export interface ClientGate extends RequestGate {
  /** Resolves when the homeserver is up, with whether that took waiting; those who waited come one after the other. */
  up(signal: AbortSignal): Promise<boolean>;
  /** Waits `delayMs`, or until the homeserver is down. */
  pause(delayMs: number, signal: AbortSignal): Promise<void>;
}

/** Sync failures in a row, each with a back-off before the next try, that a client takes before its start fails. */
const START_ATTEMPTS = 3;
/** Time between syncs that do not move the position: it grows to the second value, in milliseconds. */
const MIN_UNCHANGED_MS = 1_000;
const MAX_UNCHANGED_MS = 10_000;
const SYNC_BACKOFF = { baseDelayMs: 1_000, maxDelayMs: 60_000 };

/** An answer that waits to be handed to the SDK. */
interface Answer {
  readonly read: ReadSync;
  /** Whether rooms are missing after it. */
  readonly growing: boolean;
  readonly durationMs: number;
}

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
  /** Whether anything has been delivered to the user before. */
  readonly #isKnown: boolean;
  readonly #telemetry: Telemetry;
  readonly #userId: string;
  /** Ends every request but the poll. */
  readonly #requests = new AbortController();
  /** Ends the poll; fired after the SDK was told to stop, so that its loop takes the failure for the end. */
  readonly #poll = new AbortController();
  readonly #firstSync = Promise.withResolvers<void>();
  readonly #loopEnded = Promise.withResolvers<void>();
  /** How long to wait from one sync to the next while the user rests; undefined while they do not. */
  #restMs: number | undefined;
  #endRest: (() => void) | undefined;
  #phase: Phase = 'new';
  #sink: EventSink = async () => {};
  #started: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;
  #polled = false;
  #connected = false;
  readonly #syncRequests: SyncRequests;
  readonly #fast: FastStart;
  readonly #feed: SdkFeed;
  /** What the SDK gets before anything else is asked for. */
  readonly #answers: Answer[] = [];
  /** What the SDK is processing. */
  #pending: Answer | undefined;
  /** Whether the stored position is marked as one with rooms missing. */
  #storedAsGrowing: boolean;
  #accountDataChanged = false;
  /** Whether the SDK did not get all of what it is processing. */
  #unobserved = false;
  #watch: SyncWatch | undefined;
  /** The position that the homeserver rejected: the SDK goes on asking from it until it gets another. */
  #lostPosition: string | undefined;
  /** How many keys of the device the homeserver had left, in the words of its last answer. */
  #keysLeft: object = {};
  #lastSyncAt: number | undefined;
  /** The token of which it is known that its device is the client's own. */
  #token: string | undefined;
  /** Whether the client has rested since its last sync. */
  #behind = false;
  /** Answers in a row that did not move the position. */
  #unchanged = 0;
  /** When the next sync may go out; in the past where there is no reason to wait. */
  #notBefore = 0;

  constructor(options: SyncClientOptions) {
    const { stored, ...rest } = options; // what is stored is large, and needed once
    this.#options = rest;
    this.#resumesFrom = stored.since;
    this.#isKnown = stored.lastDelivered.size > 0;
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
    this.#feed = new SdkFeed(this.matrixClient, saved, options.encryption !== undefined);
    const { signal } = this.#poll;
    const endsWithOutage = (): boolean => this.#phase === 'running';
    this.#syncRequests = new SyncRequests({ ...options, telemetry, userId: this.#userId, signal, endsWithOutage });
    const covered = coveredSoFar(stored);
    this.#storedAsGrowing = covered !== undefined;
    this.#fast = new FastStart({
      ...options,
      userId: this.#userId,
      requests: this.#syncRequests,
      // Its second request would lose messages to the device that came with the first, if a kill came between.
      versions: options.slidingSync && options.encryption?.isNew !== false ? options.versions : undefined,
      covered,
      signal,
    });
    answerItself(this.matrixClient, {
      sync: (query) => {
        this.#polled = true;
        return this.#sync(query);
      },
      versions: () => options.versions.get(this.#requests.signal),
      isStarting: () => this.#phase === 'starting',
    });
    this.matrixClient.on(ClientEvent.Sync, (state) => {
      if (state === SyncState.Stopped) this.#loopEnded.resolve();
    });
  }

  /** When the homeserver last answered a sync, in milliseconds since the Unix epoch. */
  get lastSyncAt(): number | undefined {
    return this.#lastSyncAt;
  }

  /** Whether what the client knows is as new as it can be: connected, and not resting. */
  get isCurrent(): boolean {
    return this.#connected && this.#restMs === undefined && !this.#behind;
  }

  /** Lets the client know what the library knows, for somebody who looks at it. */
  observe(timelineOf: (roomId: string) => KnownTimeline | undefined): void {
    this.#feed.observe(timelineOf);
  }

  /** Polls only every `pollIntervalMs` after the poll that is under way; never, where that is Infinity. */
  rest(pollIntervalMs: number): void {
    this.#restMs = pollIntervalMs;
  }

  /** Polls at once, and goes on without pauses. */
  wake(): void {
    if (this.#restMs === undefined) return;
    this.#restMs = undefined;
    this.#endRest?.();
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
    const { clock, startTimeoutMs, timelineLimit, pollTimeoutMs } = this.#options;
    this.#phase = 'starting';
    const abort = (): void => this.#firstSync.reject(abortedError(`starting ${this.#userId}`, signal.reason));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    const timer = clock.setTimeout(() => {
      const message = `starting ${this.#userId} took longer than ${startTimeoutMs} ms; startTimeoutMs allows more`;
      this.#firstSync.reject(new MatrixClientManagerError('TIMEOUT', message, { userId: this.#userId }));
    }, startTimeoutMs);
    try {
      if (!signal.aborted) {
        this.#started = this.matrixClient.startClient({
          initialSyncLimit: initialLimit(timelineLimit),
          pollTimeout: pollTimeoutMs,
          lazyLoadMembers: true,
          disablePresence: true,
          filter: Filter.fromJson(this.#userId, '', { room: { timeline: { limit: syncLimit(timelineLimit) } } }),
        });
      }
      await this.#firstSync.promise;
      this.#phase = 'running';
    } finally {
      clock.clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
  }

  /** Resolves when no request, timer or listener of the client is left. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const { matrixClient } = this;
    const { encryption } = this.#options;
    this.#phase = 'closing';
    this.#firstSync.reject(abortedError(`starting ${this.#userId}`));
    this.#requests.abort();
    // stopClient() during startClient() would be undone by it, and a start-up request that has just failed sets a
    // keep-alive timer a few steps later: let both get there, so that stopClient() finds all there is to end.
    await this.#started;
    await turnOfTheEventLoop();
    await encryption?.settle();
    matrixClient.stopClient();
    this.#poll.abort();
    // From settle() on, the SDK's calls of its encryption do not return: its loop may stand in one for good.
    const isStuck = encryption !== undefined && this.#pending !== undefined;
    if (this.#polled && !isStuck) await this.#loopEnded.promise;
    await turnOfTheEventLoop();
    matrixClient.http.abort();
    for (const room of matrixClient.store.getRooms()) {
      room.removeAllListeners();
      room.currentState.removeAllListeners();
    }
    matrixClient.removeAllListeners();
    encryption?.close();
  }

  /**
   * The next sync that has something to tell the SDK; what only brings messages that nobody looks at there goes past
   * it. Rejects when the client is stopped.
   */
  async #sync(query: SyncQuery): Promise<ISyncResponse> {
    for (let { since } = query; ;) {
      const answer = this.#answers.shift() ?? (await this.#next({ ...query, since }));
      const response = this.#handOut(answer);
      // What is asked for with no timeout is waited for: the SDK is starting, or catching up.
      if (this.#phase !== 'running' || !query.timeout || this.#feed.concerns(response)) return response;
      since = response.next_batch;
      this.matrixClient.store.setSyncToken(since);
      await this.#processed(response);
    }
  }

  /** One sync that succeeds, however long that takes. Rejects when the client is stopped. */
  async #next(query: SyncQuery): Promise<Answer> {
    const failure = this.#options.encryption?.failure;
    if (failure) {
      await aborted(this.#poll.signal); // to ask from the new position would be to say that its keys have arrived
      throw failure;
    }
    let retrying = false;
    for (let failures = 0; ;) {
      const asked = query.since === undefined ? undefined : String(query.since);
      const since = asked === this.#lostPosition ? undefined : asked;
      // Who has lost the homeserver finds it first and rests then, or would count as lost for as long as they rest.
      const mayRest = !retrying && this.#phase !== 'starting' && !this.#fast.isGrowing;
      const rested = mayRest && (await this.#pause());
      // What failed before or in an outage says nothing about the time after it.
      if (this.#phase !== 'starting' && (await this.#options.gate.up(this.#poll.signal))) failures = 0;
      const waitMs = this.#notBefore - this.#options.clock.now();
      if (this.#unchanged > 0 && waitMs > 0) await delay(this.#options.clock, waitMs, this.#poll.signal, 'sync');
      const startedAt = this.#options.clock.now();
      try {
        await this.#assertSameDevice();
        const growing = this.#fast.isGrowing;
        const atOnce = retrying || rested || growing || !query.timeout;
        const answer = await this.#ask(query, since, atOnce);
        this.#behind = false;
        this.#lastSyncAt = this.#options.clock.now();
        this.#connection(true);
        this.#noteProgress(atOnce || answer.read.batch.nextBatch !== since, startedAt);
        return answer;
      } catch (error) {
        this.#throwIfClosing(error);
        if (since !== undefined && isManagerError(error) && error.status === 400 && error.errcode) {
          this.#lostPosition = since;
          this.#options.encryption?.forgetDeviceLists();
          this.#options.onPositionLost(error);
          continue;
        }
        failures++;
        retrying = true;
        this.#connection(false);
        await this.#handleFailure(error, failures);
      }
    }
  }

  /** A token may have died with its device: the one that was logged in then has its id, and none of its keys. */
  async #assertSameDevice(): Promise<void> {
    const { encryption, session } = this.#options;
    const token = session.known?.accessToken;
    if (this.#token !== undefined && token !== this.#token) await encryption?.assertKnownDevice();
    this.#token = token;
  }

  /** Waits before the next try, or gives up: then only a stop ends the call. */
  async #handleFailure(error: unknown, failures: number): Promise<void> {
    const { clock, gate, logger } = this.#options;
    const kind = failureClass(error);
    if (kind === 'unavailable' && this.#phase === 'running') return; // gate.up() waits for it
    const hopeless = kind !== 'transient' && kind !== 'rate-limited';
    if (hopeless || (this.#phase === 'starting' && failures >= START_ATTEMPTS)) {
      this.#fail(asManagerError(error, this.#userId));
      await aborted(this.#poll.signal);
      throw error;
    }
    const delayMs = retryDelayMs(error, failures, SYNC_BACKOFF);
    logger.warn({ userId: this.#userId, err: error, failures, delayMs }, 'sync failed, trying again');
    if (this.#phase === 'running') await gate.pause(delayMs, this.#poll.signal);
    else await delay(clock, delayMs, this.#poll.signal, 'sync');
    this.#telemetry.requestRepeated('GET', SYNC_PATH);
  }

  /** Waits as long as the user rests; returns whether they did. */
  async #pause(): Promise<boolean> {
    const restMs = this.#restMs;
    if (restMs === undefined) return false;
    this.#behind = true;
    const { clock } = this.#options;
    const { signal } = this.#poll;
    await new Promise<void>((resolve, reject) => {
      const end = (): void => {
        if (timer !== undefined) clock.clearTimeout(timer);
        signal.removeEventListener('abort', leave);
        this.#endRest = undefined;
        resolve();
      };
      const leave = (): void => {
        end();
        reject(abortedError('sync', signal.reason));
      };
      const timer = restMs === Infinity ? undefined : clock.setTimeout(end, restMs);
      if (signal.aborted) return leave();
      signal.addEventListener('abort', leave, { once: true });
      this.#endRest = end;
    });
    return true;
  }

  /** A homeserver that answers at once that nothing has happened would be asked in a tight loop. */
  #noteProgress(moved: boolean, startedAt: number): void {
    this.#unchanged = moved ? 0 : this.#unchanged + 1;
    this.#notBefore = startedAt + Math.min(MAX_UNCHANGED_MS, MIN_UNCHANGED_MS * this.#unchanged);
  }

  /** Asks for what is next; what comes with it waits in {@link #answers}. */
  async #ask(query: SyncQuery, since: string | undefined, atOnce: boolean): Promise<Answer> {
    const { clock } = this.#options;
    const begunAt = clock.now();
    const catchUp = since === undefined ? this.#lostPosition !== undefined : since === this.#resumesFrom;
    try {
      const fast = await this.#askFast(since, catchUp);
      if (since === undefined && !fast) this.#fast.finish();
      const parts = fast ?? [{ read: await this.#askPlain(query, since, atOnce, catchUp), growing: false }];
      const durationMs = clock.now() - begunAt;
      const [first, ...others] = parts.map((part) => ({ ...part, durationMs })) as [Answer, ...Answer[]];
      this.#answers.push(...others);
      return first;
    } catch (error) {
      const subject = { operation: `sync of ${this.#userId}`, userId: this.#userId };
      if (error instanceof MalformedSync) throw invalidResponse(subject, error.message, 200);
      throw error;
    }
  }

  async #askFast(since: string | undefined, catchUp: boolean): Promise<Part[] | undefined> {
    if (since !== undefined) return this.#fast.isGrowing ? this.#fast.grow(since, catchUp) : undefined;
    // Who has been delivered to before is owed what has been missed, in every room.
    const isNew = !catchUp && !this.#isKnown;
    return isNew ? this.#fast.begin() : undefined;
  }

  async #askPlain(query: SyncQuery, since: string | undefined, atOnce: boolean, catchUp: boolean): Promise<ReadSync> {
    const { clock, requestTimeoutMs, startTimeoutMs, timelineLimit } = this.#options;
    // After a failure the answer must come at once, so that everybody knows that the connection is back. A first sync
    // is answered at once whatever the timeout.
    const timeout = since === undefined ? cacheBuster(clock) : atOnce ? 0 : Number(query.timeout);
    const timeoutMs = since === undefined ? startTimeoutMs : timeout + requestTimeoutMs;
    const data = await this.#syncRequests.sync({ ...query, since, timeout }, timeoutMs);
    const limit = query.since === undefined ? initialLimit(timelineLimit) : syncLimit(timelineLimit);
    return readSyncResponse(data, { since, catchUp, timelineLimit: limit });
  }

  #handOut(answer: Answer): ISyncResponse {
    const { read, durationMs } = answer;
    const { malformedEvents, response, batch } = read;
    const { logger } = this.#options;
    if (malformedEvents > 0) logger.warn({ userId: this.#userId, malformedEvents }, 'sync held malformed events');
    const { account_data: accountData } = response;
    this.#accountDataChanged = isObject(accountData) && Boolean(accountData.events?.length);
    this.#noteKeysLeft(response, batch.isLate === true);
    this.#feed.prune(response);
    dropKnownEvents(this.matrixClient, response);
    this.#unobserved = !this.#feed.isObserved;
    this.#pending = answer;
    this.#watch = this.#telemetry.sync(this.#userId, kindOf(batch), durationMs);
    return response;
  }

  /** The SDK has processed what it got last, or there was nothing in it for the SDK. */
  async #processed(data: ISyncResponse): Promise<void> {
    const pending = this.#pending;
    const watch = this.#watch;
    this.#pending = undefined;
    if (this.#phase === 'closing' || pending?.read.response !== data) return;
    const { read, growing } = pending;
    const { encryption } = this.#options;
    // Keys that came with it are not on the disk: it has to come again.
    if (encryption?.failure) return this.#fail(encryption.failure);
    encryption?.synced(Boolean(data.device_lists?.changed?.length));
    const roomIds = read.batch.rooms.map(({ roomId }) => roomId);
    trimTimelines(this.matrixClient, roomIds, this.#options.timelineLimit);
    this.#feed.trim(read.stateChanged);
    try {
      const stores = this.#accountDataChanged || growing !== this.#storedAsGrowing;
      this.#storedAsGrowing = growing;
      const held = stores ? this.#feed.heldAccountData() : [];
      const resume = resumeData(this.matrixClient, read.batch, read.stateChanged, stores, growing, held);
      const take = (): Promise<void> => this.#sink({ ...read.batch, ...(resume && { resume }) });
      const taken = watch ? watch(sizeOf(read.batch), take) : take();
      // Somebody has looked at the client while it did not get all of this.
      if (this.#unobserved && this.#feed.isObserved) this.#feed.fill(roomIds);
      await taken;
    } catch (error) {
      this.#fail(asManagerError(error, this.#userId));
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

  #connection(connected: boolean): void {
    if (connected === this.#connected || this.#phase === 'closing') return;
    this.#connected = connected;
    this.#options.onConnection(connected);
  }

  #fail(error: MatrixClientManagerError): void {
    if (this.#phase === 'closing') return;
    if (this.#phase === 'running') this.#options.onFatal(error);
    else this.#firstSync.reject(error);
  }

  #throwIfClosing(error: unknown): void {
    if (this.#poll.signal.aborted) throw error;
  }
}

function kindOf({ since, catchUp, isLate }: EventBatch): SyncKind {
  if (catchUp) return 'catch-up';
  return since === undefined || isLate ? 'initial' : 'live';
}

function sizeOf({ rooms, invites }: EventBatch): SyncSize {
  const events = rooms.reduce((sum, { timeline, ephemeral }) => sum + timeline.length + ephemeral.length, 0);
  return { rooms: rooms.length, events: events + invites.length };
}

function asManagerError(error: unknown, userId: string): MatrixClientManagerError {
  if (isManagerError(error)) return error;
  return new MatrixClientManagerError('CLIENT_FAILED', `the client of ${userId} failed`, { userId, cause: error });
}
