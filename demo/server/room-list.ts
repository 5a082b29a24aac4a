import type { MatrixClientManager } from 'matrix-client-manager';
import { toMessageView } from './message-view.js';
import type { MessageView } from './message-view.js';
import type { UserFeed } from './user-feed.js';

/** A room as the page gets it. */
export interface RoomView {
  readonly roomId: string;
  readonly name: string;
  readonly membership: 'join' | 'invite';
  readonly unread: number;
  readonly lastMessage?: MessageView | undefined;
}

/** The rooms of the user, the one with the newest message first. */
export async function listRooms(
  manager: MatrixClientManager,
  userId: string,
  feed: UserFeed,
  signal: AbortSignal,
): Promise<RoomView[]> {
  const path = '/_matrix/client/v3/joined_rooms';
  const answer = (await manager.request({ userId, method: 'GET', path, signal })) as { joined_rooms: string[] };
  const joined = await Promise.all(
    answer.joined_rooms.map(async (roomId): Promise<RoomView> => {
      const { messages } = await manager.getRoomMessages({ userId, roomId, limit: 1, signal });
      const lastMessage = messages[0] && toMessageView(messages[0]);
      const name = await roomName(manager, userId, roomId, signal);
      return { roomId, name, membership: 'join', unread: feed.unread.get(roomId) ?? 0, lastMessage };
    }),
  );
  const joinedIds = new Set(answer.joined_rooms);
  const invited = [...feed.invites]
    .filter(([roomId]) => !joinedIds.has(roomId))
    .map(([roomId, name]): RoomView => ({ roomId, name, membership: 'invite', unread: 0 }));
  const time = ({ lastMessage }: RoomView): number => lastMessage?.timestamp ?? 0;
  return [...invited, ...joined.toSorted((a, b) => time(b) - time(a))];
}

async function roomName(
  manager: MatrixClientManager,
  userId: string,
  roomId: string,
  signal: AbortSignal,
): Promise<string> {
  const state = await manager.rooms.getState({ userId, roomId, type: 'm.room.name', signal }).catch(() => undefined);
  if (typeof state?.['name'] === 'string' && state['name'] !== '') return state['name'];
  const { members } = await manager.rooms.members({ userId, roomId, limit: 10, signal });
  const others = members
    .filter((member) => member.userId !== userId)
    .map((member) => member.displayName ?? member.userId);
  return others.join(', ') || 'Empty room';
}
