import type { World } from './world.js';

/** Notes that the user's keys have changed, and wakes the long polls of all users in a room with them. */
export function noteKeysChanged(world: World, userId: string): void {
  world.deviceKeys.noteChange(userId, world.stream.next());
  world.waiters.wake(userId);
  for (const roomId of world.users.get(userId)?.rooms.keys() ?? []) {
    const room = world.rooms.get(roomId);
    if (room?.joined.has(userId)) world.waiters.wakeAll(room.joined);
  }
}

/** Deletes the keys and messages of a removed device. */
export function forgetDeviceKeys(world: World, userId: string, deviceId: string): void {
  world.deviceKeys.forgetDevice(userId, deviceId);
  world.inboxes.forgetDevice(userId, deviceId);
  noteKeysChanged(world, userId);
}
