import type { MatrixClientManager } from '../../../src/index.js';

/** Resolves when the user's client knows that a member of the room has this membership. */
export async function untilMembership(
  manager: MatrixClientManager,
  userId: string,
  roomId: string,
  memberId: string,
  membership: string,
): Promise<void> {
  await manager.withClient(userId, async (client) => {
    while (client.getRoom(roomId)?.getMember(memberId)?.membership !== membership) {
      await new Promise((resolve) => client.once('sync' as never, resolve as never));
    }
  });
}
