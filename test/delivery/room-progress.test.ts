import { expect, it } from 'vitest';
import { RoomProgress } from '../../src/delivery/room-progress.js';

it('goes on behind steps that were taken but are still kept', () => {
  const room = new RoomProgress();
  const held = Array.from({ length: 5 }, (_, n) => ({ position: { eventId: `$held${n}` }, handled: false }));
  for (const one of [{ position: { eventId: '$a' }, handled: true }, ...held]) room.push(one);
  expect(room.take()).toEqual({ eventId: '$a' });
  expect(room.take()).toBeUndefined();
  const reached = held.map((one) => {
    one.handled = true;
    return [room.take(), room.isEmpty];
  });
  expect(reached).toEqual(held.map((one, at) => [one.position, at === held.length - 1]));
});

it('is empty before anything has come', () => {
  expect([new RoomProgress().isEmpty, new RoomProgress().take()]).toEqual([true, undefined]);
});
