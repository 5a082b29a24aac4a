import type { Provenance } from '../core/client-event.js';
import type { EventBatch, InviteBatch, RoomBatch } from '../core/ports/event-source.js';
import { isObject, isRawEvent } from '../core/raw-event.js';
import type { RawEvent } from '../core/raw-event.js';
import type { SyncKind } from '../core/diagnostic-messages.js';
import type { UnreadCount } from '../core/unread-count.js';
import { invalidResponse } from '../http/response-error.js';
import { cleanReceipts } from './receipts.js';
import { isPresence, readPresence } from './presence.js';
import { isBareEvent, isRoomId, ResponseParts } from './response-parts.js';
import type { BareEvent, JsonObject } from './response-parts.js';

const STATE_AFTER = 'org.matrix.msc4222.state_after';

interface EventList {
  readonly events: readonly unknown[];
}

/** A room of the `join` section. */
export interface JoinedRoomBody extends JsonObject {
  readonly timeline: EventList & { readonly limited?: unknown; readonly prev_batch?: unknown };
  readonly state?: EventList;
  readonly [STATE_AFTER]?: EventList;
}

/** A checked response for the SDK. */
export interface SyncBody extends JsonObject {
  readonly next_batch: string;
  readonly rooms: {
    readonly join?: Readonly<Record<string, JoinedRoomBody>>;
    readonly [section: string]: JsonObject | undefined;
  };
}

/** A batch, and what is needed to store it. */
export interface RoomChanges {
  /** The events for delivery. Each `content` is a shallow copy, because the SDK prunes redacted events in place. */
  readonly batch: EventBatch;
  /** Rooms whose state is stored with the batch. Unloaded rooms are left out, because a stored room counts as loaded. */
  readonly roomsToStore: ReadonlySet<string>;
}

export interface ParsedSync extends RoomChanges {
  readonly kind: SyncKind;
  /** The response for the SDK: the parts that it reads, without events that it cannot process. */
  readonly response: SyncBody;
  /** Number of parts that were left out of `batch`, of `response`, or of both. */
  readonly malformed: number;
}

interface ReadOptions {
  readonly userId: string;
  /** The `since` of the request. */
  readonly since: string | undefined;
  /**
   * Whether the response has events that the user missed: their provenance is then `gap-fill`. True for the first sync
   * after a resume, for the sync after a lost position, and for the sync for missed events.
   */
  readonly isCatchUp: boolean;
  /** The timeline limit of the request. A timeline of this length counts as limited even if the flag is not set. */
  readonly timelineLimit: number;
}

const JOINED_COUNT = 'm.joined_member_count';
const INVITED_COUNT = 'm.invited_member_count';
const THREAD_COUNTS = 'unread_thread_notifications';
const FALLBACK_KEYS = 'device_unused_fallback_key_types';

/**
 * Reads a `/sync` response. Only `next_batch` is required. Every other part is checked on its own: a malformed part is
 * left out and counted, and the other parts are kept. Throws `INVALID_RESPONSE` if `next_batch` is missing.
 * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3sync
 */
export function readSyncResponse(data: unknown, options: ReadOptions): ParsedSync {
  const { userId, since, isCatchUp } = options;
  const position = isObject(data) ? data.next_batch : undefined;
  if (!isObject(data) || typeof position !== 'string' || position === '') {
    throw invalidResponse({ operation: `sync of ${userId}`, userId }, 'next_batch is not a string', 200);
  }
  const parts = new ResponseParts();
  const [kind, provenance] = isCatchUp
    ? (['catch-up', 'gap-fill'] as const)
    : since === undefined
      ? (['initial', 'backlog'] as const)
      : (['live', 'live'] as const);
  const sections = parts.object(data, 'rooms') ?? {};
  const reader = new RoomReader(parts, options, provenance);
  const read = (name: string, toResponse: (room: JsonObject, roomId: string) => JsonObject): JsonObject => {
    const rooms = parts.objects(sections, name, isRoomId).map(([id, room]) => [id, toResponse(room, id)] as const);
    return rooms.length > 0 ? { [name]: Object.fromEntries(rooms) } : {};
  };
  const rooms = {
    ...read('join', (room, roomId) => reader.room(roomId, 'join', room)),
    ...read('leave', (room, roomId) => reader.room(roomId, 'leave', room)),
    ...read('invite', (room, roomId) => reader.invite(roomId, room)),
    ...read('knock', (room) => reader.knock(room)),
  };
  const presence = parts.keepFitForSdk(parts.events(parts.object(data, 'presence'), isPresence));
  const response: JsonObject = {
    next_batch: position,
    rooms,
    ...readGlobalSections(parts, data),
    ...(presence.length > 0 && { presence: { events: presence } }),
  };
  return {
    batch: {
      position,
      scope: since === undefined ? 'all-rooms' : 'changes',
      rooms: reader.rooms,
      invites: reader.invites,
      ...(presence.length > 0 && { presence: readPresence(parts, presence) }),
      ...(changesIgnoredUsers(response) && { ignoredUsersChanged: true }),
    },
    kind,
    response: response as unknown as SyncBody, // every part was checked above
    roomsToStore: reader.roomsToStore,
    malformed: parts.malformed,
  };
}

function changesIgnoredUsers({ account_data: accountData }: JsonObject): boolean {
  const events = (accountData as { events: JsonObject[] } | undefined)?.events ?? [];
  return events.some(({ type }) => type === 'm.ignored_user_list');
}

/** The parts outside rooms, which only the SDK reads. */
function readGlobalSections(parts: ResponseParts, data: JsonObject): JsonObject {
  const bareEvents = (name: string, isEvent: typeof isBareEvent): JsonObject | undefined => {
    const events = parts.keepFitForSdk(parts.events(parts.object(data, name), isEvent));
    return events.length > 0 ? { [name]: { events } } : undefined;
  };
  const deviceLists = parts.object(data, 'device_lists');
  const keyCounts = parts.counts(data, 'device_one_time_keys_count');
  const fallbackKeys = parts.strings(data, FALLBACK_KEYS) ?? parts.strings(data, `org.matrix.msc2732.${FALLBACK_KEYS}`);
  return {
    ...bareEvents('account_data', isBareEvent),
    ...bareEvents('to_device', hasSender),
    ...(deviceLists && {
      device_lists: {
        changed: parts.strings(deviceLists, 'changed') ?? [],
        left: parts.strings(deviceLists, 'left') ?? [],
      },
    }),
    ...(keyCounts && { device_one_time_keys_count: keyCounts }),
    ...(fallbackKeys && { [FALLBACK_KEYS]: fallbackKeys }),
  };
}

/** Reads rooms: notes their batches for delivery, and returns their sections of the response for the SDK. */
class RoomReader {
  readonly rooms: RoomBatch[] = [];
  readonly invites: InviteBatch[] = [];
  readonly roomsToStore = new Set<string>();
  readonly #parts: ResponseParts;
  readonly #options: ReadOptions;
  readonly #provenance: Provenance;
  readonly #internedTexts = new Map<string, string>();

  constructor(parts: ResponseParts, options: ReadOptions, provenance: Provenance) {
    this.#parts = parts;
    this.#options = options;
    this.#provenance = provenance;
  }

  room(roomId: string, membership: 'join' | 'leave', room: JsonObject): JsonObject {
    const parts = this.#parts;
    const { since, timelineLimit } = this.#options;
    const timeline = parts.object(room, 'timeline') ?? {};
    const { limited, prev_batch: prevBatch } = timeline;
    const events = parts.events(timeline, isRawEvent);
    const state = parts.object(room, 'state');
    const stateAfter = parts.object(room, STATE_AFTER);
    const [before, after] = [parts.events(state, isRawEvent), parts.events(stateAfter, isRawEvent)];
    const hasState = before.length + after.length > 0 || events.some((event) => event.state_key !== undefined);
    if (hasState) this.roomsToStore.add(roomId);
    const ephemeral = parts.events(parts.object(room, 'ephemeral'), isBareEvent);
    const counts = this.#counts(room);
    const unread = membership === 'join' ? unreadCount(counts) : undefined;
    this.rooms.push({
      roomId,
      membership,
      provenance: this.#provenance,
      timeline: events.map((event) => this.#copyForDelivery(event)),
      // Synapse may omit the flag (synapse#16463).
      limited: (limited ?? events.length > 0) === true || events.length >= timelineLimit,
      // If an initial timeline is complete, Synapse's prev_batch is the position after it, not before it.
      prevBatch: typeof prevBatch === 'string' && (since !== undefined || limited) ? prevBatch : undefined,
      gapStart: since,
      ephemeral,
      ...(unread && { unread }),
    });
    return {
      timeline: {
        events: parts.keepFitForSdk(events),
        ...(typeof limited === 'boolean' && { limited }),
        prev_batch: typeof prevBatch === 'string' ? prevBatch : null,
      },
      ...(state && { state: { events: parts.keepFitForSdk(before) } }),
      // If this part is present, the SDK does not read state from the timeline.
      ...(stateAfter && { [STATE_AFTER]: { events: parts.keepFitForSdk(after) } }),
      ephemeral: { events: parts.keepFitForSdk(ephemeral).map(cleanEphemeral) },
      account_data: { events: parts.keepFitForSdk(parts.events(parts.object(room, 'account_data'), isBareEvent)) },
      ...counts,
    };
  }

  invite(roomId: string, room: JsonObject): JsonObject {
    const state = this.#parts.events(this.#parts.object(room, 'invite_state'), isStrippedEvent);
    this.invites.push({ roomId, provenance: this.#provenance, state });
    return { invite_state: { events: this.#parts.keepFitForSdk(state) } };
  }

  knock(room: JsonObject): JsonObject {
    const state = this.#parts.events(this.#parts.object(room, 'knock_state'), isStrippedEvent);
    return { knock_state: { events: this.#parts.keepFitForSdk(state) } };
  }

  /** The room summary and the unread counts. */
  #counts(room: JsonObject): JsonObject {
    const parts = this.#parts;
    const summary = parts.object(room, 'summary');
    const { [JOINED_COUNT]: joined = null, [INVITED_COUNT]: invited = null } = summary ?? {};
    const numbers = {
      ...(joined !== null && { [JOINED_COUNT]: joined }),
      ...(invited !== null && { [INVITED_COUNT]: invited }),
    };
    const heroes = summary && parts.strings(summary, 'm.heroes');
    const unread = parts.counts(room, 'unread_notifications');
    const threadCounts = [THREAD_COUNTS, `org.matrix.msc3773.${THREAD_COUNTS}`].find((name) => isObject(room[name]));
    const threads = threadCounts === undefined ? undefined : (room[threadCounts] as JsonObject);
    return {
      ...(summary && { summary: { ...parts.counts({ numbers }, 'numbers'), ...(heroes && { 'm.heroes': heroes }) } }),
      ...(unread && { unread_notifications: unread }),
      ...(threads && {
        [THREAD_COUNTS]: Object.fromEntries(
          Object.keys(threads).map((threadId) => [threadId, parts.counts(threads, threadId) ?? {}]),
        ),
      }),
    };
  }

  /** A copy without `age`, which becomes stale. Senders and types are interned, because the copy stays in memory. */
  #copyForDelivery({ unsigned, ...event }: RawEvent): RawEvent {
    const [type, sender] = [this.#intern(event.type), this.#intern(event.sender)];
    const { age: _age, ...kept } = isObject(unsigned) ? unsigned : {};
    const copy = { ...event, type, sender, content: { ...event.content } };
    return Object.keys(kept).length > 0 ? { ...copy, unsigned: kept } : copy;
  }

  #intern(text: string): string {
    const known = this.#internedTexts.get(text) ?? text;
    this.#internedTexts.set(text, known);
    return known;
  }
}

/**
 * The unread count in a room of a checked response, with that of its threads; undefined if the homeserver does not report
 * it.
 */
function unreadCount(room: JsonObject): UnreadCount | undefined {
  const { unread_notifications: outsideThreads, [THREAD_COUNTS]: threads } = room;
  if (!isObject(outsideThreads)) return undefined;
  const counts = [outsideThreads, ...(isObject(threads) ? Object.values(threads).filter(isObject) : [])];
  let [unread, highlights] = [0, 0];
  for (const { notification_count: all = 0, highlight_count: highlighted = 0 } of counts) {
    unread += Number(all);
    highlights += Number(highlighted);
  }
  return { unread, highlights };
}

function cleanEphemeral({ type, content, ...event }: BareEvent): BareEvent {
  return { ...event, type, content: type === 'm.receipt' ? cleanReceipts(content) : content };
}

function hasSender(value: unknown): value is BareEvent & JsonObject & { readonly sender: string } {
  return isBareEvent(value) && typeof value.sender === 'string';
}

function isStrippedEvent(value: unknown): value is InviteBatch['state'][number] & JsonObject {
  return hasSender(value) && typeof value.state_key === 'string';
}
