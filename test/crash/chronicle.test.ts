import { describe, expect, it } from 'vitest';
import { Chronicle } from './chronicle.js';
import type { RoomSender } from './room-sender.js';
import type { WorkerLine } from './worker-protocol.js';

const [userId, roomId] = ['@user:x', '!room:x'];
const MESSAGES = 20;

/** A user who gets n0 to n4, then hears of `gaps`, each in a life of its own, and gets n15 to n19. */
function violations(...gaps: readonly (readonly [from: string, to: string])[]): readonly string[] {
  const ids = Array.from({ length: MESSAGES }, (_, n) => `$${n}`);
  const numbers = new Map(ids.map((id, n) => [id, n]));
  numbers.set('$topic', 9.5);
  const sender = { roomId, numbers, ids, begun: 0 };
  const user = { username: 'user', userId, callbacks: [{}] };
  const chronicle = new Chronicle([user], [sender as unknown as RoomSender]);
  chronicle.add({ kind: 'ready', userId });
  sender.begun = MESSAGES;
  const handle = (n: number): void => {
    const event = { at: 0, userId, callback: 0, eventId: ids[n] ?? '' };
    chronicle.add({ kind: 'begin', ...event, roomId, n, provenance: 'live' });
    chronicle.add({ kind: 'end', ...event });
  };
  for (let n = 0; n < 5; n++) handle(n);
  for (const [from, to] of gaps) {
    chronicle.nextLife();
    chronicle.add({ kind: 'gap', userId, roomId, from, to, reason: 'limit', error: undefined });
  }
  for (let n = 15; n < MESSAGES; n++) handle(n);
  chronicle.checkGaps();
  return chronicle.violations;
}

describe('messages that did not come', () => {
  it('are no violation if a gap says so', () => {
    expect(violations(['$4', '$15'])).toEqual([]);
    expect(violations(['$4', '$12'], ['$4', '$15'])).toEqual([]); // killed before n12 was handled
  });

  it('are none either if the handled event between two gaps is none that the callback gets', () => {
    expect(violations(['$4', '$topic'], ['$topic', '$15'])).toEqual([]);
  });

  it.each([
    [[]],
    [[['$4', '$12']]],
    [[['$topic', '$15']]],
    [
      [
        ['$4', '$8'],
        ['$topic', '$15'],
      ],
    ],
  ] as const)('are one if the gaps are %j', (gaps) => {
    expect(violations(...gaps)).toEqual([expect.stringContaining('n5 to n14 did not come, and no gap says just so')]);
  });
});

describe('a gap that is reported twice', () => {
  const gap = { kind: 'gap', userId, roomId, from: '$4', to: '$15', reason: 'limit', error: undefined } as const;
  const reported = (...between: readonly WorkerLine[]): readonly string[] => {
    const chronicle = new Chronicle([], []);
    for (const line of [gap, ...between, gap]) chronicle.add(line);
    return chronicle.violations;
  };

  it('is a violation by one client', () => {
    expect(reported()).toEqual([expect.stringContaining('a gap told twice')]);
  });

  it('is none by two: the first was stopped before it handled an event after the gap', () => {
    expect(reported({ kind: 'stopped', userId })).toEqual([]);
  });
});
