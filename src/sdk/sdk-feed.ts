import { MatrixEvent, NotificationCountType, RoomMemberEvent, UserEvent } from 'matrix-js-sdk';
import type { IPushRules, ISyncResponse, MatrixClient, Room } from 'matrix-js-sdk';
import type { ISavedSync } from 'matrix-js-sdk/lib/store/index.js';
import type { RawEvent } from '../core/raw-event.js';
import { jsonCopy } from '../core/json-copy.js';
import { LatestReceipts } from '../sync/receipts.js';
import { isFitForSdk } from '../sync/response-parts.js';
import { containSdkFailures } from './sdk-containment.js';
import type { OnSdkFailure } from './sdk-containment.js';
import { SharedReEmitter } from './shared-re-emitter.js';

/** The newest events of a room, oldest first, as far as they are known without a hole. */
export interface KnownTimeline extends Iterable<RawEvent> {
  /** A `/messages` token for what lies before them. */
  readonly prevBatch: string | undefined;
}

/** What the SDK has not been told of a room. */
interface HeldRoom {
  readonly receipts: LatestReceipts;
  unread?: { readonly notification_count?: number; readonly highlight_count?: number };
}

type JoinedRoom = NonNullable<ISyncResponse['rooms']>['join'][string];
/** Events of room members and users, of which there are many. */
const emittedByPeople = new Set<string>([...Object.values(RoomMemberEvent), ...Object.values(UserEvent)]);

/**
 * What the SDK gets of the sync responses. Until somebody looks at the client, that is the state of its rooms and no
 * message, receipt, unread count or push rule: delivery and pages need none of them there, and they are most of what a
 * client costs in memory and an event in CPU. Who looks finds everything.
 */
export class SdkFeed {
  readonly #client: MatrixClient;
  readonly #held = new Map<string, HeldRoom>();
  /** The user's push rules, an event as JSON: thousands of objects in all clients together. */
  #pushRules: string | undefined;
  readonly #setPushRules: MatrixClient['setPushRules'];
  readonly #onFailure: OnSdkFailure;
  #timelineOf: ((roomId: string) => KnownTimeline | undefined) | undefined;

  /**
   * @param saved - what the SDK will resume from
   * @param onFailure - called when the SDK cannot take something in, which costs that and nothing else
   * @param encrypts - whether the client has encryption, which looks at who comes into a room
   */
  constructor(client: MatrixClient, saved: ISavedSync | undefined, onFailure: OnSdkFailure, encrypts = false) {
    this.#client = client;
    this.#onFailure = onFailure;
    containSdkFailures(client, onFailure);
    this.#setPushRules = client.setPushRules.bind(client);
    if (saved) saved.accountData = this.#withoutPushRules(saved.accountData);
    const isOff = (name: string): boolean =>
      !this.isMaterialized &&
      emittedByPeople.has(name) &&
      !(encrypts && name === (RoomMemberEvent.Membership as string));
    Object.assign(client, { reEmitter: new SharedReEmitter(client, isOff), setPushRules: () => {} });
    const getEventMapper = client.getEventMapper.bind(client);
    client.getEventMapper = (options) => {
      if (this.isMaterialized) return getEventMapper(options);
      const map = getEventMapper({ ...options, preventReEmit: true });
      return (event) => Object.assign(withoutListeners(map(event)), { reEmitter: undefined });
    };
  }

  /** Whether somebody has looked at the client. */
  get isMaterialized(): boolean {
    return this.#timelineOf !== undefined;
  }

  /** Takes out of a response what nobody reads. */
  prune(response: ISyncResponse): void {
    if (this.isMaterialized) return;
    const { account_data: accountData } = response;
    if (accountData?.events) accountData.events = this.#withoutPushRules(accountData.events);
    const { join, leave }: Partial<NonNullable<ISyncResponse['rooms']>> = response.rooms ?? {};
    for (const [roomId, section] of Object.entries(join ?? {})) {
      this.#hold(roomId, section);
      withoutMessages(section);
      if (this.#client.getRoom(roomId)?.getMyMembership() === 'join' && isEmpty(section)) delete join?.[roomId];
    }
    for (const [roomId, section] of Object.entries(leave ?? {})) {
      this.#held.delete(roomId);
      withoutMessages(section);
    }
  }

  /** Whether there is anything for the SDK in what {@link prune} has left of a response. */
  concerns({ next_batch: _next, rooms, account_data: accountData, ...more }: ISyncResponse): boolean {
    if (this.isMaterialized || this.#client.getCrypto()) return true;
    const { presence, to_device: toDevice } = more as Partial<ISyncResponse>;
    if ([accountData, presence, toDevice].some((part) => part?.events?.length)) return true;
    return Object.values(rooms ?? {}).some((section) => Object.keys(section ?? {}).length > 0);
  }

  /** Frees the state at the start of the rooms' timelines: nobody goes back from there. */
  trim(roomIds: Iterable<string>): void {
    if (this.isMaterialized) return;
    for (const roomId of roomIds) {
      const room = this.#client.getRoom(roomId);
      if (!room) continue;
      room.oldState.events.clear();
      const none = { members: {}, sentinels: {}, userIdsToDisplayNames: {}, displayNameToUserIds: new Map() };
      Object.assign(room.oldState, none);
      for (const member of room.getMembers()) withoutListeners(member);
    }
  }

  /** From now on the SDK gets everything, beginning with what it has not been told. */
  materialize(timelineOf: (roomId: string) => KnownTimeline | undefined): void {
    if (this.isMaterialized) return;
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
    this.fill(client.getRooms().map(({ roomId }) => roomId));
    this.#held.clear();
  }

  /** Account data that the SDK has not been told. */
  heldAccountData(): { readonly type: string; readonly content: IPushRules }[] {
    return this.#pushRules === undefined ? [] : [JSON.parse(this.#pushRules)];
  }

  /** Gives the SDK the timelines of these rooms anew. */
  fill(roomIds: Iterable<string>): void {
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
      const fit = [...timeline].filter(isFitForSdk);
      this.#addLiveEvents(
        room,
        fit.map((event) => map(jsonCopy({ ...event, room_id: room.roomId }))),
      );
    }
    const held = this.#held.get(room.roomId);
    if (!held) return;
    const { content } = held.receipts;
    if (content) room.addReceipt(new MatrixEvent({ type: 'm.receipt', room_id: room.roomId, content }));
    const { notification_count: total, highlight_count: highlights } = held.unread ?? {};
    if (total !== undefined) room.setUnreadNotificationCount(NotificationCountType.Total, total);
    if (highlights !== undefined) room.setUnreadNotificationCount(NotificationCountType.Highlight, highlights);
  }

  /** The SDK waits for nothing here, unless threads are on, and they are off. */
  #addLiveEvents(room: Room, events: MatrixEvent[]): void {
    const add = (some: MatrixEvent[]): Promise<void> =>
      room.addLiveEvents(some, { fromCache: true, addToState: false });
    add(events).catch(async (error: unknown) => {
      this.#onFailure(error, room.roomId);
      for (const event of events) {
        if (room.findEventById(event.getId() ?? '')) continue;
        await add([event]).catch((reason: unknown) => this.#onFailure(reason, room.roomId));
      }
    });
  }

  #withoutPushRules<T extends object>(events: readonly T[]): T[] {
    return events.filter((event) => {
      if (!('type' in event) || event.type !== 'm.push_rules') return true;
      this.#pushRules = JSON.stringify(event);
      return false;
    });
  }

  #hold(roomId: string, section: JoinedRoom): void {
    const held = this.#held.get(roomId) ?? { receipts: new LatestReceipts() };
    this.#held.set(roomId, held);
    const ephemeral = section.ephemeral?.events ?? [];
    for (const { type, content } of ephemeral) if (type === 'm.receipt') held.receipts.add(content);
    if (ephemeral.length > 0) section.ephemeral.events = ephemeral.filter(({ type }) => type !== 'm.receipt');
    if (section.unread_notifications) held.unread = section.unread_notifications;
  }
}

/** The homeserver may have left out any part. */
function withoutMessages({ timeline }: Partial<Pick<JoinedRoom, 'timeline'>>): void {
  if (timeline?.events) timeline.events = timeline.events.filter((event) => 'state_key' in event);
}

/** Whether the section has nothing left to tell. */
function isEmpty({ timeline, state, ephemeral, account_data: accountData, summary, ...section }: JoinedRoom): boolean {
  const parts = [timeline, state, section['org.matrix.msc4222.state_after'], ephemeral, accountData];
  return parts.every((part) => !part?.events?.length) && Object.keys(summary ?? {}).length === 0;
}

/** What nobody listens to needs no place for listeners; Node makes it with the first one. */
function withoutListeners<T extends object>(emitter: T): T {
  const { _eventsCount: count } = emitter as { readonly _eventsCount?: number };
  return count === 0 ? Object.assign(emitter, { _events: undefined }) : emitter;
}
