import { describe, expect, it } from 'vitest';
import { MatrixClientManagerError } from '../../../src/core/errors.js';
import { nextEventLoopTurn } from '../../../src/core/event-loop.js';
import type { DeviceHandle, KeyChange } from '../../../src/core/ports/key-store.js';
import { DeviceStore } from '../../../src/encryption/store/device-store.js';
import type { DeviceStoreOptions } from '../../../src/encryption/store/device-store.js';

const put = (key: string, value: unknown): KeyChange => [
  'keys',
  { records: [{ store: 'sessions', key, present: { value } }] },
];

function setUp({
  handle,
  ...options
}: Partial<Omit<DeviceStoreOptions, 'handle'>> & { handle?: Partial<DeviceHandle> } = {}) {
  const committed: (readonly KeyChange[])[] = [];
  const failures: MatrixClientManagerError[] = [];
  const damage: MatrixClientManagerError[] = [];
  const pending: boolean[] = [];
  let closed = 0;
  let released = 0;
  const commit = async (changes: readonly KeyChange[]): Promise<number> => {
    committed.push(changes);
    return 3 + committed.length;
  };
  const store = new DeviceStore({
    handle: {
      userId: '@alice:hs.test',
      deviceId: 'DEVICE',
      key: new Uint8Array(32).fill(7),
      commits: 3,
      restorePending: false,
      setRestorePending: async (value) => void pending.push(value),
      readSideRecord: async () => undefined,
      writeSideRecord: async () => {},
      commit,
      release: async () => void released++,
      ...handle,
    },
    sealedBySdk: true,
    commit,
    onFailure: (error) => failures.push(error),
    onDamagedRecord: (error) => damage.push(error),
    onClose: () => void closed++,
    ...options,
  });
  const databases = { prefix: 'random', opened: 0, closed: 0, close: () => void databases.closed++ };
  const connect = (): void => store.connect(databases);
  return { store, committed, failures, damage, pending, databases, connect, closed: () => [closed, released] };
}

describe('the store of a device', () => {
  it('is new where nothing was ever stored', () => {
    expect(setUp({ handle: { commits: 0 } }).store.wasNew).toBe(true);
    expect(setUp({ handle: { commits: 1 } }).store.wasNew).toBe(false);
  });

  it('is used when the SDK has opened a database in it', () => {
    const { store, databases, connect } = setUp();
    expect([store.cryptoDatabasePrefix, store.isUsed]).toEqual(['', false]);
    connect();
    expect([store.cryptoDatabasePrefix, store.isUsed]).toEqual(['random', false]);
    databases.opened = 1;
    expect(store.isUsed).toBe(true);
  });

  it('stores each change at once, and counts it', async () => {
    const { store, committed } = setUp();
    await store.commit(...put('a', 1));
    await store.commit(...put('b', 2));
    expect(committed).toEqual([[put('a', 1)], [put('b', 2)]]);
    expect(store.commits).toBe(5);
  });

  it('stores together what it collects, as long as one call collects', async () => {
    const { store, committed } = setUp();
    store.collect();
    expect(store.commit(...put('a', 1))).toBeUndefined();
    store.collect();
    store.endCollecting();
    expect([store.commit(...put('b', 2)), committed]).toEqual([undefined, []]);
    await store.flush();
    expect(committed).toEqual([[put('a', 1), put('b', 2)]]);
    expect([store.commit(...put('c', 1)), committed.length]).toEqual([undefined, 1]);
    store.endCollecting();
    await store.flush();
    await store.commit(...put('d', 1));
    expect(committed.slice(1)).toEqual([[put('c', 1)], [put('d', 1)]]);
  });

  it('stores nothing where nothing was collected', async () => {
    const { store, committed } = setUp();
    store.collect();
    expect([store.flush(), committed]).toEqual([undefined, []]);
  });

  it('is durable when the last change is stored, also where nothing was collected after it', async () => {
    const writes = [Promise.withResolvers<number>(), Promise.withResolvers<number>()];
    const [first, second] = writes;
    const { store } = setUp({ commit: () => writes.shift()?.promise ?? Promise.resolve(0) });
    const ended: string[] = [];
    const note = (name: string, end: Promise<void> | undefined): void => void end?.then(() => ended.push(name));
    note('first', store.commit(...put('a', 1)));
    note('durable after the first', store.flush());
    note('second', store.commit(...put('b', 1)));
    store.collect();
    note('durable after the second', store.flush());
    await nextEventLoopTurn();
    expect(ended).toEqual([]);
    first?.resolve(4);
    await nextEventLoopTurn();
    expect([ended, store.commits]).toEqual([['first', 'durable after the first'], 4]);
    second?.resolve(5);
    await nextEventLoopTurn();
    expect(ended.slice(2).toSorted()).toEqual(['durable after the second', 'second']);
    expect([store.flush(), store.commits]).toEqual([undefined, 5]);
  });

  it('takes no further change after one that could not be stored, and tells once', async () => {
    const full = new MatrixClientManagerError('STORAGE', 'the disk is full');
    let calls = 0;
    const { store, failures } = setUp({
      commit: async () => {
        calls++;
        throw full;
      },
    });
    expect(store.failure).toBeUndefined();
    for (const commit of [store.commit(...put('a', 1)), store.commit(...put('b', 1))]) {
      await expect(commit).rejects.toBe(full);
    }
    expect(() => store.commit(...put('c', 1))).toThrow(full);
    await expect(store.flush()).rejects.toBe(full);
    expect([calls, failures, store.failure, store.commits]).toEqual([2, [full], full, 3]);
  });

  it('begins a side record anew where it was altered, and tells', async () => {
    const altered = new MatrixClientManagerError('ENCRYPTION_STORE_DAMAGED', 'altered');
    const written: unknown[] = [];
    const { store, failures, damage } = setUp({
      handle: {
        readSideRecord: () => Promise.reject(altered),
        writeSideRecord: async (...record) => void written.push(record),
      },
    });
    expect(await store.readSideRecord('a')).toBeUndefined();
    await store.writeSideRecord('a', new Uint8Array([1]));
    expect([damage, failures, store.failure, written]).toEqual([
      [altered],
      [],
      undefined,
      [['a', new Uint8Array([1])]],
    ]);
  });

  it('takes no further change after a record that could not be read, and tells once', async () => {
    const broken = new Error('the disk is broken');
    const { store, failures, damage } = setUp({ handle: { readSideRecord: () => Promise.reject(broken) } });
    const failure = expect.objectContaining({ code: 'STORAGE', userId: '@alice:hs.test', cause: broken }) as Error;
    const reads = await Promise.allSettled([store.readSideRecord('a'), store.readSideRecord('b')]);
    expect(reads).toEqual(Array.from({ length: 2 }, () => ({ status: 'rejected', reason: failure })));
    expect([failures, damage, store.failure]).toEqual([[failure], [], failure]);
    expect(() => store.commit(...put('a', 1))).toThrow(failure);
  });

  it('does not fail because a record is read while it is closed', async () => {
    const read = Promise.withResolvers<undefined>();
    const { store, failures, damage } = setUp({ handle: { readSideRecord: () => read.promise } });
    const reading = store.readSideRecord('a');
    const closing = store.close();
    read.reject(new MatrixClientManagerError('ABORTED', 'released'));
    await expect(reading).rejects.toMatchObject({ code: 'ABORTED' });
    await closing;
    expect([failures, damage]).toEqual([[], []]);
  });

  it('notes that a backup is to be restored only where that changes', async () => {
    const { store, pending } = setUp();
    await store.setRestorePending(false);
    await store.setRestorePending(true);
    await store.setRestorePending(true);
    expect([pending, store.restorePending]).toEqual([[true], true]);
  });

  it('keeps what it knew of a backup where the change could not be stored', async () => {
    const { store } = setUp({
      handle: {
        setRestorePending: async () => {
          throw new MatrixClientManagerError('STORAGE', 'the disk is full');
        },
      },
    });
    await expect(store.setRestorePending(true)).rejects.toThrow('the disk is full');
    expect(store.restorePending).toBe(false);
  });

  it('refuses everything once it is closed, and has erased its key', async () => {
    const { store, committed, pending, databases, connect, closed } = setUp();
    connect();
    store.collect();
    void store.commit(...put('a', 1));
    const closing = store.close();
    expect([databases.closed, [...(store.storageKey ?? [])]]).toEqual([1, Array.from({ length: 32 }, () => 0)]);
    await Promise.all([closing, store.close()]);
    expect([databases.closed, ...closed()]).toEqual([1, 1, 1]);
    const refused = expect.objectContaining({ code: 'ABORTED', userId: '@alice:hs.test' }) as Error;
    expect(() => store.commit(...put('b', 1))).toThrow(refused);
    await expect(store.flush()).rejects.toEqual(refused); // what was collected is lost
    await expect(store.setRestorePending(true)).rejects.toEqual(refused);
    expect([committed, pending]).toEqual([[], []]);
  });
});
