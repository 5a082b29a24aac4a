import type { MatrixClient, Room } from 'matrix-js-sdk';
import type { KnownRoom } from '../core/ports/known-room.js';

/** The user's rooms and invitations, read from the SDK's state. */
export function knownRooms(client: MatrixClient): KnownRoom[] {
  return client.getRooms().flatMap((room): KnownRoom[] => {
    const membership = room.getMyMembership();
    if (membership !== 'join' && membership !== 'invite') return [];
    return [
      {
        roomId: room.roomId,
        membership,
        state: (type, stateKey = '') => room.currentState.getStateEvents(type, stateKey)?.getContent(),
        heroes: heroesOf(room, membership),
        joinedCount: room.getJoinedMemberCount(),
        invitedCount: room.getInvitedMemberCount(),
      },
    ];
  });
}

/** The heroes that the homeserver has named, or the members that are known. An invitation is named after the inviter. */
function heroesOf(room: Room, membership: KnownRoom['membership']): string[] {
  const { heroes } = room as unknown as { readonly heroes: readonly { readonly userId: string }[] | null };
  const inviter = membership === 'invite' ? room.getMember(room.myUserId)?.events.member?.getSender() : undefined;
  if (inviter !== undefined) return [inviter];
  const members =
    heroes ?? room.getMembers().filter(({ membership: theirs }) => theirs === 'join' || theirs === 'invite');
  return members
    .map(({ userId }) => userId)
    .filter((userId) => userId !== room.myUserId)
    .slice(0, 5);
}
