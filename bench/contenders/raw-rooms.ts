import PQueue from 'p-queue';
import type { User } from '../harness/homeserver.ts';
import { JOINS_AT_A_TIME, totalsOf } from './room-calls.ts';
import type { ListedRoom, RoomCalls } from './room-calls.ts';

interface RoomEvent {
  readonly type: string;
  readonly state_key?: string;
  readonly origin_server_ts: number;
  readonly content: Readonly<Record<string, unknown>>;
}

interface JoinedRoom {
  readonly state: { readonly events: readonly RoomEvent[] };
  readonly timeline: { readonly events: readonly RoomEvent[] };
  readonly summary?: { readonly 'm.joined_member_count'?: number };
  readonly unread_notifications?: { readonly notification_count?: number; readonly highlight_count?: number };
}

const none = { types: [] };
const shownState = ['name', 'topic', 'avatar', 'canonical_alias', 'encryption', 'member'].map(
  (name) => `m.room.${name}`,
);
/** What a list shows, and no more; as many events as the library looks through for the last message. */
const filter = JSON.stringify({
  presence: none,
  account_data: none,
  room: {
    timeline: { limit: 20 },
    state: { types: shownState, lazy_load_members: true },
    ephemeral: none,
    account_data: none,
  },
});

/** Requests with a user's token: JSON there and back. */
export interface RawRequests {
  readonly get: (path: string, accessToken: string) => Promise<unknown>;
  readonly send: (method: string, path: string, body: object, accessToken: string) => Promise<unknown>;
}

/** Each call as the requests that it takes, without a look at what they answer but where it is needed. */
export function rawRooms({ get, send }: RawRequests): RoomCalls {
  const members = async (user: User, roomId: string): Promise<Set<string | undefined>> => {
    const { chunk } = (await get(pathOf(roomId, 'members'), user.accessToken)) as { chunk: RoomEvent[] };
    return new Set(chunk.filter(({ content }) => content['membership'] === 'join').map((event) => event.state_key));
  };
  return {
    createRoom: async ({ accessToken }, name) => {
      const room = { name, preset: 'private_chat' };
      const created = await send('POST', '/_matrix/client/v3/createRoom', room, accessToken);
      return (created as { room_id: string }).room_id;
    },
    ensureMembers: async (by, roomId, users) => {
      const present = await members(by, roomId);
      const missing = users.filter(({ userId }) => !present.has(userId));
      const queue = new PQueue({ concurrency: JOINS_AT_A_TIME });
      await queue.addAll(
        missing.map(({ userId, accessToken }) => async () => {
          await send('POST', pathOf(roomId, 'invite'), { user_id: userId }, by.accessToken);
          await send('POST', `/_matrix/client/v3/join/${encodeURIComponent(roomId)}`, {}, accessToken);
        }),
      );
      return users.length;
    },
    countMembers: async (user, roomId) => (await members(user, roomId)).size,
    listRooms: async ({ accessToken }, limit) => {
      const query = new URLSearchParams({ filter, timeout: '0' });
      const answer = await get(`/_matrix/client/v3/sync?${query.toString()}`, accessToken);
      const { rooms } = answer as { rooms?: { join?: Record<string, JoinedRoom> } };
      return totalsOf(Object.entries(rooms?.join ?? {}).map(listed), limit);
    },
  };
}

function pathOf(roomId: string, endpoint: string): string {
  return `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/${endpoint}`;
}

function listed([roomId, { state, timeline, summary, unread_notifications: counts }]: [
  string,
  JoinedRoom,
]): ListedRoom {
  const events = [...state.events, ...timeline.events];
  const content = (type: string): Readonly<Record<string, unknown>> | undefined =>
    events.findLast((event) => event.type === type)?.content;
  const lastMessage = timeline.events.findLast(({ type }) => type === 'm.room.message');
  return {
    roomId,
    name: content('m.room.name')?.['name'],
    topic: content('m.room.topic')?.['topic'],
    avatarUrl: content('m.room.avatar')?.['url'],
    memberCount: summary?.['m.joined_member_count'] ?? 0,
    lastMessage: lastMessage?.content,
    lastActivityAt: (lastMessage ?? timeline.events.at(-1))?.origin_server_ts ?? 0,
    unread: counts?.notification_count ?? 0,
    highlights: counts?.highlight_count ?? 0,
  };
}
