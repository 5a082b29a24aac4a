import { MatrixEvent, NotificationCountType, RoomMemberEvent, UserEvent } from 'matrix-js-sdk';
import type { IPushRules, ISyncResponse, MatrixClient, Room } from 'matrix-js-sdk';
import type { ISavedSync } from 'matrix-js-sdk/lib/store/index.js';
import type { KnownTimeline } from '../core/ports/event-source.js';
import { jsonCopy } from '../core/json-copy.js';
import type { UnreadCount } from '../core/unread-count.js';
import { LatestReceipts } from '../sync/receipts.js';
import { isFitForSdk } from '../sync/response-parts.js';
import type { SyncContext } from '../sync/sync-context.js';
import type { ParsedSync } from '../sync/sync-response.js';
import { removeRoomsWithFullState } from './remove-rooms-with-full-state.js';
import { containSdkFailures } from './sdk-containment.js';
import type { OnSdkFailure } from './sdk-containment.js';
import { dropKnownEvents, trimTimelines } from './sdk-timelines.js';
import { SharedReEmitter } from './shared-re-emitter.js';

/** The receipts and unread counts of a room that were not passed to the SDK. */
interface HeldRoom {
  readonly receipts: LatestReceipts;
  unread?: { readonly notification_count?: number; readonly highlight_count?: number };
}

type JoinedRoom = NonNullable<ISyncResponse['rooms']>['join'][string];
/** Events that the SDK emits on room members and users. */
const memberEvents = new Set<string>([...Object.values(RoomMemberEvent), ...Object.values(UserEvent)]);

/**
 * Decides which parts of the sync responses the SDK gets. Until the application asks for the SDK's client, the SDK gets
 * the state of rooms only: messages, receipts, unread counts and push rules take most of a client's memory and CPU, and
 * the library does not read them from the SDK. When the application asks, everything held back is passed on.
 */
export class SdkFeed {
  readonly #client: MatrixClient;
  readonly #timelineLimit: number;
  readonly #encrypts: boolean;
  readonly #heldRooms = new Map<string, HeldRoom>();
  /** The `m.push_rules` event as JSON, which needs less memory than the parsed objects. */
  #pushRules: string | undefined;
  readonly #setPushRules: MatrixClient['setPushRules'];
  readonly #onFailure: OnSdkFailure;
  /** The counts of the device's keys in the last response: the SDK would read missing counts as zero. */
  #deviceKeyCounts: object = {};
  #timelineOf: ((roomId: string) => KnownTimeline | undefined) | undefined;

  /**
   * @param saved - the saved sync that the SDK resumes from; its push rules are removed
   * @param encrypts - whether the client has encryption, which listens to changes of membership
   */
  constructor(client: MatrixClient, context: SyncContext, saved: ISavedSync | undefined, encrypts: boolean) {
    const { userId, diagnostics, logger, timelineLimit } = context;
    this.#client = client;
    this.#timelineLimit = timelineLimit;
    this.#encrypts = encrypts;
    this.#onFailure = (error, roomId) => {
      diagnostics.publish('malformed', { parts: 1 });
      logger.warn({ userId, roomId, err: error }, 'the SDK failed to process a part of a sync; skipping that part');
    };
    containSdkFailures(client, this.#onFailure);
    this.#setPushRules = client.setPushRules.bind(client);
    if (saved) saved.accountData = this.#holdPushRules(saved.accountData);
    const isSuppressed = (name: string): boolean =>
      !this.isComplete && memberEvents.has(name) && !(encrypts && name === (RoomMemberEvent.Membership as string));
    Object.assign(client, { reEmitter: new SharedReEmitter(client, isSuppressed), setPushRules: () => {} });
    const getEventMapper = client.getEventMapper.bind(client);
    client.getEventMapper = (options) => {
      if (this.isComplete) return getEventMapper(options);
      const map = getEventMapper({ ...options, preventReEmit: true });
      return (event) => Object.assign(freeListeners(map(event)), { reEmitter: undefined });
    };
  }

  /** Whether the SDK gets complete responses, because the application has asked for its client. */
  get isComplete(): boolean {
    return this.#timelineOf !== undefined;
  }

  /**
   * Prepares a sync for the SDK. Returns the ids of the rooms that were removed from the client, because the response has
   * their full state.
   * @param response - the response of the sync; changed in place
   */
  prepare(sync: ParsedSync, response: ISyncResponse): string[] {
    const { device_one_time_keys_count: count, device_unused_fallback_key_types: fallback } = response;
    if (sync.batch.scope === 'late-rooms') Object.assign(response, this.#deviceKeyCounts);
    else if (this.#encrypts) {
      this.#deviceKeyCounts = { device_one_time_keys_count: count, device_unused_fallback_key_types: fallback };
    }
    const removed = removeRoomsWithFullState(this.#client, sync);
    this.#holdBack(response);
    dropKnownEvents(this.#client, response);
    return removed;
  }

  /**
   * Moves receipts and push rules from the response to memory, notes the unread counts, and removes messages. Changes the
   * response in place. Does nothing once the feed is complete.
   */
  #holdBack(response: ISyncResponse): void {
    if (this.isComplete) return;
    const { account_data: accountData } = response;
    if (accountData?.events) accountData.events = this.#holdPushRules(accountData.events);
    const { join, leave }: Partial<NonNullable<ISyncResponse['rooms']>> = response.rooms ?? {};
    for (const [roomId, section] of Object.entries(join ?? {})) {
      this.#holdRoomData(roomId, section);
      removeMessages(section);
      if (this.#client.getRoom(roomId)?.getMyMembership() === 'join' && isEmpty(section)) delete join?.[roomId];
    }
    for (const [roomId, section] of Object.entries(leave ?? {})) {
      this.#heldRooms.delete(roomId);
      removeMessages(section);
    }
  }

  /** Whether a response that {@link prepare} has changed still has data for the SDK. */
  hasDataForSdk({ next_batch: _next, rooms, account_data: accountData, ...more }: ISyncResponse): boolean {
    if (this.isComplete || this.#client.getCrypto()) return true;
    const { presence, to_device: toDevice } = more as Partial<ISyncResponse>;
    if ([accountData, presence, toDevice].some((part) => part?.events?.length)) return true;
    return Object.values(rooms ?? {}).some((section) => Object.keys(section ?? {}).length > 0);
  }

  /**
   * Frees what the SDK keeps of rooms that a sync has changed: old events, and the state at the start of the timeline,
   * which only pagination inside the SDK would need.
   * @param withState - rooms whose state has changed
   */
  trim(roomIds: readonly string[], withState: ReadonlySet<string>): void {
    trimTimelines(this.#client, roomIds, this.#timelineLimit);
    if (this.isComplete) return;
    for (const roomId of withState) {
      const room = this.#client.getRoom(roomId);
      if (!room) continue;
      room.oldState.events.clear();
      const empty = { members: {}, sentinels: {}, userIdsToDisplayNames: {}, displayNameToUserIds: new Map() };
      Object.assign(room.oldState, empty);
      for (const member of room.getMembers()) freeListeners(member);
    }
  }

  /** Passes everything held back to the SDK, which gets complete responses from now on. Cannot be undone. */
  passEverything(timelineOf: (roomId: string) => KnownTimeline | undefined): void {
    if (this.isComplete) return;
    const client = this.#client;
    this.#timelineOf = timelineOf;
    client.setPushRules = this.#setPushRules;
    for (const event of this.heldAccountData()) {
      client.store.storeAccountDataEvents([new MatrixEvent(event)]);
      client.setPushRules(event.content);
    }
    this.#pushRules = undefined;
    for (const user of client.getUsers()) client.reEmitter.reEmit(user, Object.values(UserEvent));
    for (const room of client.getRooms()) {
      for (const member of room.getMembers()) client.reEmitter.reEmit(member, Object.values(RoomMemberEvent));
    }
    this.fillTimelines(client.getRooms().map(({ roomId }) => roomId));
    this.#heldRooms.clear();
  }

  /** Gives the SDK the unread counts of rooms that it has no count of. */
  showUnread(counts: Iterable<readonly [roomId: string, count: UnreadCount]>): void {
    for (const [roomId, { unread, highlights }] of counts) {
      const held = this.#heldRooms.get(roomId);
      const room = this.#client.getRoom(roomId);
      if (held) held.unread ??= { notification_count: unread, highlight_count: highlights };
      else if (room && this.isComplete) {
        room.setUnreadNotificationCount(NotificationCountType.Total, unread);
        room.setUnreadNotificationCount(NotificationCountType.Highlight, highlights);
      }
    }
  }

  /** Account data that was not passed to the SDK. */
  heldAccountData(): { readonly type: string; readonly content: IPushRules }[] {
    return this.#pushRules === undefined ? [] : [JSON.parse(this.#pushRules)];
  }

  /** Replaces the SDK's timelines of these rooms by the library's timelines. */
  fillTimelines(roomIds: Iterable<string>): void {
    for (const roomId of roomIds) {
      const room = this.#client.getRoom(roomId);
      if (!room) continue;
      try {
        this.#fillRoom(room);
      } catch (error) {
        this.#onFailure(error, roomId);
      }
    }
  }

  #fillRoom(room: Room): void {
    const timeline = this.#timelineOf?.(room.roomId);
    if (timeline) {
      room.resetLiveTimeline(timeline.prevBatch ?? null);
      const map = this.#client.getEventMapper();
      const events = [...timeline].filter(isFitForSdk);
      this.#addLiveEvents(
        room,
        events.map((event) => map(jsonCopy({ ...event, room_id: room.roomId }))),
      );
    }
    const held = this.#heldRooms.get(room.roomId);
    if (!held) return;
    const { content } = held.receipts;
    if (content) room.addReceipt(new MatrixEvent({ type: 'm.receipt', room_id: room.roomId, content }));
    const { notification_count: total, highlight_count: highlights } = held.unread ?? {};
    if (total !== undefined) room.setUnreadNotificationCount(NotificationCountType.Total, total);
    if (highlights !== undefined) room.setUnreadNotificationCount(NotificationCountType.Highlight, highlights);
  }

  /** Not awaited: the SDK adds the events synchronously while threads are disabled. */
  #addLiveEvents(room: Room, events: MatrixEvent[]): void {
    const add = (added: MatrixEvent[]): Promise<void> =>
      room.addLiveEvents(added, { fromCache: true, addToState: false });
    add(events).catch(async (error: unknown) => {
      this.#onFailure(error, room.roomId);
      for (const event of events) {
        if (room.findEventById(event.getId() ?? '')) continue;
        await add([event]).catch((reason: unknown) => this.#onFailure(reason, room.roomId));
      }
    });
  }

  /** Stores the push rules; returns the other events. */
  #holdPushRules<T extends object>(events: readonly T[]): T[] {
    return events.filter((event) => {
      if (!('type' in event) || event.type !== 'm.push_rules') return true;
      this.#pushRules = JSON.stringify(event);
      return false;
    });
  }

  /** Moves the receipts of the section to memory, and notes its unread counts. */
  #holdRoomData(roomId: string, section: JoinedRoom): void {
    const held = this.#heldRooms.get(roomId) ?? { receipts: new LatestReceipts() };
    this.#heldRooms.set(roomId, held);
    const ephemeral = section.ephemeral?.events ?? [];
    for (const { type, content } of ephemeral) if (type === 'm.receipt') held.receipts.add(content);
    if (ephemeral.length > 0) section.ephemeral.events = ephemeral.filter(({ type }) => type !== 'm.receipt');
    if (section.unread_notifications) held.unread = section.unread_notifications;
  }
}

/** Keeps only state events in the timeline. Any part of the section may be missing. */
function removeMessages({ timeline }: Partial<Pick<JoinedRoom, 'timeline'>>): void {
  if (timeline?.events) timeline.events = timeline.events.filter((event) => 'state_key' in event);
}

/** Whether the section has no events and no summary left. */
function isEmpty({ timeline, state, ephemeral, account_data: accountData, summary, ...section }: JoinedRoom): boolean {
  const parts = [timeline, state, section['org.matrix.msc4222.state_after'], ephemeral, accountData];
  return parts.every((part) => !part?.events?.length) && Object.keys(summary ?? {}).length === 0;
}

/** Frees the listener table of an emitter without listeners; Node creates it again with the first listener. */
function freeListeners<T extends object>(emitter: T): T {
  const { _eventsCount: count } = emitter as { readonly _eventsCount?: number };
  return count === 0 ? Object.assign(emitter, { _events: undefined }) : emitter;
}
