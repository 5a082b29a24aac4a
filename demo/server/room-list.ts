import type { MatrixClientManager } from 'matrix-client-manager';
import { toMessageView } from './message-view.js';
import type { MessageView } from './message-view.js';

/** A room as the page gets it. */
export interface RoomView {
  readonly roomId: string;
  readonly name: string;
  readonly membership: 'join' | 'invite';
  readonly unread: number;
  readonly lastMessage?: MessageView | undefined;
}

const MAX_ROOMS = 100;

/** The user's invitations, and then the rooms, those with the newest messages first. */
export async function listRooms(
  manager: MatrixClientManager,
  userId: string,
  signal: AbortSignal,
): Promise<RoomView[]> {
  const [invited, joined] = await Promise.all(
    (['invite', 'join'] as const).map((membership) =>
      manager.listRooms(userId, { membership, limit: MAX_ROOMS, signal }),
    ),
  );
  return [...(invited?.rooms ?? []), ...(joined?.rooms ?? [])].map(
    ({ roomId, name, membership, unread, lastMessage }) => ({
      roomId,
      name,
      membership,
      unread,
      lastMessage: lastMessage && toMessageView(lastMessage),
    }),
  );
}
