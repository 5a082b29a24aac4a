import type { World } from './world.js';

/** Tells the user, and everybody in a room with them, that the user's devices and keys are to be looked up again. */
export function noteKeysChanged(world: World, userId: string): void {
  world.deviceKeys.noteChange(userId, world.stream.next());
  world.waiters.wake(userId);
  for (const roomId of world.users.get(userId)?.rooms.keys() ?? []) {
    const room = world.rooms.get(roomId);
    if (room?.joined.has(userId)) world.waiters.wakeAll(room.joined);
  }
}

/** Takes along what a removed device has left. */
export function forgetDeviceKeys(world: World, userId: string, deviceId: string): void {
  world.deviceKeys.forgetDevice(userId, deviceId);
  world.inboxes.forgetDevice(userId, deviceId);
  noteKeysChanged(world, userId);
}
