import type { MatrixClient } from '../sdk/matrix-client.js';
import type { CallbackRegistry } from '../callbacks/callback-registry.js';
import type { ManagedClient } from './client-slot.js';
import { onAbort, orTimeout, throwIfAborted } from '../core/abort.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { Claim } from '../core/ports/claim.js';
import { isFromStart } from '../core/ports/event-source.js';
import type { EventBatch } from '../core/ports/event-source.js';
import type { SessionEngine } from '../core/ports/user-engine.js';
import type { MemberProfile } from '../core/member-profile.js';
import { RecentMap } from '../core/recent-map.js';
import { runAllSteps } from '../core/run-all-steps.js';
import type { UserEncryption } from '../sdk/crypto/user-encryption.js';
import type { SyncUser } from '../sdk/sync-client.js';
import type { Gap } from '../delivery/gap-filler.js';
import { Delivery } from '../delivery/delivery.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import type { Session } from '../http/session.js';
import { readMessages } from '../messages/history-api.js';
import type { PageClient } from '../messages/page-request.js';
import type { RoomTimeline } from '../messages/room-timeline.js';
import type { SendingClient } from '../sending/room-sender.js';
import type { StoredCheckpoint } from '../storage/checkpoint.js';
import { eventDecryption } from './event-decryption.js';
import type { UserSettings } from './user-settings.js';
import { RoomTimelines } from '../messages/room-timelines.js';
import { VerificationEvents } from './verification-events.js';

export interface UserSessionOptions extends Omit<SyncUser, 'onReachableChanged' | 'wantsPresence'> {
  /** Not started yet. The session stops it. */
  readonly engine: SessionEngine<MatrixClient>;
  readonly claim: Claim;
  readonly settings: UserSettings;
  readonly callbacks: CallbackRegistry;
  readonly onGap: (gap: Gap) => void;
}

/** How long a stop waits for the storage to commit the last position, in milliseconds. */
const STORE_TIMEOUT_MS = 30_000;

/** For how many senders of filled gaps their profile is kept. */
const REMEMBERED_MEMBERS = 200;

/**
 * Everything that runs for one user while their client is up: engine, delivery, timelines and encryption.
 *
 * This file is a little long because the registry, the pages and the sends all call one object per user.
 */
export class UserSession implements ManagedClient, PageClient, SendingClient {
  readonly session: Session;
  readonly deviceId: string;
  readonly encryption: UserEncryption | undefined;
  readonly #verifications: VerificationEvents;
  readonly #context: HomeserverContext;
  readonly #options: Omit<UserSessionOptions, 'stored'>;
  readonly engine: SessionEngine<MatrixClient>;
  readonly timelines: RoomTimelines;
  /** The rest of a stop that was called from inside a callback, and work after it; undefined for other stops. */
  deferredStop: Promise<void> | undefined;
  #delivery: Delivery;
  /**
   * Whether the backlog of an earlier first sync was not delivered, because no callback asked for it. False while that
   * sync has not loaded all rooms.
   */
  #hasPendingBacklog: boolean;
  /** Aborted by {@link stop}: delivery is not restarted after that. */
  readonly #stopping = new AbortController();
  /** Rooms that the homeserver reported as not encrypted. */
  readonly #unencrypted = new Set<string>();
  /** Profiles of members that history brought, which a client that loads members lazily may not know. */
  readonly #historyMembers = new RecentMap<MemberProfile>(REMEMBERED_MEMBERS);
  readonly #unwatchClaim: () => void;
  /** Why the claim is lost. Nothing is delivered or stored from then on. */
  #claimLoss: MatrixClientManagerError | undefined;

  constructor(context: HomeserverContext, options: UserSessionOptions) {
    const { stored, ...rest } = options; // not kept: `stored` is large and only needed here
    const { engine, credentials, claim, callbacks, settings } = rest;
    const { userId, deviceId } = credentials;
    this.#context = context;
    this.#options = rest;
    this.engine = engine;
    this.session = rest.session;
    this.deviceId = deviceId;
    this.encryption = rest.encryption;
    this.#verifications = new VerificationEvents(rest.encryption);
    this.timelines = new RoomTimelines(settings.timelineLimit);
    this.#delivery = this.#createDelivery(stored);
    const hasPendingPosition = [...stored.lastDelivered.values()].some(({ history }) => history);
    this.#hasPendingBacklog = hasPendingPosition && stored.since !== undefined && !engine.hasUnloadedRooms;
    const needsBacklogFirst = this.#hasPendingBacklog && callbacks.wantsBacklog(userId);
    // The engine resumes after events that were not delivered: callbacksChanged() fetches those first.
    if (needsBacklogFirst || engine.resumesFrom !== stored.since) this.#delivery.deferAll();
    engine.connect({
      accept: (batch) => this.#accept(batch),
      acceptUndelivered: (batch) => {
        this.#appendToTimelines(batch);
        void this.#verifications.takeAll(batch);
      },
      restart: () => this.#restartDelivery(),
      acceptMissed: (batch) => {
        if (isFromStart(batch)) this.#hasPendingBacklog = false;
        return this.#delivery.accept(batch);
      },
      timelineOf: (roomId) => this.timelines.get(roomId),
    });
    this.#unwatchClaim = onAbort(claim.signal, () => this.#endIfOwnedElsewhere(claim.signal.reason));
  }

  /**
   * Call this when a callback for the user's events was registered, or the last one was removed. Delivers the events
   * received while no callback was registered, and the backlog if a callback asks for it.
   */
  callbacksChanged(): void {
    const { callbacks, credentials } = this.#options;
    if (!callbacks.hasAny(credentials.userId)) return this.#delivery.deferUnhandled();
    if (callbacks.wantsPresence(credentials.userId)) this.engine.askForPresence();
    const { hasDeferredEvents, hasDeferredBacklog } = this.#delivery;
    const withBacklog = (this.#hasPendingBacklog || hasDeferredBacklog) && callbacks.wantsBacklog(credentials.userId);
    if (hasDeferredEvents || withBacklog) this.engine.fetchMissedEvents(withBacklog);
  }

  /** How many rooms have a gap that is being retried, or that was given up because the homeserver failed. */
  get stalledRooms(): number {
    return this.#delivery.stalledRooms;
  }

  get overdueCallbacks(): number {
    return this.#options.callbacks.overdueOf(this.#options.credentials.userId);
  }

  /**
   * The room's newest events without a gap up to now. Undefined while the client may be behind: it reconnects or rests,
   * or has not yet received the user's own last message.
   */
  currentTimeline(roomId: string): RoomTimeline | undefined {
    return this.engine.isCurrent ? this.timelines.getIfComplete(roomId) : undefined;
  }

  /** The profile of a member of the room: from the client's state, or sent with history that filled a gap. */
  memberOf(roomId: string, userId: string): MemberProfile | undefined {
    return this.engine.memberOf(roomId, userId) ?? this.#historyMembers.get(`${roomId} ${userId}`);
  }

  /**
   * Call this when a request of the user failed. After a 403 or 404 for a room, drops the room's timeline in memory,
   * and checks before the next sync whether the room still exists.
   */
  requestFailed(error: unknown): void {
    if (!isManagerError(error) || error.roomId === undefined || ![403, 404].includes(error.status ?? 0)) return;
    this.checkRoom(error.roomId);
  }

  /** Drops the room's timeline in memory, and checks before the next sync whether the room still exists. */
  checkRoom(roomId: string): void {
    this.timelines.delete(roomId);
    this.engine.checkRooms();
  }

  /** Call this when the user has read the room up to the event. */
  noteRead(roomId: string, eventId: string): void {
    const events = [...(this.timelines.get(roomId) ?? [])];
    const index = events.findIndex(({ event_id: id }) => id === eventId);
    const { userId } = this.#options.credentials;
    const isLast = index >= 0 && events.slice(index + 1).every(({ sender }) => sender === userId);
    if (isLast) this.engine.unread.noteRead(roomId);
  }

  /**
   * Whether the room's events have to be encrypted. A missing `m.room.encryption` event in the client proves nothing: a
   * sync can return a room while it is being created, and the homeserver can hide the event. So a room counts as unencrypted
   * only if no user has seen it encrypted, the device's keys do not know it, and `askHomeserver` says so: once, or on every
   * call while the client may be behind. Rejects if that cannot be found out.
   */
  async isEncrypted(roomId: string, askHomeserver: () => Promise<boolean>): Promise<boolean> {
    const { encryptedRooms } = this.#options.settings;
    if (this.engine.hasEncryptionEvent(roomId) || encryptedRooms.isInMemory(roomId)) return true;
    // The storage, where another process may have noted the room since, is read before each attempt to send.
    if (this.engine.isCurrent && this.#unencrypted.has(roomId)) return false;
    if (await encryptedRooms.has(roomId)) return true;
    if (await this.encryption?.knowsEncryption(roomId)) {
      encryptedRooms.remember(roomId, {});
      return true;
    }
    if (await askHomeserver()) return true;
    // A sync may have brought the event while the question waited, for instance because of a rate limit.
    if (this.engine.hasEncryptionEvent(roomId) || (await encryptedRooms.has(roomId))) return true;
    this.#unencrypted.add(roomId);
    return false;
  }

  /** Opens the user's encryption, if they have one. Call it before {@link start}. */
  openEncryption(signal: AbortSignal): Promise<void> {
    return this.#orStopped(async () => {
      throwIfAborted(signal, 'opening the encryption');
      const removeListener = onAbort(signal, () => void this.engine.stop().catch(() => {})); // see #orStopped()
      await this.engine.openEncryption().finally(removeListener);
    });
  }

  start(signal: AbortSignal): Promise<void> {
    return this.#orStopped(async () => {
      this.#assertOwner();
      await this.engine.start(signal);
      this.#assertOwner();
      this.callbacksChanged(); // callbacks registered before may have missed events during an earlier run
    });
  }

  /** Runs a step of the start. If it fails, stops the session and rejects with the failure of the step. */
  async #orStopped(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      await this.stop().catch((err: unknown) => {
        const { userId } = this.#options.credentials;
        this.#context.logger.error({ userId, err }, 'stopping a client whose start failed has failed');
      });
      throw error;
    }
  }

  /** Runs every step even if an earlier one fails: an error of the SDK must not keep the position from being stored. */
  async stop(): Promise<void> {
    const { userId } = this.#options.credentials;
    await runAllSteps(
      [
        () => this.#stopping.abort(),
        () => this.#unwatchClaim(),
        () => this.#delivery.abort(),
        () => this.engine.stop(),
        () => this.#finishDelivery(),
      ],
      `stopping ${userId}`,
    );
  }

  /** Waits for running callbacks, up to `stopTimeoutMs`, and stores the position they have reached. */
  async #finishDelivery(): Promise<void> {
    const { callbacks, settings, credentials } = this.#options;
    const { clock, logger } = this.#context;
    const { userId } = credentials;
    const idle = callbacks.whenIdle(userId);
    const timeoutError = (what: string, timeoutMs: number) => (): MatrixClientManagerError => {
      const message = `stopping ${userId}: ${what} within ${timeoutMs} ms`;
      return new MatrixClientManagerError('TIMEOUT', message, { userId });
    };
    if (callbacks.isInsideCallback(userId)) {
      // Called from a callback of this user, which cannot be waited for here. Its event counts as handled once it ends.
      this.deferredStop = idle.then(() => this.#delivery.finish());
      return;
    }
    const { stopTimeoutMs } = settings;
    await orTimeout(idle, clock, stopTimeoutMs, timeoutError('a callback did not end', stopTimeoutMs)).catch(() => {
      logger.warn({ userId }, 'a callback still runs after its client was stopped; its event is delivered again');
      callbacks.abortCalls(userId);
    });
    const storeError = timeoutError('the storage did not store the position', STORE_TIMEOUT_MS);
    await orTimeout(this.#delivery.finish(), clock, STORE_TIMEOUT_MS, storeError).finally(() =>
      this.#delivery.stopCommitting(),
    );
  }

  #accept(batch: EventBatch): Promise<void> {
    this.#appendToTimelines(batch);
    const { callbacks, credentials } = this.#options;
    // Decrypting the others would cost more than all else that such a client does.
    if (!callbacks.hasAny(credentials.userId)) this.#verifications.takeUnencrypted(batch);
    return this.#delivery.accept(batch);
  }

  #appendToTimelines(batch: EventBatch): void {
    // The homeserver decides who is ignored; it leaves their messages out of pages.
    if (batch.ignoredUsersChanged) this.timelines.restart();
    for (const room of batch.rooms) {
      // Live events of a backfilled room may have been appended before: the timeline begins anew.
      if (batch.scope === 'late-rooms') this.timelines.delete(room.roomId);
      this.timelines.append(room);
    }
  }

  #createDelivery(stored: StoredCheckpoint): Delivery {
    const { claim, credentials, session, settings, callbacks, encryption, onGap } = this.#options;
    const { http, diagnostics } = this.#context;
    const { userId } = credentials;
    const { storage, gapFillLimit, gapFillTimeoutMs } = settings;
    return new Delivery(this.#context, {
      userId,
      stored,
      commit: async (change) => {
        try {
          this.#assertOwner();
          await diagnostics.trace('checkpoint', { userId }, () => storage.commit(userId, change, claim));
        } catch (error) {
          this.#endIfOwnedElsewhere(error);
          throw error;
        }
      },
      hasCallbacks: () => callbacks.hasAny(userId),
      dispatch: async (event, signal, record) => {
        try {
          this.#assertOwner();
          if (this.#verifications.take(event)) return true;
          diagnostics.publish('event', event);
          return await callbacks.dispatch(event, signal, record, claim);
        } catch (error) {
          if (this.#endIfOwnedElsewhere(error)) return false;
          throw error;
        }
      },
      decrypt: encryption && eventDecryption(this.#context, encryption, settings.encryption?.decryptionTimeoutMs),
      memberOf: (roomId, member) => this.memberOf(roomId, member),
      readHistory: async (request) => {
        const page = await readMessages(http, session, request);
        settings.encryptedRooms.noteEvents(request.roomId, page.events);
        for (const [member, profile] of page.members) this.#historyMembers.set(`${request.roomId} ${member}`, profile);
        return page;
      },
      gapFillLimit,
      gapFillTimeoutMs,
      onGap: (gap) => {
        this.requestFailed(gap.error);
        onGap(gap);
      },
    });
  }

  /** Replaces the delivery by one that begins at the stored checkpoint. Resolves to that checkpoint. */
  async #restartDelivery(): Promise<StoredCheckpoint> {
    const { credentials, settings } = this.#options;
    const { hasDeferredBacklog } = this.#delivery;
    this.#delivery.abort();
    await this.#delivery.finish();
    const stored = await settings.storage.loadCheckpoint(credentials.userId);
    throwIfAborted(this.#stopping.signal, 'resuming delivery');
    this.#assertOwner(); // what was loaded may be newer than this session
    this.#hasPendingBacklog ||= hasDeferredBacklog;
    this.#delivery = this.#createDelivery(stored);
    return stored;
  }

  /** Throws `OWNED_ELSEWHERE` if the user belongs to another process now, and ends the client then. */
  #assertOwner(): void {
    try {
      this.#options.claim.assertHeld();
    } catch (error) {
      this.#endIfOwnedElsewhere(error);
      throw error;
    }
    if (this.#claimLoss) throw this.#claimLoss;
  }

  /**
   * If `error` says that the user has another owner: begins no callback and no commit from now on, and ends the client.
   */
  #endIfOwnedElsewhere(error: unknown): boolean {
    if (!isManagerError(error, 'OWNED_ELSEWHERE')) return false;
    if (this.#claimLoss) return true;
    this.#claimLoss = error;
    this.#delivery.abort();
    this.#delivery.stopCommitting();
    this.#options.onFatal(error);
    return true;
  }
}
