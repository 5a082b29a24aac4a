import type { User } from '../world/user.js';
import type { World } from '../world/world.js';
import type { Receipt } from './receipts.js';
import type { Room } from './room.js';

/** Marks a user as typing for `timeoutMs`, or as having stopped. */
export function setTyping(world: World, room: Room, userId: string, timeoutMs: number | undefined): void {
  const noteChange = (): void => {
    room.typing.lastStream = world.stream.next();
    world.notify(room);
  };
  if (room.typing.set(world.clock, userId, timeoutMs, noteChange)) noteChange();
}

/** Moves a read receipt forwards. Ignores an unknown event, and an event before the present receipt. */
export function setReceipt(
  world: World,
  room: Room,
  receipt: Pick<Receipt, 'userId' | 'type' | 'eventId' | 'threadId'>,
): void {
  const event = room.event(receipt.eventId);
  const current = room.receipts.get(receipt.userId, receipt.type, receipt.threadId);
  if (!event || (current && current.readUpTo >= event.stream)) return;
  room.receipts.set({
    ...receipt,
    readUpTo: event.stream,
    timestamp: world.clock.now(),
    stream: world.stream.next(),
  });
  world.notify(room);
}

/** Sets the user's `m.fully_read` marker. */
export function markFullyRead(world: World, room: Room, user: User, eventId: string): void {
  user.roomAccountData(room.roomId).set('m.fully_read', { event_id: eventId }, world.stream.next());
  world.waiters.wake(user.userId);
}
