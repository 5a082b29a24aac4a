import { changeMembership } from '../rooms/membership.js';
import { closeUserSessions } from '../world/log-in-out.js';
import type { User } from '../world/user.js';
import type { World } from '../world/world.js';

/** Deactivates an account: ends its sessions, deletes its password and makes it leave all rooms. */
export function deactivate(world: World, user: User, erase: boolean): void {
  user.deactivated = true;
  user.password = undefined;
  user.erased ||= erase;
  if (erase) user.displayName = undefined;
  closeUserSessions(world, user.userId);
  for (const [roomId, { membership }] of user.rooms) {
    const room = world.rooms.get(roomId);
    if (!room || (membership !== 'join' && membership !== 'invite')) continue;
    changeMembership(world, room, { sender: user.userId, target: user.userId, membership: 'leave' });
  }
}
