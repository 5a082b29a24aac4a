import * as v from 'valibot';
import { isObject } from '../core/raw-event.js';
import { invalidResponse } from '../http/response-error.js';
import { isRoomId, ResponseParts } from './response-parts.js';
import type { JsonObject } from './response-parts.js';
import { noSections } from './room-sections.js';
import type { RoomSections } from './room-sections.js';
import type { SyncRequests } from './sync-requests.js';

/** How `/versions` names what is used here. */
export const SLIDING_SYNC_FEATURE = 'org.matrix.simplified_msc3575';

const CONNECTION = 'matrix-client-manager';
/** More invitations than anybody has. */
const ALL_INVITES = 9_999;

/**
 * The state that comes with a room. Synapse has no way to say "all but the members", and all the members of a large
 * room are what a fast start cannot afford.
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
/** What a client cannot do without has to be right; of the rest, what is not is left out. */
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

/** A sliding sync's answer, as far as it is what it should be. */
interface SlidingAnswer {
  readonly rooms: ReadonlyMap<string, SlidingRoom>;
  /** How many rooms there are for a list of that name. */
  readonly count: (list: string) => number;
  /** What an extension tells of a room. */
  readonly extension: (name: string, roomId: string) => unknown;
}

/** Undefined where a room is not what it should be: a plain sync tells of it, and of all others with it. */
function readAnswer(body: JsonObject, parts: ResponseParts): SlidingAnswer | undefined {
  const { rooms: told = {} } = body;
  const rooms = new Map<string, SlidingRoom>();
  for (const [roomId, room] of isObject(told) ? Object.entries(told) : []) {
    const read = v.safeParse(roomSchema, room);
    if (isRoomId(roomId) && read.success) rooms.set(roomId, read.output);
    else parts.malformed++;
  }
  if (!isObject(told) || parts.malformed > 0) return undefined;
  const counts = new Map(parts.objects(body, 'lists').map(([name, { count }]) => [name, count]));
  const extensions = new Map(
    parts.objects(body, 'extensions').map(([name, data]) => [name, parts.object(data, 'rooms') ?? {}]),
  );
  return {
    rooms,
    count: (list) => Number(counts.get(list) ?? Infinity),
    extension: (name, roomId) => {
      const told = extensions.get(name) ?? {};
      return Object.hasOwn(told, roomId) ? told[roomId] : undefined;
    },
  };
}

/**
 * Simplified sliding sync (MSC4186), for what it is good at: a few rooms out of many, at once. No position is kept,
 * since those do not outlive a connection; each request begins anew.
 */
export class SlidingSync {
  readonly #requests: SyncRequests;
  readonly #userId: string;
  readonly #timelineLimit: number;

  constructor(requests: SyncRequests, userId: string, timelineLimit: number) {
    this.#requests = requests;
    this.#userId = userId;
    this.#timelineLimit = timelineLimit;
  }

  /** All invitations, and the rooms in which somebody has spoken last; `isAll` says that there are no others. */
  async newest(count: number): Promise<{ sections: RoomSections; isAll: boolean }> {
    const lists = {
      rooms: { ...this.#wanted(), ranges: [[0, count - 1]] },
      invites: { required_state: [], timeline_limit: 0, ranges: [[0, ALL_INVITES]], filters: { is_invite: true } },
    };
    const answer = await this.#ask({ lists });
    const total = answer.count('rooms');
    return { sections: await this.#sections(answer), isAll: total <= count && answer.rooms.size >= total };
  }

  /** Those of the rooms that the user is in. */
  async rooms(roomIds: readonly string[]): Promise<RoomSections> {
    const wanted = roomIds.map((roomId) => [roomId, this.#wanted()]);
    return this.#sections(await this.#ask({ room_subscriptions: Object.fromEntries(wanted) }));
  }

  #wanted(): object {
    return { required_state: REQUIRED_STATE, timeline_limit: this.#timelineLimit };
  }

  async #ask(body: object): Promise<SlidingAnswer> {
    const parts = new ResponseParts();
    const answer = await this.#requests.slidingSync({ conn_id: CONNECTION, extensions: EXTENSIONS, ...body });
    const read = readAnswer(answer, parts);
    this.#requests.malformed(parts.malformed);
    if (!read) throw invalidResponse({ operation: 'sliding sync', userId: this.#userId }, 'a room of wrong types', 200);
    return read;
  }

  async #sections(answer: SlidingAnswer): Promise<RoomSections> {
    const sections = noSections();
    const joined = [...answer.rooms].filter(([, room]) => isJoined(room, this.#userId));
    const heroes = await this.#heroes(joined);
    for (const [roomId, room] of joined) {
      sections.join.set(roomId, joinSection(answer, roomId, room, heroes.get(roomId) ?? []));
    }
    for (const [roomId, { invite_state: state }] of answer.rooms) {
      if (state) sections.invite.set(roomId, { invite_state: { events: state } });
    }
    return sections;
  }

  /** Members after whom rooms without a name are called, and who have not come with them. */
  async #heroes(rooms: readonly (readonly [string, SlidingRoom])[]): Promise<Map<string, readonly unknown[]>> {
    const missing = rooms.flatMap(([roomId, { heroes, required_state: state }]) => {
      const ids = (heroes ?? []).map(({ user_id: userId }) => userId).filter((userId) => !memberOf(state, userId));
      const members = ids.map((userId) => ['m.room.member', userId]);
      return ids.length === 0 ? [] : [[roomId, { required_state: members, timeline_limit: 0 }]];
    });
    if (missing.length === 0) return new Map();
    const body = { conn_id: `${CONNECTION}.members`, extensions: {}, room_subscriptions: Object.fromEntries(missing) };
    const answer = await this.#ask(body);
    return new Map([...answer.rooms].map(([roomId, { required_state: state }]) => [roomId, state]));
  }
}

function joinSection(
  { extension }: SlidingAnswer,
  roomId: string,
  room: SlidingRoom,
  heroes: readonly unknown[],
): { timeline: { events: unknown[]; limited: boolean; prev_batch?: string } } {
  const ephemeral = ['receipts', 'typing']
    .map((name) => extension(name, roomId))
    .filter((event) => event !== undefined);
  const { timeline, limited, prev_batch: prevBatch } = room;
  const section = {
    timeline: { events: timeline, limited, ...(typeof prevBatch === 'string' && { prev_batch: prevBatch }) },
    'org.matrix.msc4222.state_after': { events: [...room.required_state, ...heroes] },
    ephemeral: { events: ephemeral },
    account_data: { events: extension('account_data', roomId) },
    summary: {
      'm.joined_member_count': room.joined_count,
      'm.invited_member_count': room.invited_count,
      ...(room.heroes && { 'm.heroes': room.heroes.map(({ user_id: userId }) => userId) }),
    },
  };
  return section;
}

/** Not so: invitations, and rooms that others put the user out of. */
function isJoined({ required_state: state }: SlidingRoom, userId: string): boolean {
  const member = memberOf(state, userId);
  return isObject(member?.content) && member.content.membership === 'join';
}

function memberOf(state: readonly unknown[], userId: string): Readonly<Record<string, unknown>> | undefined {
  return state.filter(isObject).find(({ type, state_key: key }) => type === 'm.room.member' && key === userId);
}
