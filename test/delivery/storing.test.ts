import { describe, expect, it, vi } from 'vitest';
import type { ClientEvent } from '../../src/core/client-event.js';
import { silentLogger } from '../../src/core/logger.js';
import type { Logger } from '../../src/core/logger.js';
import type { DeliveryOptions } from '../../src/delivery/delivery.js';
import type { CheckpointChange } from '../../src/storage/checkpoint.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { batch, Life, memoryStorage, room, roomId, turn, userId } from './harness.js';

const first = batch(undefined, 's1', room(['old']));

/** A user whose storage takes or refuses changes as it is told. */
async function setUp(options: Partial<DeliveryOptions> = {}) {
  const clock = new ManualClock();
  const changes: CheckpointChange[] = [];
  const disk = { failure: undefined as Error | undefined, tries: 0 };
  const logger = { ...silentLogger, error: vi.fn<Logger['error']>() };
  const commit = async (change: CheckpointChange): Promise<void> => {
    disk.tries++;
    if (disk.failure) throw disk.failure;
    changes.push(change);
  };
  const life = await Life.begin(memoryStorage(), { commit, clock, logger, ...options });
  const end = async () => {
    life.delivery.abort();
    await life.delivery.finish();
  };
  return { clock, changes, disk, logger, life, delivery: life.delivery, end };
}

describe('a storage that fails', () => {
  it('is tried again with the same change, after growing waits, and each failure is logged', async () => {
    const { clock, changes, disk, logger, life } = await setUp();
    await life.take(first);
    disk.failure = new Error('disk full');
    await life.take(batch('s1', 's2', room(['a'])));
    await turn();
    await clock.advance(3_000); // two waits: at most 1 s and 2 s
    expect(disk.tries).toBeGreaterThanOrEqual(4);
    const failures = logger.error.mock.calls.map(([fields]) => fields);
    expect(failures).toEqual(failures.map((_, n) => ({ userId, err: disk.failure, failures: n + 1 })));
    expect(logger.error.mock.calls[0]?.[1]).toBe('storing the sync position failed');
    disk.failure = undefined;
    await clock.advance(60_000);
    expect(changes.map(({ since }) => since)).toEqual(['s1', 's2']);
  });

  it('does not hold up callbacks that wait for their record, neither those of its first failure nor later ones', async () => {
    const recorded: string[] = [];
    const dispatch: DeliveryOptions['dispatch'] = async (event: ClientEvent, _signal, record) => {
      if (event.provenance !== 'live' || !('eventId' in event)) return true;
      await record();
      recorded.push(event.eventId);
      return true;
    };
    const { clock, changes, disk, life } = await setUp({ dispatch });
    await life.take(first);
    disk.failure = new Error('disk full');
    await life.take(batch('s1', 's2', room(['a'])));
    expect(recorded).toEqual(['$a']);
    await life.take(batch('s2', 's3', room(['b'])));
    expect(recorded).toEqual(['$a', '$b']);
    disk.failure = undefined;
    await clock.advance(60_000);
    expect(changes.at(-1)).toMatchObject({ since: 's3' });
  });
});

describe('a record', () => {
  it('lets the room go on only when the storage has taken it', async () => {
    const stored = Promise.withResolvers<void>();
    let writes = 0;
    const recorded: string[] = [];
    const life = await Life.begin(memoryStorage(), {
      commit: () => (++writes === 1 ? Promise.resolve() : stored.promise),
      dispatch: async (event, _signal, record) => {
        if (event.provenance !== 'live' || !('eventId' in event)) return true;
        await record();
        recorded.push(event.eventId);
        return true;
      },
    });
    await life.take(first, batch('s1', 's2', room(['a'])));
    expect([writes, recorded]).toEqual([2, []]);
    stored.resolve();
    await turn();
    expect(recorded).toEqual(['$a']);
  });

  it('is let go where nothing is stored any more', async () => {
    const recorded: string[] = [];
    const gate = Promise.withResolvers<void>();
    const { changes, delivery, life } = await setUp({
      dispatch: async (event, _signal, record) => {
        if (event.provenance !== 'live') return true;
        await gate.promise;
        await record();
        recorded.push(event.type);
        return true;
      },
    });
    await life.take(first, batch('s1', 's2', room(['a'])));
    delivery.stopCommitting();
    gate.resolve();
    await turn();
    expect(recorded).toEqual(['message']);
    expect(changes.map(({ since }) => since)).toEqual(['s1']);
  });
});

describe('the end', () => {
  it('stores the position of syncs that brought nothing, once', async () => {
    const { changes, life, delivery, end } = await setUp();
    await life.take(first, batch('s1', 's2'), batch('s2', 's3'));
    expect(changes.map(({ since }) => since)).toEqual(['s1']);
    await end();
    expect(changes.slice(1)).toEqual([{ since: 's3' }]);
    await delivery.finish();
    expect(changes).toHaveLength(2);
  });

  it('is not outrun by a callback that comes back later', async () => {
    const late = Promise.withResolvers<boolean>();
    const { changes, life, end } = await setUp({
      dispatch: (event) => (event.provenance === 'live' ? late.promise : Promise.resolve(true)),
    });
    await life.take(first, batch('s1', 's2', room(['a'])));
    await end();
    const before = changes.length;
    late.resolve(true);
    await turn();
    await turn();
    expect(changes).toHaveLength(before);
  });

  it('stores nothing when the client was given up', async () => {
    const { changes, life, delivery, end } = await setUp();
    await life.take(first, batch('s1', 's2'));
    delivery.stopCommitting();
    await end();
    expect(changes.map(({ since }) => since)).toEqual(['s1']);
  });
});

describe('an event that was not handled', () => {
  it.each([['a'], ['b']])('holds the position back, whichever of the batch it is (%s)', async (refused) => {
    const { changes, life, end } = await setUp({
      dispatch: async (event) => !('content' in event) || event.content.body !== refused,
    });
    const rooms = [room(['a']), room(['b'], { roomId: '!other:x' })];
    await life.take(first, batch('s1', 's2', ...rooms), batch('s2', 's3', room(['c'])));
    await end();
    expect(changes.map(({ since }) => since).filter(Boolean)).toEqual(['s1']);
    life.delivery.deferUnhandled();
    expect(life.delivery.hasDeferredEvents).toBe(true); // it is owed
  });

  it('holds the position back also in the midst of a room', async () => {
    const { changes, life, end } = await setUp({
      dispatch: async (event) => !('content' in event) || event.content.body !== 'b',
    });
    await life.take(first, batch('s1', 's2', room(['a', 'b', 'c'])));
    await end();
    expect(changes.map(({ since }) => since).filter(Boolean)).toEqual(['s1']);
    expect(changes.at(-1)?.lastDelivered?.get(roomId)).toEqual({ eventId: '$a' });
  });

  it('is logged where its callbacks threw, and holds the position back', async () => {
    const failure = new Error('bug');
    const { changes, life, logger, end } = await setUp({
      dispatch: async (event) => {
        if (event.provenance === 'live') throw failure;
        return true;
      },
    });
    await life.take(first, batch('s1', 's2', room(['a'])));
    await end();
    expect(logger.error.mock.calls).toEqual([[{ userId, err: failure }, 'delivering the events of a sync failed']]);
    expect(changes.map(({ since }) => since)).toEqual(['s1']);
  });
});

describe('a source that is ahead of the callbacks', () => {
  const names = (count: number) => Array.from({ length: count }, (_, n) => `n${n}`);

  async function ahead(count: number) {
    const waiting: ((handled: boolean) => void)[] = [];
    const { delivery } = await setUp({
      dispatch: () => new Promise((resolve) => waiting.push(resolve)),
      stored: { since: 's1', rooms: new Map(), lastDelivered: new Map(), journal: [] },
    });
    let isAccepted = false;
    // What is under way is known when the room's queue has run, so it is the next batch that waits.
    await delivery.accept(batch('s1', 's2', room(names(count))));
    await turn();
    const accepted = delivery.accept(batch('s2', 's3')).then(() => (isAccepted = true));
    await turn();
    const release = async (events: number) => {
      for (const resolve of waiting.splice(0, events)) resolve(true);
      await turn();
      await turn();
    };
    return { delivery, accepted, release, isAccepted: () => isAccepted };
  }

  it('is not made to wait with 10,000 events under way', async () => {
    expect((await ahead(10_000)).isAccepted()).toBe(true);
  });

  it('waits with more, until half of them are through', async () => {
    const { release, isAccepted } = await ahead(10_001);
    expect(isAccepted()).toBe(false);
    await release(5_000);
    expect(isAccepted()).toBe(false);
    await release(1);
    expect(isAccepted()).toBe(true);
  });

  it('is let go by a stop', async () => {
    const { delivery, accepted } = await ahead(10_001);
    delivery.abort();
    await expect(accepted).resolves.toBe(true);
  });
});
