import { expect, it } from 'vitest';
import { HandledEvents } from '../../src/callbacks/handled-events.js';

it('remembers the newest events of each user', () => {
  const handled = new HandledEvents({ perUser: 2, ofAll: 100 });
  for (const id of ['$1', '$2', '$2', '$3']) handled.add('@a:x', id);
  handled.add('@b:x', '$1');
  expect(['$1', '$2', '$3'].map((id) => handled.has('@a:x', id))).toEqual([false, true, true]);
  expect([handled.has('@b:x', '$1'), handled.has('@c:x', '$1'), handled.size]).toEqual([true, false, 3]);
});

it('forgets the users whose last event is longest ago, so that its size has a bound however many users there are', () => {
  const handled = new HandledEvents({ perUser: 3, ofAll: 10 });
  handled.add('@first:x', '$1');
  for (let n = 0; n < 1_000; n++) {
    handled.add(`@user${n}:x`, '$1');
    handled.add('@first:x', '$1');
  }
  expect(handled.size).toBeLessThanOrEqual(10);
  expect([handled.has('@first:x', '$1'), handled.has('@user999:x', '$1'), handled.has('@user1:x', '$1')]).toEqual([
    true,
    true,
    false,
  ]);
});
