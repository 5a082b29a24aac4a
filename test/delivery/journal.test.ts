import { describe, expect, it } from 'vitest';
import { BatchLedger } from '../../src/delivery/batch-ledger.js';
import { RoomProgress } from '../../src/delivery/room-progress.js';
import { batch } from './harness.js';

const room = '!room:x';
const entry = (eventId: string, roomId = room) => ({ roomId, eventId });

/** A ledger with one batch of events under way. */
function setUp({ journaled = 0, events = ['$a', '$b'] } = {}) {
  const ledger = new BatchLedger(journaled);
  const open = ledger.open(batch('s0', 's1'));
  const steps = events.map((eventId) => ledger.expect(open, room, eventId, true));
  const step = (index: number) => {
    const one = steps[index];
    if (!one) throw new Error(`no event ${index}`);
    return one;
  };
  return { ledger, open, step };
}

describe('the journal', () => {
  it('holds an event once, however often it is said to be handled', () => {
    const { ledger, step } = setUp();
    ledger.handled(step(0));
    ledger.handled(step(0));
    expect(ledger.take()?.journal).toEqual({ prune: [], add: [entry('$a')] });
    ledger.handled(step(0));
    expect(ledger.take()).toBeUndefined();
  });

  it('loses the entries of a batch when the batch is covered, by name as long as others are under way', () => {
    const { ledger, open, step } = setUp({ journaled: 5 });
    const later = ledger.open(batch('s1', 's2'));
    ledger.expect(later, room, '$c', true);
    ledger.handled(step(0));
    ledger.take();
    ledger.handled(step(1));
    ledger.complete(open);
    expect(ledger.take()).toMatchObject({ since: 's1', journal: { prune: [entry('$a')], add: [] } });
  });

  it('is emptied as a whole when nothing is under way, as entries may be left of events that did not come again', () => {
    const { ledger, open, step } = setUp({ journaled: 1, events: ['$a'] });
    ledger.handled(step(0));
    ledger.complete(open);
    expect(ledger.take()?.journal).toEqual({ prune: 'all', add: [] });
    const next = ledger.open(batch('s1', 's2'));
    ledger.handled(ledger.expect(next, room, '$b', true));
    ledger.complete(next);
    expect(ledger.take()?.journal).toBeUndefined(); // it is known to be empty
  });

  it('knows how many entries it has, so that it is emptied as a whole only where some are left', () => {
    const { ledger, open, step } = setUp();
    ledger.handled(step(0));
    ledger.take();
    ledger.handled(step(1));
    ledger.complete(open);
    expect(ledger.take()?.journal).toEqual({ prune: [entry('$a')], add: [] });
  });

  it('has the entry of an event that was handled before the start already', () => {
    const { ledger, open, step } = setUp({ journaled: 1 });
    const later = ledger.open(batch('s1', 's2'));
    ledger.expect(later, room, '$c', true);
    ledger.handled(step(0), true);
    expect(ledger.take()).toEqual({ lastDelivered: new Map([[room, { eventId: '$a' }]]) });
    ledger.handled(step(1));
    ledger.complete(open);
    expect(ledger.take()?.journal).toEqual({ prune: [entry('$a')], add: [] });
  });
});

describe('what is stored of batches', () => {
  it('is nothing for an empty sync, whose position comes with the next change, or at the end', () => {
    const ledger = new BatchLedger();
    ledger.complete(ledger.open(batch('s0', 's1')));
    expect(ledger.take()).toBeUndefined();
    const open = ledger.open(batch('s1', 's2'));
    const later = ledger.open(batch('s2', 's3'));
    ledger.handled(ledger.expect(open, room, '$a', true));
    ledger.expect(later, room, '$b', true);
    expect(ledger.take()).toMatchObject({ since: 's1', journal: { add: [entry('$a')] } });
    ledger.complete(open);
    ledger.take();
    ledger.complete(ledger.open(batch('s3', 's4')));
    expect(ledger.takeRest()).toBeUndefined();
  });

  it('has the position of an empty sync at the end, once', () => {
    const ledger = new BatchLedger();
    ledger.complete(ledger.open(batch('s0', 's1')));
    expect(ledger.take()).toBeUndefined();
    expect(ledger.takeRest()).toEqual({ since: 's1' });
    expect(ledger.takeRest()).toBeUndefined();
  });

  it('has the newest account data and state of each room of batches that are covered together', () => {
    const ledger = new BatchLedger();
    const resumed = (n: number, rooms: Record<string, string | null>, accountData?: string) =>
      ledger.open({
        ...batch(`s${n}`, `s${n + 1}`),
        resume: { rooms: new Map(Object.entries(rooms)), ...(accountData !== undefined && { accountData }) },
      });
    const first = resumed(0, { '!a': '1', '!b': '1' }, 'old');
    const second = resumed(1, { '!b': '2', '!c': null, '!d': '2' }, 'new');
    const third = resumed(2, { '!d': '3' });
    for (const open of [third, second, first]) ledger.complete(open);
    expect(ledger.take()).toEqual({
      since: 's3',
      accountData: 'new',
      rooms: new Map<string, string | null>([
        ['!a', '1'],
        ['!b', '2'],
        ['!c', null],
        ['!d', '3'],
      ]),
    });
  });

  it('is a mark of a room when its batch is handled, and all before it', () => {
    const ledger = new BatchLedger();
    const open = ledger.open(batch('s0', 's1'));
    const step = ledger.expect(open, room, '$a', true);
    ledger.mark(open, room, { eventId: '$mark', token: 't' });
    ledger.mark(open, '!left:x', null);
    ledger.handled(step);
    expect(ledger.take()?.lastDelivered).toEqual(new Map([[room, { eventId: '$a' }]]));
    ledger.complete(open);
    expect(ledger.take()?.lastDelivered).toEqual(
      new Map([
        [room, { eventId: '$mark', token: 't' }],
        ['!left:x', null],
      ]),
    );
  });
});

describe('the progress of a room', () => {
  it('is the last position with nothing unhandled before it, told once', () => {
    const progress = new RoomProgress();
    const steps = ['$a', '$b', '$c'].map((eventId) => ({ position: { eventId }, handled: false }));
    for (const step of steps) progress.push(step);
    expect([progress.take(), progress.isEmpty]).toEqual([undefined, false]);
    Object.assign(steps[1] ?? {}, { handled: true });
    expect(progress.take()).toBeUndefined();
    Object.assign(steps[0] ?? {}, { handled: true });
    expect(progress.take()).toEqual({ eventId: '$b' });
    expect([progress.take(), progress.isEmpty]).toEqual([undefined, false]);
    Object.assign(steps[2] ?? {}, { handled: true });
    expect([progress.take(), progress.isEmpty]).toEqual([{ eventId: '$c' }, true]);
  });

  it('passes over events where the room must not stand, and may be nowhere', () => {
    const progress = new RoomProgress();
    progress.push({ position: { eventId: '$a' }, handled: true });
    progress.push({ position: undefined, handled: true });
    expect(progress.take()).toEqual({ eventId: '$a' });
    progress.push({ position: null, handled: true });
    expect(progress.take()).toBeNull();
    progress.push({ position: undefined, handled: true });
    expect(progress.take()).toBeUndefined();
  });
});
