import * as v from 'valibot';
import { isObject } from '../core/raw-event.js';
import { invalidResponse } from '../http/response-error.js';
import { isRoomId, ResponseParts } from './response-parts.js';
import type { JsonObject } from './response-parts.js';
import { noSections } from './room-sections.js';
import type { RoomSections } from './room-sections.js';
import { initialLimit } from './sync-query.js';
import type { SyncContext } from './sync-context.js';
import { requestSlidingSync } from './sync-requests.js';
import type { JoinedRoomBody } from './sync-response.js';

/** The feature flag of simplified sliding sync in the response to `/versions`. */
const SLIDING_SYNC_FEATURE = 'org.matrix.simplified_msc3575';

/** Whether the homeserver offers sliding sync, and the manager may use it. */
export async function offersSlidingSync({ slidingSync, versions, signal }: SyncContext): Promise<boolean> {
  const supported = slidingSync ? await versions.get(signal).catch(() => undefined) : undefined;
  return supported?.unstable_features?.[SLIDING_SYNC_FEATURE] === true;
}

const CONNECTION_ID = 'matrix-client-manager';
/** End of the range for invitations, so large that it includes all of them. */
const MAX_INVITES = 9_999;

/**
 * The state events to return with each room. They are listed because Synapse cannot exclude members: a wildcard would
 * return every member of a large room.
 */
const REQUIRED_STATE = [
  ['m.room.create', ''],
  ['m.room.name', ''],
  ['m.room.topic', ''],
  ['m.room.avatar', ''],
  ['m.room.canonical_alias', ''],
  ['m.room.encryption', ''],
  ['m.room.join_rules', ''],
  ['m.room.history_visibility', ''],
  ['m.room.guest_access', ''],
  ['m.room.power_levels', ''],
  ['m.room.pinned_events', ''],
  ['m.room.tombstone', ''],
  ['m.room.server_acl', ''],
  ['m.room.third_party_invite', '*'],
  ['m.space.child', '*'],
  ['m.space.parent', '*'],
  ['m.room.member', '$LAZY'],
  ['m.room.member', '$ME'],
];

const EXTENSIONS = { account_data: { enabled: true }, receipts: { enabled: true }, typing: { enabled: true } };

const events = v.nullish(v.array(v.unknown()), []);
/** State, timeline and invite state have to be valid. The counts are checked later; invalid heroes are dropped. */
const roomSchema = v.object({
  required_state: events,
  timeline: events,
  limited: v.nullish(v.boolean(), false),
  prev_batch: v.nullish(v.string()),
  invite_state: v.nullish(v.array(v.unknown())),
  joined_count: v.optional(v.unknown()),
  invited_count: v.optional(v.unknown()),
  heroes: v.fallback(v.optional(v.array(v.object({ user_id: v.string() }))), undefined),
});

type SlidingRoom = v.InferOutput<typeof roomSchema>;

/** What a window of a list has, whether or not the user is in the rooms. */
export interface ListWindow {
  readonly roomIds: readonly string[];
  /** Whether there are rooms after it. */
  readonly hasMore: boolean;
}

/** A checked sliding sync response. */
interface SlidingResponse {
  readonly rooms: ReadonlyMap<string, SlidingRoom>;
  /** The total number of rooms; Infinity if the homeserver does not report it. */
  readonly total: number;
  /** The ids of the rooms in the list, if the homeserver reports their order. */
  readonly order: readonly string[];
  /** Name of each extension to its data by room; unchecked. */
  readonly extensions: ReadonlyMap<string, ReadonlyMap<string, unknown>>;
}

/** Undefined if a room is malformed. The caller then uses a plain sync, which is read more leniently. */
function readResponse(body: JsonObject, parts: ResponseParts): SlidingResponse | undefined {
  const rooms = new Map<string, SlidingRoom>();
  for (const [roomId, room] of parts.objects(body, 'rooms', isRoomId)) {
    const parsed = v.safeParse(roomSchema, room);
    if (parsed.success) rooms.set(roomId, parsed.output);
    else parts.malformed++;
  }
  if (parts.malformed > 0) return undefined;
  const list = parts.object(parts.object(body, 'lists') ?? {}, 'rooms');
  const extensions = parts
    .objects(body, 'extensions')
    .map(([name, data]) => [name, new Map(Object.entries(parts.object(data, 'rooms') ?? {}))] as const);
  const order =
    (list &&
      parts
        .array(list, 'ops')
        ?.filter(isObject)
        .flatMap((op) => parts.strings(op, 'room_ids'))) ??
    [];
  return {
    rooms,
    total: Number(list?.count ?? Infinity),
    order: order.filter((roomId) => roomId !== undefined),
    extensions: new Map(extensions),
  };
}

/**
 * Loads a few rooms out of many with simplified sliding sync (MSC4186). Each request starts without a position, because
 * a sliding sync position is valid only as long as its connection.
 */
export class SlidingSync {
  readonly #context: SyncContext;

  constructor(context: SyncContext) {
    this.#context = context;
  }

  /** Loads all invitations and the `count` most recently active rooms. `isLast`: the user has no other rooms. */
  async mostRecent(count: number): Promise<{ sections: RoomSections; isLast: boolean }> {
    const lists = {
      rooms: { ...this.#roomConfig(), ranges: [[0, count - 1]] },
      invites: { required_state: [], timeline_limit: 0, ranges: [[0, MAX_INVITES]], filters: { is_invite: true } },
    };
    const response = await this.#request({ lists });
    const { total, rooms } = response;
    return { sections: await this.#sections(response), isLast: total <= count && rooms.size >= total };
  }

  /** Loads the rooms, or the invitations, from index `first` to `last`, in the order of activity. */
  async window(
    first: number,
    last: number,
    isInvite: boolean,
  ): Promise<{ sections: RoomSections; window: ListWindow }> {
    const parts = isInvite ? { required_state: [], timeline_limit: 0 } : this.#roomConfig();
    const lists = { rooms: { ...parts, ranges: [[first, last]], filters: { is_invite: isInvite } } };
    const response = await this.#request({ conn_id: `${CONNECTION_ID}.list`, extensions: {}, lists });
    const { rooms, order, total } = response;
    const inOrder = [...new Set([...order, ...rooms.keys()])].filter((roomId) => rooms.has(roomId));
    const roomIds = inOrder.slice(0, last - first + 1); // the homeserver may send more than that
    const ordered = roomIds.map((roomId) => [roomId, rooms.get(roomId) as SlidingRoom] as const);
    const sections = await this.#sections({ ...response, rooms: new Map(ordered) });
    return { sections, window: { roomIds, hasMore: total > last + 1 && roomIds.length > 0 } };
  }

  /** Loads the given rooms; rooms that the user has not joined are left out. */
  async rooms(roomIds: readonly string[]): Promise<RoomSections> {
    const subscriptions = roomIds.map((roomId) => [roomId, this.#roomConfig()]);
    return this.#sections(await this.#request({ room_subscriptions: Object.fromEntries(subscriptions) }));
  }

  #roomConfig(): object {
    return { required_state: REQUIRED_STATE, timeline_limit: initialLimit(this.#context.timelineLimit) };
  }

  async #request(body: object): Promise<SlidingResponse> {
    const { userId, http } = this.#context;
    const parts = new ResponseParts();
    const data = await requestSlidingSync(this.#context, { conn_id: CONNECTION_ID, extensions: EXTENSIONS, ...body });
    const response = readResponse(data, parts);
    http.countMalformed(parts.malformed);
    if (!response) throw invalidResponse({ operation: 'sliding sync', userId }, 'a malformed room', 200);
    return response;
  }

  async #sections(response: SlidingResponse): Promise<RoomSections> {
    const sections = noSections();
    const joined = [...response.rooms].filter(([, room]) => isJoined(room, this.#context.userId));
    const heroes = await this.#fetchHeroes(joined);
    for (const [roomId, room] of joined) {
      sections.join.set(roomId, joinSection(response, roomId, room, heroes.get(roomId) ?? []));
    }
    for (const [roomId, { invite_state: state }] of response.rooms) {
      if (state) sections.invite.set(roomId, { invite_state: { events: state } });
    }
    return sections;
  }

  /** Fetches missing member events of heroes: clients name a room without a name after these members. */
  async #fetchHeroes(rooms: readonly (readonly [string, SlidingRoom])[]): Promise<Map<string, readonly unknown[]>> {
    const missing = rooms.flatMap(([roomId, { heroes, required_state: state }]) => {
      const ids = (heroes ?? []).map(({ user_id: userId }) => userId).filter((userId) => !memberOf(state, userId));
      const members = ids.map((userId) => ['m.room.member', userId]);
      return ids.length === 0 ? [] : [[roomId, { required_state: members, timeline_limit: 0 }]];
    });
    if (missing.length === 0) return new Map();
    const body = {
      conn_id: `${CONNECTION_ID}.members`,
      extensions: {},
      room_subscriptions: Object.fromEntries(missing),
    };
    const response = await this.#request(body);
    return new Map([...response.rooms].map(([roomId, { required_state: state }]) => [roomId, state]));
  }
}

function joinSection(
  { extensions }: SlidingResponse,
  roomId: string,
  room: SlidingRoom,
  heroes: readonly unknown[],
): JoinedRoomBody {
  const [receipts, typing, accountData] = ['receipts', 'typing', 'account_data'].map((name) =>
    extensions.get(name)?.get(roomId),
  );
  const { timeline, limited, prev_batch: prevBatch } = room;
  return {
    timeline: { events: timeline, limited, ...(typeof prevBatch === 'string' && { prev_batch: prevBatch }) },
    'org.matrix.msc4222.state_after': { events: [...room.required_state, ...heroes] },
    ephemeral: { events: [receipts, typing].filter((event) => event !== undefined) },
    account_data: { events: accountData },
    summary: {
      'm.joined_member_count': room.joined_count,
      'm.invited_member_count': room.invited_count,
      ...(room.heroes && { 'm.heroes': room.heroes.map(({ user_id: userId }) => userId) }),
    },
  };
}

/** False for invitations, and for rooms that the user was kicked or banned from. */
function isJoined({ required_state: state }: SlidingRoom, userId: string): boolean {
  const member = memberOf(state, userId);
  return isObject(member?.content) && member.content.membership === 'join';
}

function memberOf(state: readonly unknown[], userId: string): Readonly<Record<string, unknown>> | undefined {
  return state.filter(isObject).find(({ type, state_key: key }) => type === 'm.room.member' && key === userId);
}
