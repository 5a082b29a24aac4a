import { array, assert, constant, nat, oneof, property, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BatchLedger } from '../../src/delivery/batch-ledger.js';
import type { TrackedBatch } from '../../src/delivery/batch-ledger.js';
import type { CheckpointChange, JournalEntry } from '../../src/storage/checkpoint.js';
import { batch } from './harness.js';

const busy = '!busy:x';

/** Applies changes as a storage does. */
class Stored {
  since: string | undefined;
  readonly rooms = new Map<string, string | null>();
  readonly journal = new Set<string>();

  apply({ since, rooms, journal }: CheckpointChange): void {
    if (typeof since === 'string') this.since = since;
    for (const [roomId, state] of rooms ?? []) this.rooms.set(roomId, state);
    const { prune = [], add = [] } = journal ?? {};
    if (prune === 'all') this.journal.clear();
    else for (const entry of prune) this.journal.delete(keyOf(entry));
    for (const entry of add) this.journal.add(keyOf(entry));
  }
}

function keyOf({ roomId, eventId }: JournalEntry): string {
  return `${roomId} ${eventId}`;
}

describe('events behind a callback that never returns', () => {
  it('cost the same however many there are, and all of them are stored when it returns', () => {
    const ledger = new BatchLedger();
    const stored = new Stored();
    const held = ledger.add(batch('s0', 'held'));
    const hung = ledger.addEvent(held, '!hung:x', '$hung', true);
    const count = 150_000;
    for (let n = 0; n < count; n++) {
      const open = ledger.add({
        ...batch('s', `s${n}`),
        resume: { rooms: new Map([[`!r${n % 100}:x`, String(n)]]) },
      });
      ledger.markHandled(ledger.addEvent(open, busy, `$${n}`, true));
      if (n % 10 === 0) ledger.addPosition(open, busy, { eventId: `$${n}` });
      ledger.complete(open);
      const change = ledger.takeChange();
      if (change) stored.apply(change);
    }
    expect([stored.since, stored.journal.size]).toEqual([undefined, count]);
    ledger.markHandled(hung);
    ledger.complete(held);
    stored.apply(ledger.takeChange() ?? {});
    expect([stored.since, stored.journal.size, stored.rooms.get('!r7:x')]).toEqual([
      `s${count - 1}`,
      0,
      String(count - 93),
    ]);
  });

  it('cost the same when many batches are held back and let go from the newest on', () => {
    const ledger = new BatchLedger();
    const opens: TrackedBatch[] = [];
    for (let n = 0; n < 50_000; n++) {
      const open = ledger.add(batch('s', `s${n}`));
      ledger.markHandled(ledger.addEvent(open, busy, `$${n}`, true));
      opens.push(open);
    }
    for (const open of opens.toReversed()) {
      ledger.takeChange();
      ledger.complete(open);
    }
    expect(ledger.takeChange()).toMatchObject({ since: 's49999' });
  });

  it('cost the same in a room whose history has no position of its own', () => {
    const ledger = new BatchLedger();
    const open = ledger.add(batch(undefined, 's1'));
    const steps = Array.from({ length: 50_000 }, (_, n) => ledger.addEvent(open, busy, `$${n}`, false));
    ledger.addEvent(open, busy, '$last', true);
    for (const step of steps) {
      ledger.markHandled(step);
      ledger.takeChange();
    }
    expect(ledger.takeChange()).toBeUndefined();
  });
});

describe('what is stored', () => {
  it('is the position before the oldest batch that is not handled, and a journal of what is handled beyond it', () => {
    const action = oneof(
      { weight: 3, arbitrary: constant({ do: 'open' as const, at: 0 }) },
      { weight: 4, arbitrary: record({ do: constant('handle' as const), at: nat(9) }) },
      { weight: 2, arbitrary: constant({ do: 'store' as const, at: 0 }) },
    );
    assert(
      property(array(action, { maxLength: 60 }), (actions) => {
        const ledger = new BatchLedger();
        const stored = new Stored();
        const opens: { open: TrackedBatch; steps: ReturnType<BatchLedger['addEvent']>[]; size: number }[] = [];
        for (const { do: what, at } of actions) {
          if (what === 'open') {
            const n = opens.length;
            const open = ledger.add({ ...batch('s', `s${n}`), resume: { rooms: new Map([[busy, String(n)]]) } });
            const steps = [0, 1].map((part) => ledger.addEvent(open, busy, `$${n}.${part}`, true));
            opens.push({ open, steps, size: 2 });
          } else if (what === 'handle') {
            const pending = opens.filter(({ steps }) => steps.length > 0);
            const one = pending[at % Math.max(1, pending.length)];
            const step = one?.steps.shift();
            if (!one || !step) continue;
            ledger.markHandled(step);
            if (one.steps.length === 0) ledger.complete(one.open);
          } else {
            stored.apply(ledger.takeChange() ?? {});
            const held = opens.findIndex(({ steps }) => steps.length > 0);
            const covered = held === -1 ? opens.length : held;
            expect(stored.since).toBe(covered === 0 ? undefined : `s${covered - 1}`);
            expect(stored.rooms.get(busy)).toBe(covered === 0 ? undefined : String(covered - 1));
            const handledBeyond = opens.slice(covered).reduce((sum, { steps, size }) => sum + size - steps.length, 0);
            expect(stored.journal.size).toBe(handledBeyond);
          }
        }
      }),
    );
  });
});

describe('handled neighbours', () => {
  const resume = (roomId: string) => ({ resume: { rooms: new Map([[roomId, 'state']]) } });

  it('are stored together, in whatever order they were done, with what each of them brings', () => {
    for (const order of [
      [1, 2, 3, 0],
      [3, 2, 1, 0],
      [1, 3, 2, 0],
      [0, 2, 1, 3],
    ]) {
      const ledger = new BatchLedger();
      const opens = [
        ledger.add(batch('s0', 's1')),
        ledger.add({ ...batch('s1', 's2'), ...resume('!a:x') }),
        ledger.add(batch('s2', 's3')),
        ledger.add({ ...batch('s3', 's4'), ...resume('!b:x') }),
      ];
      for (const [n, open] of opens.entries()) {
        ledger.markHandled(ledger.addEvent(open, `!r${n}:x`, `$${n}`, true));
        ledger.addPosition(open, `!m${n}:x`, null);
      }
      expect(ledger.takeChange()?.journal?.add).toHaveLength(4);
      for (const n of order) {
        const open = opens[n];
        if (open) ledger.complete(open);
      }
      const change = ledger.takeChange();
      expect(change).toMatchObject({ since: 's4', journal: { add: [] } });
      expect([...(change?.rooms?.keys() ?? [])].toSorted()).toEqual(['!a:x', '!b:x']);
      expect([...(change?.lastDelivered?.keys() ?? [])].toSorted()).toEqual(['!m0:x', '!m1:x', '!m2:x', '!m3:x']);
      expect(change?.journal?.prune).toHaveLength(4);
    }
  });

  it('put no event into the journal that the position covers already', () => {
    const ledger = new BatchLedger();
    const opens = ['s1', 's2', 's3'].map((next) => ledger.add(batch('s', next)));
    for (const [n, open] of opens.entries()) ledger.markHandled(ledger.addEvent(open, busy, `$${n}`, true));
    for (const open of opens) ledger.complete(open);
    expect(ledger.takeChange()).toStrictEqual({ since: 's3', lastDelivered: new Map([[busy, { eventId: '$2' }]]) });
  });
});

it('knows that the journal is empty when the events of before the start have come again', () => {
  const ledger = new BatchLedger(1);
  const open = ledger.add({ ...batch('s0', 's1'), resume: { rooms: new Map() } });
  ledger.markHandled(ledger.addEvent(open, busy, '$a', false), true);
  ledger.complete(open);
  expect(ledger.takeChange()).toStrictEqual({
    since: 's1',
    journal: { prune: [{ roomId: busy, eventId: '$a' }], add: [] },
  });
});
