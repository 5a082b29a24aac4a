import { describe, expect, it } from 'vitest';
import { MatrixClientManagerError } from '../../../src/core/errors.js';
import { DeviceStore } from '../../../src/encryption/store/device-store.js';
import type { DeviceStoreOptions } from '../../../src/encryption/store/device-store.js';

type Change = Parameters<DeviceStore['commit']>;

const put = (key: string, value: unknown): Change => [
  'keys',
  { records: [{ store: 'sessions', key, present: { value } }] },
];
const schema: Change = ['keys', { schema: { version: 2, stores: [] }, records: [] }];

function setUp(options: Partial<DeviceStoreOptions> = {}) {
  const committed: (readonly Change[])[] = [];
  const failures: MatrixClientManagerError[] = [];
  const pending: boolean[] = [];
  let closed = 0;
  const store = new DeviceStore({
    userId: '@alice:hs.test',
    deviceId: 'DEVICE',
    storageKey: new Uint8Array(32).fill(7),
    commits: 3,
    restorePending: false,
    setRestorePending: (value) => pending.push(value),
    commit: (changes) => {
      committed.push(changes);
      return 3 + committed.length;
    },
    onFailure: (error) => failures.push(error),
    onClose: () => closed++,
    ...options,
  });
  const databases = { prefix: 'random', opened: 0, closed: 0, close: () => void databases.closed++ };
  const connect = (): void => store.connect(databases);
  return { store, committed, failures, pending, databases, connect, closed: () => closed };
}

describe('the store of a device', () => {
  it('is new where nothing was ever stored', () => {
    expect(setUp({ commits: 0 }).store.isNew).toBe(true);
    expect(setUp({ commits: 1 }).store.isNew).toBe(false);
  });

  it('is used when the SDK has opened a database in it', () => {
    const { store, databases, connect } = setUp();
    expect([store.cryptoDatabasePrefix, store.isUsed]).toEqual(['', false]);
    connect();
    expect([store.cryptoDatabasePrefix, store.isUsed]).toEqual(['random', false]);
    databases.opened = 1;
    expect(store.isUsed).toBe(true);
  });

  it('stores each change at once, and counts it', () => {
    const { store, committed } = setUp();
    store.commit(...put('a', 1));
    store.commit(...put('b', 2));
    expect(committed).toEqual([[put('a', 1)], [put('b', 2)]]);
    expect(store.commits).toBe(5);
  });

  it('stores what was held back as one change, with the last value of each record', () => {
    const { store, committed } = setUp();
    store.hold();
    store.commit(...put('a', 1));
    store.commit(...put('b', 1));
    store.hold();
    store.commit(...put('a', 2));
    store.commit('backup', { records: [{ store: 'sessions', key: 'a', present: { value: 9 } }] });
    expect(committed).toEqual([]);
    store.release();
    const [a, b] = [
      { store: 'sessions', key: 'a', present: { value: 2 } },
      { store: 'sessions', key: 'b', present: { value: 1 } },
    ];
    expect(committed).toEqual([
      [
        ['keys', { records: [a, b] }],
        ['backup', { records: [{ store: 'sessions', key: 'a', present: { value: 9 } }] }],
      ],
    ]);
    store.commit(...put('c', 1));
    expect(committed).toHaveLength(2);
  });

  it('leaves changes as they are where one of them is of the schema', () => {
    const { store, committed } = setUp();
    store.hold();
    store.commit(...put('a', 1));
    store.commit(...schema);
    store.commit(...put('a', 2));
    store.release();
    expect(committed).toEqual([[put('a', 1), schema, put('a', 2)]]);
  });

  it('stores nothing where nothing was held back', () => {
    const { store, committed } = setUp();
    store.release();
    store.hold();
    store.release();
    expect(committed).toEqual([]);
  });

  it('takes no further change after one that could not be stored, and tells once', () => {
    const full = new MatrixClientManagerError('STORAGE', 'the disk is full');
    let calls = 0;
    const { store, failures } = setUp({
      commit: () => {
        calls++;
        throw full;
      },
    });
    expect(store.failure).toBeUndefined();
    expect(() => store.commit(...put('a', 1))).toThrow(full);
    expect(() => store.commit(...put('b', 1))).toThrow(full);
    store.hold();
    expect(() => store.release()).toThrow(full);
    expect([calls, failures, store.failure, store.commits]).toEqual([1, [full], full, 3]);
  });

  it('notes that a backup is to be restored only where that changes', () => {
    const { store, pending } = setUp();
    store.restorePending = false;
    store.restorePending = true;
    store.restorePending = true;
    expect([pending, store.restorePending]).toEqual([[true], true]);
  });

  it('keeps what it knew of a backup where the change could not be stored', () => {
    const { store } = setUp({
      setRestorePending: () => {
        throw new MatrixClientManagerError('STORAGE', 'the disk is full');
      },
    });
    expect(() => (store.restorePending = true)).toThrow('the disk is full');
    expect(store.restorePending).toBe(false);
  });

  it('refuses everything once it is closed, and has erased its key', () => {
    const { store, committed, pending, databases, connect, closed } = setUp();
    connect();
    store.hold();
    store.commit(...put('a', 1));
    store.close();
    store.close();
    expect([databases.closed, closed(), [...store.storageKey]]).toEqual([1, 1, Array.from({ length: 32 }, () => 0)]);
    const refused = expect.objectContaining({ code: 'ABORTED', userId: '@alice:hs.test' }) as Error;
    expect(() => store.commit(...put('b', 1))).toThrow(refused);
    expect(() => store.release()).toThrow(refused);
    expect(() => (store.restorePending = true)).toThrow(refused);
    expect([committed, pending]).toEqual([[], []]);
  });
});
