import { describe, expect, it } from 'vitest';
import type { EventBatch, InviteBatch, RoomBatch } from '../../src/core/ports/event-source.js';
import type { CheckpointChange } from '../../src/storage/checkpoint.js';
import { batch, event, late, Life, memoryStorage, room, roomId, turn, userId } from './harness.js';

const other = '!other:x';
const resume = { rooms: new Map([[roomId, 'state']]), accountData: 'data' };
const invite: InviteBatch = { roomId: other, provenance: 'live', state: [] };
const lateRooms = (...rooms: RoomBatch[]): EventBatch => late('s1', ...rooms);

/** A user with nobody there to take events, until `listen` is called. */
async function setUp() {
  let hasCallbacks = false;
  const changes: CheckpointChange[] = [];
  const life = await Life.begin(memoryStorage(), {
    hasCallbacks: () => hasCallbacks,
    commit: async (change) => void changes.push(change),
  });
  const { delivery } = life;
  const misses = () => ({ news: delivery.hasDeferredEvents, history: delivery.hasDeferredBacklog });
  return { life, delivery, changes, misses, listen: () => (hasCallbacks = true) };
}

describe('while nobody is there to take events', () => {
  it('the first batch is taken for where history ends, and what comes after it is news', async () => {
    const { life, changes, misses, listen } = await setUp();
    expect(misses()).toEqual({ news: false, history: false });
    const gone = room(['x'], { roomId: other, membership: 'leave' });
    await life.take({ ...batch(undefined, 's1', room(['a', 'b']), gone), resume });
    expect(misses()).toEqual({ news: false, history: true });
    const position = { eventId: '$b', history: true };
    expect(changes).toEqual([{ since: 's1', ...resume, lastDelivered: new Map([[roomId, position]]) }]);
    listen();
    await life.take(batch('s1', 's2', room(['c'])));
    expect(life.dispatched).toEqual(['live c']);
  });

  it('what had been history does not come again', async () => {
    const { life, listen } = await setUp();
    await life.take(batch(undefined, 's1', room(['a', 'b'])));
    listen();
    await life.take(batch('s1', 's2', room(['a', 'b', 'c'])));
    expect(life.dispatched).toEqual(['live c']);
  });

  it('a second batch without a position is news', async () => {
    const { life, changes, misses } = await setUp();
    await life.take(batch(undefined, 's1', room(['a'])), batch(undefined, 's2', room(['b'])));
    expect(misses()).toEqual({ news: true, history: true });
    expect(changes).toEqual([
      { since: 's1', lastDelivered: new Map([[roomId, { eventId: '$a', history: true }]]) },
      { clientSince: 's2' },
    ]);
  });

  it.each([
    ['rooms', { rooms: [room(['a'])] }, true],
    ['an invitation', { invites: [invite] }, true],
    ['as many rooms as invitations', { rooms: [room(['a'])], invites: [invite] }, true],
    ['what is needed to resume', { resume }, true],
    ['nothing', {}, false],
  ])('a batch after the first with %s is missed: %s', async (_what, change, missed) => {
    const { life, changes, misses, listen } = await setUp();
    await life.take({ ...batch('s1', 's2'), ...change });
    expect(misses()).toEqual({ news: missed, history: false });
    listen();
    await life.take(batch('s2', 's3', room(['next'])));
    expect(life.dispatched).toEqual(missed ? [] : ['live next']);
    expect(changes.some(({ since }) => since !== undefined)).toBe(!missed);
  });

  it.each([
    ['messages', { rooms: [room(['a'])] }, [{ clientSince: 's2' }]],
    ['an invitation', { invites: [invite] }, [{ clientSince: 's2' }]],
    ['what is needed to resume', { resume }, [{ clientSince: 's2', ...resume }]],
    ['receipts alone', { rooms: [room([])] }, []],
    ['nothing', {}, []],
  ])('the client goes on after a batch with %s', async (_what, change, stored) => {
    const { life, changes } = await setUp();
    await life.take({ ...batch('s1', 's2'), ...change });
    expect(changes).toEqual(stored);
  });

  it('the client does not go on from a position beyond what was under way when the last callback was removed', async () => {
    const changes: CheckpointChange[] = [];
    const commit = async (change: CheckpointChange): Promise<void> => void changes.push(change);
    const listened = { to: true };
    const options = { commit, hasCallbacks: () => listened.to, hold: ['a'] };
    const life = await Life.begin(memoryStorage(), options);
    await life.take(batch('s1', 's2', room(['a'])));
    listened.to = false;
    life.delivery.deferUnhandled();
    await life.take({ ...batch('s2', 's3', room(['b'])), resume });
    life.held.get('a')?.resolve(true);
    await turn();
    await life.take({ ...batch('s3', 's4', room(['c'])), resume });
    expect(changes).toEqual([{ since: 's2', lastDelivered: new Map([[roomId, { eventId: '$a' }]]) }]);
  });

  it('rooms that come late are history, of which only those that are new end anywhere', async () => {
    const { life, changes, misses, listen } = await setUp();
    await life.take(batch(undefined, 's1', room(['a'])));
    await life.take({ ...lateRooms(room(['z']), room(['b'], { roomId: other })), resume });
    expect(misses()).toEqual({ news: false, history: true });
    const position = { eventId: '$b', history: true };
    expect(changes[1]).toEqual({ ...resume, lastDelivered: new Map([[other, position]]) });
    await life.take(lateRooms(room(['b'], { roomId: other })));
    expect(changes).toHaveLength(2); // nothing in it was new
    listen();
    await life.take(batch('s1', 's2', room(['c'], { roomId: other })));
    expect(life.dispatched).toEqual(['live c']);
  });

  it.each([
    [{ ...lateRooms(room(['b'])) }, 1],
    [{ ...lateRooms(), resume }, 1],
    [lateRooms(), 0],
  ])('a late batch is stored only where it brings something (%#)', async (lateBatch, writes) => {
    const { life, changes, misses } = await setUp();
    await life.take(lateBatch);
    expect([changes.length, misses().history]).toEqual([writes, true]);
  });

  it('nothing is stored after the end', async () => {
    const { life, delivery, changes, misses } = await setUp();
    delivery.stopCommitting();
    await life.take(batch(undefined, 's1', room(['a'])), batch('s1', 's2', room(['b'])));
    expect([changes, misses()]).toEqual([[], { news: false, history: false }]);
  });
});

describe('a delivery that takes nothing any more', () => {
  it('leaves what comes to the next one when it is held', async () => {
    const life = await Life.begin(memoryStorage());
    life.delivery.deferAll();
    await life.take(batch('s1', 's2', room(['a'])));
    expect([life.dispatched, life.delivery.hasDeferredEvents]).toEqual([[], true]);
  });

  it('owes nothing when the last callback is removed with everything handled', async () => {
    const life = await Life.begin(memoryStorage());
    life.delivery.deferUnhandled();
    await life.take(batch('s1', 's2', room(['a'])));
    life.delivery.deferUnhandled();
    await life.take(batch('s2', 's3', room(['b'])));
    expect([life.dispatched, life.delivery.hasDeferredEvents]).toEqual([['live a', 'live b'], false]);
  });

  it('owes what is under way when the last callback is removed, and takes no more', async () => {
    let signal: AbortSignal | undefined;
    const handled = Promise.withResolvers<boolean>();
    const life = await Life.begin(memoryStorage(), {
      dispatch: (_event, given) => {
        signal = given;
        return handled.promise;
      },
    });
    await life.take(batch('s1', 's2', room(['a'])));
    life.delivery.deferUnhandled();
    expect([life.delivery.hasDeferredEvents, signal?.aborted]).toEqual([true, true]);
    handled.resolve(false);
    await turn();
  });

  it('owes what was still being decrypted when the last callback was removed', async () => {
    const storage = memoryStorage();
    const { promise, resolve } = Promise.withResolvers<void>();
    const life = await Life.begin(storage, { decrypt: (_roomId, raw) => promise.then(() => raw) });
    await life.take(batch('s1', 's2', room([event('a', { type: 'm.room.encrypted' }), 'b'])));
    life.delivery.deferUnhandled();
    resolve();
    await turn();
    await life.delivery.finish();
    expect(life.dispatched).toEqual([]);
    const { since, lastDelivered } = await storage.loadCheckpoint(userId);
    expect([since, lastDelivered.size]).toEqual([undefined, 0]);
  });

  it('takes nothing after a stop, though nobody listens either', async () => {
    const { life, delivery, changes, misses } = await setUp();
    delivery.abort();
    await life.take(batch('s1', 's2', room(['a'])));
    expect([life.dispatched, changes, misses()]).toEqual([[], [], { news: false, history: false }]);
  });
});
