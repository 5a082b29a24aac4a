import { describe, expect, it } from 'vitest';
import type { EventBatch, RoomBatch } from '../../src/core/ports/event-source.js';
import type { Storage } from '../../src/storage/storage.js';
import { batch, late, Life, memoryStorage, missed, room, roomId, userId } from './harness.js';

const other = '!other:x';
const resume = { rooms: new Map<string, string | null>(), accountData: 'growing' };

/** A first batch that has some of the rooms only. */
const part = (nextBatch: string, ...rooms: RoomBatch[]): EventBatch => {
  return { ...batch(undefined, nextBatch, ...rooms), scope: 'first-rooms', resume };
};

it('takes rooms that come late for history, and what comes after them for news', async () => {
  const life = await Life.begin(memoryStorage());
  await life.take(part('s1', room(['a'])));
  await life.take(late('s1', room(['b'], { roomId: other })), batch('s1', 's2', room(['c'], { roomId: other })));
  expect(life.dispatched).toEqual(['backlog a', 'backlog b', 'live c']);
});

it('fills no gap before a room that comes late', async () => {
  const life = await Life.begin(memoryStorage(), { history: ['z'] });
  await life.take(part('s1', room(['a'])), late('s1', room(['b'], { roomId: other, limited: true })));
  expect(life.dispatched).toEqual(['backlog a', 'backlog b']);
  expect(life.requests).toEqual([]);
});

it('stores where the first rooms were before their history is handled, so that the others stay history', async () => {
  const storage = memoryStorage();
  const killed = await Life.begin(storage, { hold: ['a'] });
  await killed.take(part('s1', room(['a'])));
  const stored = await storage.loadCheckpoint(userId);
  expect(stored).toMatchObject({ since: 's1', accountData: 'growing' });
  expect(stored.lastDelivered.get(roomId)).toEqual({ eventId: '$a', history: true });

  const next = await Life.begin(storage);
  const news = missed(batch('s1', 's2', room(['c'])));
  await next.take(late('s1', room(['a']), room(['b'], { roomId: other })), news);
  expect(next.dispatched.toSorted()).toEqual(['backlog a', 'backlog b', 'gap-fill c']);
});

it('repeats nothing of a late room that was handled before a kill', async () => {
  const storage = memoryStorage();
  const killed = await Life.begin(storage, { hold: ['c'] });
  await killed.take(part('s1', room(['a'])), late('s1', room(['b', 'c'], { roomId: other })));
  const next = await Life.begin(storage);
  await next.take(late('s1', room(['b', 'c'], { roomId: other })));
  expect(next.dispatched).toEqual(['backlog c']);
});

it('repeats nothing handled, though a life with late rooms ended before their events came again', async () => {
  const storage = memoryStorage();
  const first = await Life.begin(storage, { hold: ['slow'] });
  await first.take(part('s1', room(['a'])));
  await first.take(batch('s1', 's2', room(['slow'])));
  await first.take(late('s2', room(['b'], { roomId: other })), batch('s2', 's3', room(['c'], { roomId: other })));
  expect(first.dispatched).toContain('live c');
  const second = await Life.begin(storage, { hold: ['slow'] });
  await second.take(late('s1', room(['d'], { roomId: '!third:x' })));
  const third = await Life.begin(storage);
  await third.take(missed(batch('s1', 's3', room(['slow']), room(['b', 'c'], { roomId: other }))));
  expect(third.dispatched).not.toContain('gap-fill c');
});

it.each([
  ['are being handled', {}],
  ['wait for a gap', { limited: true }],
])(
  'stores no backlog end of a backfilled room whose live events %s, so that a kill loses none',
  async (_what, change) => {
    const storage = memoryStorage();
    const readHistory = (): Promise<never> => new Promise(() => {});
    const killed = await Life.begin(storage, { hold: ['n0', 'n1', 'x'], readHistory });
    const live = room(['n0', 'n1'], { roomId: other, isAwaitingBackfill: true });
    await killed.take(part('s1', room(['a'])), batch('s1', 's2', { ...live, ...change }));
    await killed.take(late('s2', room(['x', 'n0', 'n1'], { roomId: other })));
    expect((await storage.loadCheckpoint(userId)).lastDelivered.has(other)).toBe(false);

    const next = await Life.begin(storage);
    await next.take(missed(batch('s1', 's2', live)));
    expect(next.dispatched).toEqual(['gap-fill n0', 'gap-fill n1']);
  },
);

it('stores no backlog end of a backfilled room whose live events came without callbacks', async () => {
  const storage = memoryStorage();
  const unheard = await Life.begin(storage, { hasCallbacks: () => false });
  const live = batch('s1', 's2', room(['n0'], { roomId: other, isAwaitingBackfill: true }));
  await unheard.take(part('s1', room(['a'])), live, late('s2', room(['x', 'n0'], { roomId: other })));
  const next = await Life.begin(storage);
  await next.take(missed(live));
  expect(next.dispatched).toEqual(['gap-fill n0']);
});

it('stores as the backlog end of a backfilled room the event before the first that came without callbacks', async () => {
  const storage = memoryStorage();
  const unheard = await Life.begin(storage, { hasCallbacks: () => false });
  const live = [room(['n0'], { roomId: other, isAwaitingBackfill: true }), room(['n1'], { roomId: other })];
  await unheard.take(
    part('s1', room(['a'])),
    ...live.map((one, index) => batch(`s${index + 1}`, `s${index + 2}`, one)),
  );
  await unheard.take(late('s3', room(['w', 'x', 'n0', 'n1'], { roomId: other })));
  expect((await storage.loadCheckpoint(userId)).lastDelivered.get(other)).toEqual({ eventId: '$x', history: true });
});

describe('a late room whose events were handled before it was loaded', () => {
  const live = room(['n0'], { roomId: other, isAwaitingBackfill: true });
  const window = room(['x', 'y'], { roomId: other, limited: true });

  async function killedLife(): Promise<Storage> {
    const storage = memoryStorage();
    const killed = await Life.begin(storage, { hold: ['a'] });
    await killed.take(part('s1', room(['a'])), batch('s1', 's2', live));
    expect((await storage.loadCheckpoint(userId)).lastDelivered.get(other)).toEqual({ eventId: '$n0', history: true });
    return storage;
  }

  it('gives its older events as backlog after a kill, once, and fills no gap before them', async () => {
    const storage = await killedLife();
    const next = await Life.begin(storage, { history: ['z'] });
    await next.take(
      late('s1', window),
      missed(batch('s1', 's2', live)),
      batch('s2', 's3', room(['n1'], { roomId: other })),
    );
    expect(next.dispatched).toEqual(['backlog x', 'backlog y', 'live n1']);
    expect([next.requests, next.gaps]).toEqual([[], []]);
    await next.delivery.finish();
    expect((await storage.loadCheckpoint(userId)).lastDelivered.get(other)).toEqual({ eventId: '$n1' });
  });

  it('keeps its position, also if nothing newer comes', async () => {
    const storage = await killedLife();
    const next = await Life.begin(storage);
    await next.take(late('s1', window));
    await next.delivery.finish();
    expect((await storage.loadCheckpoint(userId)).lastDelivered.get(other)).toEqual({ eventId: '$n0' });
    const again = await Life.begin(storage);
    await again.take(late('s1', window), batch('s1', 's2', room(['n1'], { roomId: other })));
    expect(again.dispatched).toEqual(['live n1']);
  });
});
