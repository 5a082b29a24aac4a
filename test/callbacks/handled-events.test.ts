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

it('forgets of two users the one whose last event is longer ago, once there are more than it may keep', () => {
  const handled = new HandledEvents({ perUser: 5, ofAll: 3 });
  handled.add('@a:x', '$1');
  handled.add('@b:x', '$1');
  handled.add('@a:x', '$2');
  expect([handled.size, handled.has('@b:x', '$1')]).toEqual([3, true]);
  handled.add('@a:x', '$3');
  expect([handled.size, handled.has('@a:x', '$1'), handled.has('@b:x', '$1')]).toEqual([3, true, false]);
});

it('keeps the events of the user that has one now, however many those are', () => {
  const handled = new HandledEvents({ perUser: 5, ofAll: 2 });
  for (const id of ['$1', '$2', '$3']) handled.add('@a:x', id);
  expect([handled.size, handled.has('@a:x', '$1')]).toEqual([3, true]);
});

it('remembers a thousand events of each user unless told otherwise', () => {
  const handled = new HandledEvents();
  handled.add('@b:x', '$0');
  for (let n = 0; n <= 1_000; n++) handled.add('@a:x', `$${n}`);
  expect([handled.size, handled.has('@a:x', '$0'), handled.has('@a:x', '$1')]).toEqual([1_001, false, true]);
  expect(handled.has('@b:x', '$0')).toBe(true);
});

it('forgets a user', () => {
  const handled = new HandledEvents();
  for (const id of ['$1', '$2']) handled.add('@a:x', id);
  handled.add('@b:x', '$1');
  handled.forget('@a:x');
  handled.forget('@unknown:x');
  expect([handled.size, handled.has('@a:x', '$1'), handled.has('@b:x', '$1')]).toEqual([1, false, true]);
});
