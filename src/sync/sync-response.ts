import type { EventBatch, InviteBatch, RoomBatch } from '../core/ports/event-source.js';
import { isObject, isRawEvent } from '../core/raw-event.js';
import type { RawEvent } from '../core/raw-event.js';
import { cleanReceipts } from './receipts.js';
import { isBareEvent, isRoomId, ResponseParts } from './response-parts.js';
import type { BareEvent, JsonObject } from './response-parts.js';

/** A sync response without a position: there is no going on from it. */
export class MalformedSync extends Error {
  override readonly name = 'MalformedSync';
}

const STATE_AFTER = 'org.matrix.msc4222.state_after';

interface EventList {
  readonly events: readonly unknown[];
}

/** A room of the `join` section. */
export interface JoinedRoomBody {
  readonly timeline: EventList & { readonly limited?: unknown; readonly prev_batch?: unknown };
  readonly state?: EventList;
  readonly [STATE_AFTER]?: EventList;
}

/** A response as it goes on to the client: all of it was checked. */
export interface SyncBody extends JsonObject {
  readonly next_batch: string;
  readonly rooms: {
    readonly join?: Readonly<Record<string, JoinedRoomBody>>;
    readonly [section: string]: JsonObject | undefined;
  };
}

export interface ReadSync {
  /** What delivery gets. Contents are copied one level deep: the SDK prunes redacted events in place. */
  readonly batch: EventBatch;
  /** What the SDK gets: the parts that it reads, without what it could not take in. */
  readonly response: SyncBody;
  /** Rooms whose state the response tells more about. */
  readonly stateChanged: ReadonlySet<string>;
  /** How many parts were left out, since they are not what the specification promises. */
  readonly malformed: number;
}

export interface ReadOptions {
  /** The position that was asked from. */
  readonly since: string | undefined;
  /** Whether the position is from before the client was started. */
  readonly catchUp: boolean;
  /** The timeline limit that was asked for: a timeline that is full may be cut, whatever `limited` says. */
  readonly timelineLimit: number;
}

/** A room as delivery gets it, and as the SDK does. */
interface ReadRoom<T> {
  readonly batch: T;
  readonly response: JsonObject;
}

const JOINED = 'm.joined_member_count';
const INVITED = 'm.invited_member_count';
const THREAD_COUNTS = 'unread_thread_notifications';
const FALLBACK_KEYS = 'device_unused_fallback_key_types';

/**
 * Reads a `/sync` response of an unknown homeserver. Every part but the position is optional and checked on its own:
 * one that is not what it should be is left out and counted, and costs nothing else.
 * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3sync
 */
export function readSyncResponse(data: unknown, { since, catchUp, timelineLimit }: ReadOptions): ReadSync {
  if (!isObject(data)) throw new MalformedSync('the body is no object');
  const { next_batch: nextBatch } = data;
  if (typeof nextBatch !== 'string' || nextBatch === '') throw new MalformedSync('next_batch is no string');
  const parts = new ResponseParts();
  const sections = parts.object(data, 'rooms') ?? {};
  const reader = new RoomReader(parts, timelineLimit, since === undefined);
  const read = <T>(name: string, room: (roomId: string, room: JsonObject) => T): [string, T][] =>
    parts.objects(sections, name, isRoomId).map(([roomId, section]) => [roomId, room(roomId, section)]);
  const join = read('join', (roomId, room) => reader.room(roomId, 'join', room));
  const leave = read('leave', (roomId, room) => reader.room(roomId, 'leave', room));
  const invite = read('invite', (roomId, room) => reader.invite(roomId, room));
  const knock = read('knock', (_roomId, room) => reader.knock(room));
  const rooms = {
    ...(join.length > 0 && { join: responses(join) }),
    ...(leave.length > 0 && { leave: responses(leave) }),
    ...(invite.length > 0 && { invite: responses(invite) }),
    ...(knock.length > 0 && { knock: responses(knock) }),
  };
  const response = { next_batch: nextBatch, rooms, ...readRest(parts, data) };
  return {
    batch: {
      since,
      nextBatch,
      rooms: [...join, ...leave].map(([, { batch }]) => batch),
      invites: invite.map(([, { batch }]) => batch),
      catchUp,
    },
    response: response as unknown as SyncBody, // all of it has just been checked
    stateChanged: reader.stateChanged,
    malformed: parts.malformed,
  };
}

function responses(rooms: readonly (readonly [string, { readonly response: JsonObject }])[]): JsonObject {
  return Object.fromEntries(rooms.map(([roomId, { response }]) => [roomId, response]));
}

/** What belongs to no room; only the SDK takes it. */
function readRest(parts: ResponseParts, data: JsonObject): JsonObject {
  const bareEvents = (name: string, isOne: typeof isBareEvent): JsonObject | undefined => {
    const events = parts.forSdk(parts.events(parts.object(data, name), isOne));
    return events.length > 0 ? { [name]: { events } } : undefined;
  };
  const deviceLists = parts.object(data, 'device_lists');
  const keyCounts = parts.counts(data, 'device_one_time_keys_count');
  const fallbackKeys = parts.strings(data, FALLBACK_KEYS) ?? parts.strings(data, `org.matrix.msc2732.${FALLBACK_KEYS}`);
  return {
    ...bareEvents('account_data', isBareEvent),
    ...bareEvents('presence', isSentEvent),
    ...bareEvents('to_device', isSentEvent),
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

class RoomReader {
  readonly stateChanged = new Set<string>();
  readonly #parts: ResponseParts;
  readonly #texts = new Map<string, string>();
  readonly #timelineLimit: number;
  readonly #initial: boolean;

  constructor(parts: ResponseParts, timelineLimit: number, initial: boolean) {
    this.#parts = parts;
    this.#timelineLimit = timelineLimit;
    this.#initial = initial;
  }

  room(roomId: string, membership: 'join' | 'leave', room: JsonObject): ReadRoom<RoomBatch> {
    const parts = this.#parts;
    const timeline = parts.object(room, 'timeline') ?? {};
    const { limited, prev_batch: prevBatch } = timeline;
    const events = parts.events(timeline, isRawEvent);
    const state = parts.object(room, 'state');
    const stateAfter = parts.object(room, STATE_AFTER);
    const [before, after] = [parts.events(state, isRawEvent), parts.events(stateAfter, isRawEvent)];
    const stateful = before.length + after.length > 0 || events.some((event) => event.state_key !== undefined);
    if (stateful) this.stateChanged.add(roomId);
    const ephemeral = parts.events(parts.object(room, 'ephemeral'), isBareEvent);
    return {
      batch: {
        roomId,
        membership,
        timeline: events.map((event) => this.#snapshot(event)),
        // Synapse has been seen to leave the flag out (synapse#16463).
        limited: (limited ?? events.length > 0) === true || events.length >= this.#timelineLimit,
        // Of an initial timeline that is whole, Synapse's prev_batch is the position after it.
        prevBatch: typeof prevBatch === 'string' && !(this.#initial && !limited) ? prevBatch : undefined,
        ephemeral,
      },
      response: {
        timeline: {
          events: parts.forSdk(events),
          ...(typeof limited === 'boolean' && { limited }),
          prev_batch: typeof prevBatch === 'string' ? prevBatch : null,
        },
        ...(state && { state: { events: parts.forSdk(before) } }),
        // The SDK takes no state from the timeline of a room that has this part.
        ...(stateAfter && { [STATE_AFTER]: { events: parts.forSdk(after) } }),
        ephemeral: { events: parts.forSdk(ephemeral).map(cleanEphemeral) },
        account_data: { events: parts.forSdk(parts.events(parts.object(room, 'account_data'), isBareEvent)) },
        ...this.#counts(room),
      },
    };
  }

  invite(roomId: string, room: JsonObject): ReadRoom<InviteBatch> {
    const state = this.#parts.events(this.#parts.object(room, 'invite_state'), isStrippedEvent);
    return { batch: { roomId, state }, response: { invite_state: { events: this.#parts.forSdk(state) } } };
  }

  knock(room: JsonObject): ReadRoom<undefined> {
    const state = this.#parts.events(this.#parts.object(room, 'knock_state'), isStrippedEvent);
    return { batch: undefined, response: { knock_state: { events: this.#parts.forSdk(state) } } };
  }

  /** What tells of members and of what is unread. */
  #counts(room: JsonObject): JsonObject {
    const parts = this.#parts;
    const summary = parts.object(room, 'summary');
    const { [JOINED]: joined = null, [INVITED]: invited = null } = summary ?? {};
    const numbers = { ...(joined !== null && { [JOINED]: joined }), ...(invited !== null && { [INVITED]: invited }) };
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

  /** A copy to be kept: without the age, which is not true for long, and with one text for each sender and type. */
  #snapshot({ unsigned, ...event }: RawEvent): RawEvent {
    const [type, sender] = [this.#same(event.type), this.#same(event.sender)];
    const { age: _age, ...told } = isObject(unsigned) ? unsigned : {};
    const content = { ...event.content };
    return Object.keys(told).length > 0
      ? { ...event, type, sender, content, unsigned: told }
      : { ...event, type, sender, content };
  }

  #same(text: string): string {
    const known = this.#texts.get(text) ?? text;
    this.#texts.set(text, known);
    return known;
  }
}

function cleanEphemeral({ type, content, ...event }: BareEvent): BareEvent {
  return { ...event, type, content: type === 'm.receipt' ? cleanReceipts(content) : content };
}

function isSentEvent(value: unknown): value is BareEvent & JsonObject {
  return isBareEvent(value) && typeof value.sender === 'string';
}

function isStrippedEvent(value: unknown): value is InviteBatch['state'][number] & JsonObject {
  return (
    isObject(value) && isBareEvent(value) && typeof value.sender === 'string' && typeof value.state_key === 'string'
  );
}
