import { describe, expect, it } from 'vitest';
import { nextEventLoopTurn } from '../../../src/core/event-loop.js';
import type { KeyChange } from '../../../src/core/ports/key-store.js';
import { DeviceCommits } from '../../../src/encryption/store/device-commits.js';

const put = (key: string, value: unknown, store = 'sessions', database = 'keys'): KeyChange => [
  database,
  { records: [{ store, key, present: { value } }] },
];
const schema: KeyChange = ['keys', { schema: { version: 2, stores: [] }, records: [] }];

/** Commits whose writes end when the test says so. */
function setUp() {
  const writes: { readonly changes: readonly KeyChange[]; readonly end: PromiseWithResolvers<number> }[] = [];
  const commits = new DeviceCommits((changes) => {
    const end = Promise.withResolvers<number>();
    writes.push({ changes, end });
    return end.promise;
  });
  return { commits, writes };
}

describe('the commits of a device', () => {
  it('are written at once where none runs', async () => {
    const { commits, writes } = setUp();
    const commit = commits.commit([put('a', 1)]);
    expect(writes.map(({ changes }) => changes)).toEqual([[put('a', 1)]]);
    writes[0]?.end.resolve(4);
    expect(await commit).toBe(4);
  });

  it('that come while one runs are written together after it, with the last value of each record', async () => {
    const { commits, writes } = setUp();
    const first = commits.commit([put('a', 0)]);
    const waiting = [
      commits.commit([put('a', 1), put('b', 1)]),
      commits.commit([put('a', 2), put('a', 3, 'account')]),
      commits.commit([put('a', 9, 'sessions', 'backup')]),
    ];
    writes[0]?.end.resolve(1);
    await first;
    await nextEventLoopTurn();
    expect(writes[1]?.changes).toEqual([
      [
        'keys',
        {
          records: [
            { store: 'sessions', key: 'a', present: { value: 2 } },
            { store: 'sessions', key: 'b', present: { value: 1 } },
            { store: 'account', key: 'a', present: { value: 3 } },
          ],
        },
      ],
      put('a', 9, 'sessions', 'backup'),
    ]);
    writes[1]?.end.resolve(2);
    expect(await Promise.all(waiting)).toEqual([2, 2, 2]);
    expect(writes).toHaveLength(2);
  });

  it('mix up no names', async () => {
    const { commits, writes } = setUp();
    void commits.commit([put('c', 1, 'a/b'), put('b/c', 2, 'a')]);
    expect(writes[0]?.changes[0]?.[1].records).toHaveLength(2);
  });

  it('are left as they are where one of them is of the schema', async () => {
    const { commits, writes } = setUp();
    void commits.commit([put('a', 1), schema, put('a', 2)]);
    expect(writes[0]?.changes).toEqual([put('a', 1), schema, put('a', 2)]);
  });

  it('are refused after one that failed, also those that waited for it', async () => {
    const { commits, writes } = setUp();
    const failing = commits.commit([put('a', 1)]);
    const waiting = commits.commit([put('b', 1)]);
    const full = new Error('the disk is full');
    writes[0]?.end.reject(full);
    for (const commit of [failing, waiting, commits.commit([put('c', 1)])]) await expect(commit).rejects.toBe(full);
    await expect(commits.commit([put('d', 1)])).rejects.toBe(full);
    expect(writes).toHaveLength(1);
    await commits.idle();
  });

  it('are idle when none runs and none waits', async () => {
    const { commits, writes } = setUp();
    await commits.idle();
    void commits.commit([put('a', 1)]);
    void commits.commit([put('b', 1)]);
    let isIdle = false;
    const idle = commits.idle().then(() => (isIdle = true));
    writes[0]?.end.resolve(1);
    await expect.poll(() => writes.length).toBe(2);
    expect(isIdle).toBe(false);
    writes[1]?.end.resolve(2);
    await idle;
    expect(writes).toHaveLength(2);
  });
});
