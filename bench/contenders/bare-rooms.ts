import type { MatrixClient, NotificationCountType, Preset, Room } from 'matrix-js-sdk';
import PQueue from 'p-queue';
import type { User } from '../harness/homeserver.ts';
import { JOINS_AT_A_TIME, totalsOf } from './room-calls.ts';
import type { ListedRoom, RoomCalls } from './room-calls.ts';

interface BareClients {
  /** The user's client, or a new one, which is not started. */
  readonly of: (user: User) => MatrixClient;
  readonly start: (user: User) => Promise<unknown>;
  readonly sleep: (userId: string) => Promise<unknown>;
}

/** The SDK's own calls. All but the list of rooms work with a client that was never started. */
export function bareRooms(clients: BareClients): RoomCalls {
  const members = async (user: User, roomId: string): Promise<Set<string | undefined>> => {
    const { chunk } = (await clients.of(user).members(roomId)) as unknown as {
      chunk: { state_key?: string; content: { membership?: string } }[];
    };
    return new Set(chunk.filter(({ content }) => content.membership === 'join').map((event) => event.state_key));
  };
  return {
    createRoom: async (user, name) => {
      const created = await clients.of(user).createRoom({ name, preset: 'private_chat' as Preset });
      return created.room_id;
    },
    ensureMembers: async (by, roomId, users) => {
      const present = await members(by, roomId);
      const missing = users.filter(({ userId }) => !present.has(userId));
      const queue = new PQueue({ concurrency: JOINS_AT_A_TIME });
      await queue.addAll(
        missing.map((user) => async () => {
          await clients.of(by).invite(roomId, user.userId);
          await clients.of(user).joinRoom(roomId);
        }),
      );
      return users.length;
    },
    countMembers: async (user, roomId) => (await members(user, roomId)).size,
    listRooms: async (user, limit) => {
      const isStarted = clients.of(user).clientRunning;
      if (!isStarted) await clients.start(user);
      const totals = totalsOf(clients.of(user).getRooms().map(listed), limit);
      if (!isStarted) await clients.sleep(user.userId);
      return totals;
    },
  };
}

function listed(room: Room): ListedRoom {
  const events = room.getLiveTimeline().getEvents();
  const lastMessage = events.findLast((event) => event.getType() === 'm.room.message');
  return {
    roomId: room.roomId,
    name: room.name,
    topic: room.currentState.getStateEvents('m.room.topic', '')?.getContent()['topic'],
    avatarUrl: room.getMxcAvatarUrl(),
    memberCount: room.getJoinedMemberCount(),
    lastMessage: lastMessage?.getContent(),
    lastActivityAt: (lastMessage ?? events.at(-1))?.getTs() ?? 0,
    unread: room.getUnreadNotificationCount(),
    highlights: room.getUnreadNotificationCount('highlight' as NotificationCountType),
  };
}
