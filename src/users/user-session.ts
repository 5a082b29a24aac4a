import type { MatrixClient } from '../sdk/matrix-client.js';
import type { CallbackRegistry } from '../callbacks/callback-registry.js';
import type { ClientHooks } from './client-registry.js';
import type { ManagedClient } from './client-slot.js';
import { knownRoomsOf, resumePosition } from '../sdk/room-snapshots.js';
import { SyncClient } from '../sdk/sync-client.js';
import type { ClientGate } from '../sync/sync-poll.js';
import { delay, orTimeout, throwIfAborted } from '../core/abort.js';
import type { Credentials } from '../core/credentials.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { EventBatch } from '../core/ports/event-source.js';
import { everyStep } from '../core/every-step.js';
import type { Telemetry } from '../core/telemetry.js';
import type { UserEncryption } from '../sdk/crypto/user-encryption.js';
import type { Gap } from '../delivery/delivery.js';
import { Delivery } from '../delivery/delivery.js';
import type { AnswersOtherRequests } from '../http/failing-time.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { ServerVersions } from '../http/server-versions.js';
import type { Session } from '../http/session.js';
import { readMessages } from '../messages/history-api.js';
import type { RoomTimeline } from '../messages/room-timeline.js';
import type { StoredCheckpoint } from '../storage/checkpoint.js';
import { eventDecryption } from './event-decryption.js';
import type { UserSettings } from './user-settings.js';
import { RoomTimelines } from '../messages/room-timelines.js';

export interface UserSessionOptions {
  readonly credentials: Credentials;
  readonly session: Session;
  readonly stored: StoredCheckpoint;
  readonly settings: UserSettings;
  readonly http: HomeserverHttp;
  readonly versions: ServerVersions;
  readonly gate: ClientGate;
  readonly answersOtherwise: AnswersOtherRequests;
  readonly telemetry: Telemetry;
  readonly callbacks: CallbackRegistry;
  readonly hooks: ClientHooks;
  /** The keys of the device; undefined where the user has no encryption. */
  readonly encryption: UserEncryption | undefined;
  readonly onGap: (gap: Gap) => void;
}

/** How long a storage is given to take the last position, in milliseconds. */
const STORE_TIMEOUT_MS = 30_000;

/**
 * All that runs for one user while their client is up: the client, what it delivers, and the timelines it has seen.
 *
 * This file is a little long because what the registry, the pages and the sends need of a client meets here.
 */
export class UserSession implements ManagedClient {
  readonly session: Session;
  readonly deviceId: string;
  readonly encryption: UserEncryption | undefined;
  /** Whether it begins where the user had been. */
  readonly resumed: boolean;
  readonly #options: Omit<UserSessionOptions, 'stored'>;
  readonly #sync: SyncClient;
  #delivery: Delivery;
  /** Whether callbacks that ask for the backlog are owed that of an earlier first sync, and it is all there. */
  #owesBacklog: boolean;
  /** Ends the reading of the stored position. */
  readonly #ending = new AbortController();
  readonly #timelines: RoomTimelines;
  /** Rooms that were not encrypted when the homeserver was asked. */
  readonly #unencrypted = new Set<string>();
  #deferredStop: Promise<void> | undefined;

  constructor(options: UserSessionOptions) {
    const { stored, ...rest } = options; // what is stored is large, and needed once
    const { credentials, session, settings, http, versions, gate, telemetry, hooks } = rest;
    const { userId, deviceId } = credentials;
    const { logger } = settings;
    this.#options = rest;
    this.session = session;
    this.deviceId = deviceId;
    this.encryption = rest.encryption;
    this.#timelines = new RoomTimelines(settings.timelineLimit);
    this.resumed = stored.since !== undefined;
    this.#sync = new SyncClient({
      ...settings,
      ...hooks,
      credentials,
      session,
      stored,
      http,
      versions,
      gate,
      answersOtherwise: rest.answersOtherwise,
      telemetry,
      encryption: rest.encryption,
      missed: {
        begin: () => this.#restartDelivery(),
        take: (batch) => {
          if (batch.since === undefined) this.#owesBacklog = false;
          return this.#delivery.accept(batch);
        },
      },
      onPositionLost: (error) => {
        logger.warn({ userId, err: error }, 'the homeserver rejects the sync position; starting a fresh sync');
      },
    });
    this.#delivery = this.#createDelivery(stored);
    const isMarked = [...stored.lastDelivered.values()].some(({ history }) => history);
    this.#owesBacklog = isMarked && stored.since !== undefined && knownRoomsOf(stored) === undefined;
    const comesFirst = this.#owesBacklog && rest.callbacks.wantsBacklog(userId);
    if (comesFirst || resumePosition(stored) !== stored.since) this.#delivery.hold(); // what it has had is owed
    this.#sync.connect((batch) => this.#accept(batch));
  }

  /** Delivers to the callbacks there are what came while there was none, and the backlog if one asks for that. */
  callbackAdded(): void {
    const { callbacks, credentials } = this.#options;
    if (callbacks.count(credentials.userId) === 0) return;
    const { owesEvents, owesBacklog } = this.#delivery;
    const history = (this.#owesBacklog || owesBacklog) && callbacks.wantsBacklog(credentials.userId);
    if (owesEvents || history) this.#sync.catchUp(history);
  }

  /** The last callback was removed. */
  callbacksEmptied(): void {
    this.#delivery.pauseUntilHeard();
  }

  /** The client, which from now on knows all that the library knows. */
  materializeSdkClient(): MatrixClient {
    this.#sync.materialize((roomId) => this.#timelines.get(roomId));
    return this.#sync.matrixClient;
  }

  get lastSyncAt(): number | undefined {
    return this.#sync.lastSyncAt;
  }

  get isIncomplete(): boolean {
    return this.#sync.isIncomplete;
  }

  /** How many rooms wait for, or have lost, events that the homeserver does not tell. */
  get stalledRooms(): number {
    return this.#delivery.stalledRooms;
  }

  get overdueCallbacks(): number {
    return this.#options.callbacks.overdueOf(this.#options.credentials.userId);
  }

  /** The room's newest events, as far as they have come by sync. */
  timeline(roomId: string): RoomTimeline | undefined {
    return this.#timelines.get(roomId);
  }

  /**
   * The room's newest events without a hole up to now; undefined while the client may be behind: it reconnects or
   * rests, or the user's own last message has not come back yet.
   */
  currentTimeline(roomId: string): RoomTimeline | undefined {
    return this.#sync.isCurrent ? this.#timelines.withOwnEvents(roomId) : undefined;
  }

  /** A request of the user failed: where a room was refused, what is in memory of it does not count any more. */
  requestFailed(error: unknown): void {
    if (!isManagerError(error) || error.roomId === undefined || ![403, 404].includes(error.status ?? 0)) return;
    this.#timelines.delete(error.roomId);
    this.#sync.checkRooms();
  }

  /** The user has sent an event, which is to be seen in what they read next. */
  messageSent(roomId: string, eventId: string): void {
    this.#timelines.hasSent(roomId, eventId);
  }

  rest(pollIntervalMs: number): void {
    this.#sync.rest(pollIntervalMs);
  }

  wake(): void {
    this.#sync.wake();
  }

  /**
   * Whether the room's events have to be encrypted. That the client knows no such state says nothing: a sync can bring
   * a room while it is being made. So the homeserver is asked once by `ask` before a room counts as unencrypted, and
   * each time while the client may be behind.
   */
  async isEncrypted(roomId: string, ask: () => Promise<boolean>): Promise<boolean> {
    if (this.#sync.matrixClient.getRoom(roomId)?.hasEncryptionStateEvent()) return true;
    if (this.#sync.isCurrent && this.#unencrypted.has(roomId)) return false;
    if (await ask()) return true;
    this.#unencrypted.add(roomId);
    return false;
  }

  /** Opens the user's encryption, where they have one; before {@link start}. After a rejection the client is stopped. */
  async openEncryption(signal: AbortSignal): Promise<void> {
    const abort = (): void => void this.#sync.stop();
    signal.addEventListener('abort', abort, { once: true });
    try {
      if (signal.aborted) abort();
      await this.#sync.openEncryption();
    } catch (error) {
      await this.stop();
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  async start(signal: AbortSignal): Promise<void> {
    try {
      await this.#sync.start(signal);
      this.callbackAdded(); // those registered before may be owed something from an earlier start
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Each step is taken whatever those before it came to: a position must not stay unstored because of the SDK. */
  async stop(): Promise<void> {
    const { userId } = this.#options.credentials;
    await everyStep(
      [() => this.#ending.abort(), () => this.#delivery.abort(), () => this.#sync.stop(), () => this.#finishDelivery()],
      `stopping ${userId}`,
    );
  }

  /** Stores how far the callbacks got, when they are done or have had their time. */
  async #finishDelivery(): Promise<void> {
    const { callbacks, settings, credentials } = this.#options;
    const { userId } = credentials;
    const idle = callbacks.idle(userId).then(() => true);
    if (callbacks.isInside(userId)) {
      // Stopped by one of its own callbacks, which ends after this: its event counts as handled then.
      this.#deferredStop = idle.then(() => this.#delivery.finish());
      return;
    }
    const timeout = new AbortController();
    const waited = delay(settings.clock, settings.stopTimeoutMs, timeout.signal, 'stopping').then(
      () => false,
      () => false,
    );
    const done = await Promise.race([idle, waited]);
    timeout.abort();
    if (!done) {
      settings.logger.warn({ userId }, 'a callback still runs after its client was stopped; its event comes again');
      callbacks.abortCalls(userId);
    }
    const message = `stopping ${userId}: the storage did not take the position within ${STORE_TIMEOUT_MS} ms`;
    const late = (): MatrixClientManagerError => new MatrixClientManagerError('TIMEOUT', message, { userId });
    await orTimeout(this.#delivery.finish(), settings.clock, STORE_TIMEOUT_MS, late).finally(() =>
      this.#delivery.giveUp(),
    );
  }

  /** Resolves when a stop from inside a callback is through. */
  get deferredStop(): Promise<void> | undefined {
    return this.#deferredStop;
  }

  async #accept(batch: EventBatch): Promise<void> {
    for (const room of batch.rooms) {
      if (batch.isBackfilledRooms) this.#timelines.delete(room.roomId); // a room's news may have come before it
      this.#timelines.append(room);
    }
    await this.#delivery.accept(batch);
  }

  #createDelivery(stored: StoredCheckpoint): Delivery {
    const { credentials, session, settings, http, telemetry, callbacks, encryption, onGap } = this.#options;
    const { answersOtherwise } = this.#options;
    const { userId } = credentials;
    const { storage, clock, logger, gapFillLimit, gapFillTimeoutMs } = settings;
    return new Delivery({
      userId,
      stored,
      checkpoint: {
        commit: (change) => telemetry.checkpoint(userId, () => storage.commit(userId, change)),
      },
      isListenedTo: () => callbacks.count(userId) > 0,
      dispatch: (event, signal, record) => {
        telemetry.event(event.type, event.provenance);
        return callbacks.dispatch(event, signal, record);
      },
      decrypt: encryption && eventDecryption(encryption, this.#options),
      readHistory: (request) => readMessages(http, session, request),
      gapFillLimit,
      gapFillTimeoutMs,
      answersOtherwise,
      onGap: (gap) => {
        this.requestFailed(gap.error);
        onGap(gap);
      },
      telemetry,
      clock,
      logger,
    });
  }

  /** Delivers from the stored position on; resolves to that position. */
  async #restartDelivery(): Promise<string | undefined> {
    const { credentials, settings } = this.#options;
    const { owesBacklog } = this.#delivery;
    this.#delivery.abort();
    await this.#delivery.finish();
    const stored = await settings.storage.loadCheckpoint(credentials.userId);
    throwIfAborted(this.#ending.signal, 'resuming delivery');
    this.#owesBacklog ||= owesBacklog;
    this.#delivery = this.#createDelivery(stored);
    return stored.since;
  }
}
