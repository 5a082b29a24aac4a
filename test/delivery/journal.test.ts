import { describe, expect, it } from 'vitest';
import { BatchLedger } from '../../src/delivery/batch-ledger.js';
import { RoomProgress } from '../../src/delivery/room-progress.js';
import { batch } from './harness.js';

const room = '!room:x';
const entry = (eventId: string, roomId = room) => ({ roomId, eventId });

/** A ledger with one batch of events under way. */
function setUp({ journaled = 0, events = ['$a', '$b'] } = {}) {
  const ledger = new BatchLedger(journaled);
  const open = ledger.add(batch('s0', 's1'));
  const steps = events.map((eventId) => ledger.addEvent(open, room, eventId, true));
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
    ledger.markHandled(step(0));
    ledger.markHandled(step(0));
    expect(ledger.takeChange()?.journal).toEqual({ prune: [], add: [entry('$a')] });
    ledger.markHandled(step(0));
    expect(ledger.takeChange()).toBeUndefined();
  });

  it('loses the entries of a batch when the batch is covered, by name as long as others are under way', () => {
    const { ledger, open, step } = setUp({ journaled: 5 });
    const later = ledger.add(batch('s1', 's2'));
    ledger.addEvent(later, room, '$c', true);
    ledger.markHandled(step(0));
    ledger.takeChange();
    ledger.markHandled(step(1));
    ledger.complete(open);
    expect(ledger.takeChange()).toMatchObject({ since: 's1', journal: { prune: [entry('$a')], add: [] } });
  });

  it('is emptied as a whole when nothing is under way, as entries may be left of events that did not come again', () => {
    const { ledger, open, step } = setUp({ journaled: 1, events: ['$a'] });
    ledger.markHandled(step(0));
    ledger.complete(open);
    expect(ledger.takeChange()?.journal).toEqual({ prune: 'all', add: [] });
    const next = ledger.add(batch('s1', 's2'));
    ledger.markHandled(ledger.addEvent(next, room, '$b', true));
    ledger.complete(next);
    expect(ledger.takeChange()?.journal).toBeUndefined(); // it is known to be empty
  });

  it('knows how many entries it has, so that it is emptied as a whole only where some are left', () => {
    const { ledger, open, step } = setUp();
    ledger.markHandled(step(0));
    ledger.takeChange();
    ledger.markHandled(step(1));
    ledger.complete(open);
    expect(ledger.takeChange()?.journal).toEqual({ prune: [entry('$a')], add: [] });
  });

  it('has the entry of an event that was handled before the start already', () => {
    const { ledger, open, step } = setUp({ journaled: 1 });
    const later = ledger.add(batch('s1', 's2'));
    ledger.addEvent(later, room, '$c', true);
    ledger.markHandled(step(0), true);
    expect(ledger.takeChange()).toEqual({ lastDelivered: new Map([[room, { eventId: '$a' }]]) });
    ledger.markHandled(step(1));
    ledger.complete(open);
    expect(ledger.takeChange()?.journal).toEqual({ prune: [entry('$a')], add: [] });
  });
});

describe('what is stored of batches', () => {
  it('is nothing for an empty sync, whose position comes with the next change, or at the end', () => {
    const ledger = new BatchLedger();
    ledger.complete(ledger.add(batch('s0', 's1')));
    expect(ledger.takeChange()).toBeUndefined();
    const open = ledger.add(batch('s1', 's2'));
    const later = ledger.add(batch('s2', 's3'));
    ledger.markHandled(ledger.addEvent(open, room, '$a', true));
    ledger.addEvent(later, room, '$b', true);
    expect(ledger.takeChange()).toMatchObject({ since: 's1', journal: { add: [entry('$a')] } });
    ledger.complete(open);
    ledger.takeChange();
    ledger.complete(ledger.add(batch('s3', 's4')));
    expect(ledger.takePendingSince()).toBeUndefined();
  });

  it('has the position of an empty sync at the end, once', () => {
    const ledger = new BatchLedger();
    ledger.complete(ledger.add(batch('s0', 's1')));
    expect(ledger.takeChange()).toBeUndefined();
    expect(ledger.takePendingSince()).toEqual({ since: 's1' });
    expect(ledger.takePendingSince()).toBeUndefined();
  });

  it('has the newest account data and state of each room of batches that are covered together', () => {
    const ledger = new BatchLedger();
    const resumed = (n: number, rooms: Record<string, string | null>, accountData?: string) =>
      ledger.add({
        ...batch(`s${n}`, `s${n + 1}`),
        resume: { rooms: new Map(Object.entries(rooms)), ...(accountData !== undefined && { accountData }) },
      });
    const first = resumed(0, { '!a': '1', '!b': '1' }, 'old');
    const second = resumed(1, { '!b': '2', '!c': null, '!d': '2' }, 'new');
    const third = resumed(2, { '!d': '3' });
    for (const open of [third, second, first]) ledger.complete(open);
    expect(ledger.takeChange()).toEqual({
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
    const open = ledger.add(batch('s0', 's1'));
    const step = ledger.addEvent(open, room, '$a', true);
    ledger.addPosition(open, room, { eventId: '$mark', token: 't' });
    ledger.addPosition(open, '!left:x', null);
    ledger.markHandled(step);
    expect(ledger.takeChange()?.lastDelivered).toEqual(new Map([[room, { eventId: '$a' }]]));
    ledger.complete(open);
    expect(ledger.takeChange()?.lastDelivered).toEqual(
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
    const steps = ['$a', '$b', '$c'].map((eventId) => ({ position: { eventId }, isDone: false }));
    for (const step of steps) progress.push(step);
    expect([progress.takePosition(), progress.isEmpty]).toEqual([undefined, false]);
    Object.assign(steps[1] ?? {}, { isDone: true });
    expect(progress.takePosition()).toBeUndefined();
    Object.assign(steps[0] ?? {}, { isDone: true });
    expect(progress.takePosition()).toEqual({ eventId: '$b' });
    expect([progress.takePosition(), progress.isEmpty]).toEqual([undefined, false]);
    Object.assign(steps[2] ?? {}, { isDone: true });
    expect([progress.takePosition(), progress.isEmpty]).toEqual([{ eventId: '$c' }, true]);
  });

  it('passes over events where the room must not stand, and may be nowhere', () => {
    const progress = new RoomProgress();
    progress.push({ position: { eventId: '$a' }, isDone: true });
    progress.push({ position: undefined, isDone: true });
    expect(progress.takePosition()).toEqual({ eventId: '$a' });
    progress.push({ position: null, isDone: true });
    expect(progress.takePosition()).toBeNull();
    progress.push({ position: undefined, isDone: true });
    expect(progress.takePosition()).toBeUndefined();
  });
});
