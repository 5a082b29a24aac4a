import type { Room } from '../rooms/room.js';
import { membershipIn } from '../rooms/room-event.js';
import type { User } from '../world/user.js';
import type { World } from '../world/world.js';

export interface DeviceListChanges {
  /** Users whose keys have to be queried again. */
  readonly changed: string[];
  /** Users who no longer share a room with the user. */
  readonly left: string[];
}

const JOINING = new Set(['join', 'invite', 'knock']);

/** As in Synapse: each user who joined counts as changed, even a known one, and so does the user themselves. */
export function deviceListChanges(
  { deviceKeys, rooms }: World,
  { userId, rooms: own }: User,
  since: number,
): DeviceListChanges {
  const changed = new Set(deviceKeys.signedAfter(userId, since));
  const [came, gone] = [new Set<string>(), new Set<string>()];
  const joined: Room[] = [];
  if (deviceKeys.changedAt(userId) > since) changed.add(userId);
  for (const roomId of own.keys()) {
    const room = rooms.get(roomId);
    if (!room) continue;
    const crossed = membershipCrossings(room, userId, since);
    if (!room.joined.has(userId)) {
      if (crossed.out) for (const member of room.joined) gone.add(member);
      continue;
    }
    joined.push(room);
    for (const member of room.joined) if (crossed.in || deviceKeys.changedAt(member) > since) changed.add(member);
    for (const event of room.state.between(since, room.lastStream)) {
      if (event.type !== 'm.room.member' || event.stateKey === undefined) continue;
      const comes = JOINING.has(membershipIn(event));
      (comes ? came : gone).add(event.stateKey);
      (comes ? gone : came).delete(event.stateKey);
    }
  }
  const left = [...gone].filter((member) => !joined.some((room) => room.joined.has(member)));
  return { changed: [...new Set([...changed, ...came])], left };
}

/** Whether the user has joined or left the room after `since`. */
function membershipCrossings(room: Room, userId: string, since: number): { in: boolean; out: boolean } {
  const crossed = { in: false, out: false };
  const memberships = room.membershipsOf(userId);
  for (let at = memberships.length - 1; at >= 0 && (memberships[at]?.stream ?? 0) > since; at--) {
    const [before, after] = [membershipIn(memberships[at - 1]), membershipIn(memberships[at])];
    if (before !== 'join' && after === 'join') crossed.in = true;
    if (before === 'join' && after !== 'join') crossed.out = true;
  }
  return crossed;
}
