import { describe, expect, it, vi } from 'vitest';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import type { CheckpointChange } from '../../src/storage/checkpoint.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { batch, event, join, Life, memoryStorage, room, roomId, turn, userId } from './harness.js';

const first = batch(undefined, 's1', room(['old']));

describe('where a killed process resumes', () => {
  it('resumes a room behind its last handled event, though the batch was not finished', async () => {
    const storage = memoryStorage();
    const before = await Life.begin(storage, { hold: ['c'] });
    await before.take(first, batch('s1', 's2', room(['a', 'b', 'c', 'd'])));
    const after = await Life.begin(storage);
    await after.take(batch('s1', 's3', room(['a', 'b', 'c', 'd', 'e'])));
    expect(after.dispatched).toEqual(['live c', 'live e']);
  });

  it('fills a gap only back to the last handled event, so that a limit is not used up by what was delivered', async () => {
    const storage = memoryStorage();
    const before = await Life.begin(storage, { hold: ['c'] });
    await before.take(first, batch('s1', 's2', room(['a', 'b', 'c'])));
    const after = await Life.begin(storage, { history: ['old', 'a', 'b', 'c', 'd'], gapFillLimit: 2 });
    await after.take(batch('s1', 's3', room(['e'], { limited: true })));
    expect(after.dispatched).toEqual(['gap-fill c', 'gap-fill d', 'live e']);
    expect(after.gaps).toEqual([]);
  });

  it('journals what was handled, until the sync position has moved over it', async () => {
    const storage = memoryStorage();
    const before = await Life.begin(storage, { hold: ['a'] });
    await before.take(first, batch('s1', 's2', room(['a', 'b'])));
    expect((await storage.loadCheckpoint(userId)).journal).toEqual([{ roomId, eventId: '$b' }]);
    const after = await Life.begin(storage, { hold: ['x'] });
    await after.take(batch('s1', 's3', room(['a', 'b', 'c']), room(['x'], { roomId: '!other:x' })));
    expect(after.dispatched).toEqual(['live a', 'live c', 'live x']);
    const unfinished = await storage.loadCheckpoint(userId);
    expect(unfinished.journal.map(({ eventId }) => eventId)).toEqual(['$b', '$a', '$c']);
    expect(unfinished.since).toBe('s1');
    expect(unfinished.lastDelivered.get(roomId)).toEqual({ eventId: '$c' });
    after.held.get('x')?.resolve(true);
    await turn();
    await turn();
    expect(await storage.loadCheckpoint(userId)).toMatchObject({ since: 's3', journal: [] });
  });

  it('repeats nothing when the homeserver answers the old sync position with its old answer', async () => {
    const storage = memoryStorage();
    const before = await Life.begin(storage, { hold: ['c'] });
    const other = room(['c'], { roomId: '!other:x' });
    const old = batch('s1', 's2', room(['a'], { limited: true }), other);
    await before.take(first, old, batch('s2', 's3', room(['b'])));
    const after = await Life.begin(storage);
    await after.take(old, batch('s2', 's3', room(['b'])), batch('s3', 's4', room(['d'])));
    expect(after.dispatched).toEqual(['live c', 'live d']);
  });

  it('stores no position of a room that was left until the batch is done, so that nothing of it comes twice', async () => {
    const storage = memoryStorage();
    const leaving = room(['a', 'b'], { membership: 'leave' });
    const before = await Life.begin(storage, { hold: ['b'] });
    await before.take(first, batch('s1', 's2', leaving));
    const after = await Life.begin(storage);
    await after.take(batch('s1', 's2', leaving));
    expect(after.dispatched).toEqual(['live b']);
    expect((await storage.loadCheckpoint(userId)).lastDelivered.has(roomId)).toBe(false);
  });

  it('does not repeat an invitation that was handled', async () => {
    const storage = memoryStorage();
    const member = { type: 'm.room.member', sender: '@alice:x', state_key: userId, content: { membership: 'invite' } };
    const inviting = {
      ...batch('s1', 's2', room(['slow'])),
      invites: [{ roomId: '!new:x', provenance: 'live' as const, state: [member] }],
    };
    const invited: string[] = [];
    const dispatch = (hold: boolean) => (event: { type: string }) => {
      if (event.type === 'invite') invited.push(event.type);
      return hold && event.type === 'message' ? new Promise<boolean>(() => {}) : Promise.resolve(true);
    };
    const before = await Life.begin(storage, { dispatch: dispatch(false) });
    await before.take(first);
    await (await Life.begin(storage, { dispatch: dispatch(true) })).take(inviting);
    await (await Life.begin(storage, { dispatch: dispatch(false) })).take(inviting);
    expect(invited).toEqual(['invite']);
    expect((await storage.loadCheckpoint(userId)).journal).toEqual([]);
  });
});

describe('the first start', () => {
  it('is stored before it counts: what is sent after it is news even if the process is killed at once', async () => {
    const storage = memoryStorage();
    const before = await Life.begin(storage);
    await before.delivery.accept(first);
    const after = await Life.begin(storage);
    await after.take(batch('s1', 's2', room(['a'])));
    expect((await storage.loadCheckpoint(userId)).since).toBe('s2');
    expect(after.dispatched).toEqual(['live a']);
  });

  it('tells news from history also where a callback was still busy with the history', async () => {
    const storage = memoryStorage();
    const before = await Life.begin(storage, { hold: ['h2'] });
    await before.take(batch(undefined, 's1', room(['h1', 'h2', 'h3'])));
    const after = await Life.begin(storage);
    await after.take(batch(undefined, 's2', room(['h1', 'h2', 'h3', 'a'])));
    // h1 had been handled and is in the journal; h3 was handled beyond h2, as another callback may do.
    expect(after.dispatched).toEqual(['backlog h2', 'live a']);
    const again = await Life.begin(storage);
    await again.take(batch('s2', 's3', room(['b'])));
    expect(again.dispatched).toEqual(['live b']);
  });

  it('writes nothing of a history that nobody asks for but its end', async () => {
    const storage = memoryStorage();
    const commit = vi.spyOn(storage, 'commit');
    await (await Life.begin(storage)).take(batch(undefined, 's1', room(['h1', 'h2'])));
    expect(commit.mock.calls.map(([, change]) => change)).toEqual([
      { since: 's1', lastDelivered: new Map([[roomId, { eventId: '$h2' }]]) },
    ]);
  });
});

describe('filling gaps', () => {
  const missed = ['m1', 'm2', 'm3'];
  const limited = batch('s1', 's2', room(['live'], { limited: true }));

  it('does not let a room jump the gap that a stop has left open', async () => {
    const storage = memoryStorage();
    const before = await Life.begin(storage, {
      readHistory: ({ signal }) =>
        new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(new Error('aborted')))),
    });
    await before.take(first);
    await before.take(limited, batch('s2', 's3', room(['next'])));
    before.delivery.abort();
    await before.delivery.finish();
    const after = await Life.begin(storage, { history: ['old', ...missed] });
    await after.take(batch('s1', 's3', room(['live', 'next'], { limited: true })));
    expect(after.dispatched).toEqual(['gap-fill m1', 'gap-fill m2', 'gap-fill m3', 'live live', 'live next']);
  });

  it.each([
    { limit: 3, told: [] },
    { limit: 2, told: [{ userId, roomId, from: '$old', to: '$m2', reason: 'limit' }] },
    { limit: 0, told: [{ userId, roomId, from: '$old', to: '$live', reason: 'limit' }] },
  ])('tells of a gap when more than the limit of $limit is missing, and not before', async ({ limit, told }) => {
    const life = await Life.begin(memoryStorage(), { history: ['old', ...missed], gapFillLimit: limit });
    await life.take(first, limited);
    expect(life.gaps).toEqual(told);
    expect(life.dispatched).toEqual([
      'backlog old',
      ...missed.slice(missed.length - limit).map((name) => `gap-fill ${name}`),
      'live live',
    ]);
  });

  it('reads page after page', async () => {
    const many = Array.from({ length: 250 }, (_, n) => `m${n}`);
    const life = await Life.begin(memoryStorage(), { history: ['old', ...many] });
    await life.take(first, limited);
    expect(life.dispatched.slice(1)).toEqual([...many.map((name) => `gap-fill ${name}`), 'live live']);
    expect(life.requests.map(({ from, to }) => [from, to])).toEqual([
      ['prev', 's1'],
      ['100', 's1'],
      ['200', 's1'],
    ]);
  });

  it('delivers the own join that the timeline had left out', async () => {
    const life = await Life.begin(memoryStorage(), { history: ['before', join('j'), 'm1'] });
    await life.take(batch(undefined, 's1'), batch('s1', 's2', room(['live'], { limited: true })));
    expect(life.dispatched).toEqual(['gap-fill join', 'gap-fill m1', 'live live']);
  });

  it('gives a gap up that the homeserver does not tell while it answers others, and goes on with the room', async () => {
    const clock = new ManualClock();
    const failure = new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', 'damaged', { status: 500 });
    const readHistory = vi.fn().mockRejectedValue(failure);
    const options = { readHistory, clock, gapFillTimeoutMs: 600_000, answersOtherRequests: () => true };
    const life = await Life.begin(memoryStorage(), options);
    await life.take(first, limited, batch('s2', 's3', room(['next'])));
    await clock.advance(599_000);
    expect(life.delivery.stalledRooms).toBe(1);
    expect(life.gaps).toEqual([]);
    expect(life.dispatched).toEqual(['backlog old']);
    await clock.advance(1_000);
    expect(life.gaps).toEqual([{ userId, roomId, from: '$old', to: '$live', reason: 'error', error: failure }]);
    expect(life.dispatched).toEqual(['backlog old', 'live live', 'live next']);
    expect(life.delivery.stalledRooms).toBe(1);
    readHistory.mockResolvedValue({ events: [event('m'), event('next')], end: undefined });
    await life.take(batch('s3', 's4', room(['later'], { limited: true })));
    expect(life.dispatched.slice(3)).toEqual(['gap-fill m', 'live later']);
    expect(life.delivery.stalledRooms).toBe(0);
  });

  it('gives no gap up in an outage, however long', async () => {
    const clock = new ManualClock();
    const lastAnswerAt = clock.now() - 1;
    const readHistory = vi.fn().mockRejectedValue(new MatrixClientManagerError('NETWORK', 'down'));
    const options = {
      readHistory,
      clock,
      gapFillTimeoutMs: 600_000,
      answersOtherRequests: (since: number) => lastAnswerAt >= since,
    };
    const life = await Life.begin(memoryStorage(), options);
    await life.take(first, limited);
    await clock.advance(28_800_000);
    expect(life.gaps).toEqual([]);
    readHistory.mockResolvedValue({ events: [event('m'), event('old')], end: undefined });
    await clock.advance(60_000);
    expect(life.dispatched).toEqual(['backlog old', 'gap-fill m', 'live live']);
  });

  it('waits for a dead token to be renewed, and gives nothing up', async () => {
    const clock = new ManualClock();
    const readHistory = vi
      .fn()
      .mockRejectedValueOnce(new MatrixClientManagerError('UNKNOWN_TOKEN', 'dead', { status: 401 }))
      .mockRejectedValueOnce(new MatrixClientManagerError('FORBIDDEN', 'locked', { status: 401 }))
      .mockResolvedValueOnce({ events: [event('m1'), event('old')], end: undefined });
    const life = await Life.begin(memoryStorage(), { readHistory, clock });
    await life.take(first, limited);
    await clock.advance(1_000);
    await clock.advance(2_000);
    await turn();
    expect(life.gaps).toEqual([]);
    expect(life.dispatched).toEqual(['backlog old', 'gap-fill m1', 'live live']);
  });

  it('tells of a gap that the homeserver refuses to fill, and goes on', async () => {
    const error = new MatrixClientManagerError('FORBIDDEN', 'no', { status: 403 });
    const life = await Life.begin(memoryStorage(), { readHistory: () => Promise.reject(error) });
    await life.take(first, limited);
    expect(life.gaps).toEqual([{ userId, roomId, from: '$old', to: '$live', reason: 'error', error }]);
    expect(life.dispatched).toEqual(['backlog old', 'live live']);
  });
});

describe('a stop', () => {
  it('during the first store, with more under way than the source may run ahead of, holds up nobody', async () => {
    const storage = memoryStorage();
    const stored = Promise.withResolvers<void>();
    const handled = Promise.withResolvers<boolean>();
    const life = await Life.begin(storage, {
      dispatch: () => handled.promise,
      commit: () => stored.promise,
    });
    const names = Array.from({ length: 10_001 }, (_, n) => `h${n}`);
    const accepted = life.delivery.accept(batch(undefined, 's1', room(names)));
    await turn();
    life.delivery.abort();
    stored.resolve();
    await expect(accepted).resolves.toBeUndefined();
    handled.resolve(false);
    await expect(life.delivery.finish()).resolves.toBeUndefined();
  });
});

describe('storing positions', () => {
  it('stores nothing after a change that the storage has not taken before the stop', async () => {
    const storage = memoryStorage();
    const changes: CheckpointChange[] = [];
    let fails = false;
    const commit = async (change: CheckpointChange): Promise<void> => {
      if (fails) throw new Error('disk full');
      changes.push(change);
    };
    const life = await Life.begin(storage, { commit });
    await life.take(first);
    fails = true;
    await life.take(batch('s1', 's2', room(['a'])), batch('s2', 's3'));
    life.delivery.abort();
    fails = false;
    await life.delivery.finish();
    expect(changes.map(({ since }) => since)).toEqual(['s1']);
  });

  it('moves over the batches behind a slow room at once when that is through', async () => {
    const storage = memoryStorage();
    const life = await Life.begin(storage, { hold: ['slow'] });
    await life.take(first, batch('s1', 's2', room(['slow'])));
    for (let n = 2; n < 50; n++) await life.take(batch(`s${n}`, `s${n + 1}`, room([`x${n}`], { roomId: '!other:x' })));
    expect((await storage.loadCheckpoint(userId)).since).toBe('s1');
    expect((await storage.loadCheckpoint(userId)).lastDelivered.get('!other:x')).toEqual({ eventId: '$x49' });
    life.held.get('slow')?.resolve(true);
    await turn();
    await turn();
    expect((await storage.loadCheckpoint(userId)).since).toBe('s50');
  });

  it('has the record of an event stored before it lets the room go on', async () => {
    const storage = memoryStorage();
    const order: string[] = [];
    const life = await Life.begin(storage, {
      dispatch: async (event, _signal, record) => {
        if (event.type !== 'message' || event.provenance !== 'live') return true;
        await record();
        order.push(String((await storage.loadCheckpoint(userId)).lastDelivered.get(roomId)?.eventId));
        return true;
      },
    });
    await life.take(first, batch('s1', 's2', room(['a'])), batch('s2', 's3', room(['b'])));
    expect(order).toEqual(['$a', '$b']);
  });
});
