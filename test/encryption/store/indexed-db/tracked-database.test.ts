import { describe, expect, it } from 'vitest';
import { nextEventLoopTurn } from '../../../../src/core/event-loop.js';
import { IDBFactory } from '../../../../src/encryption/store/indexed-db/raw-database.js';
import type { RawDatabase } from '../../../../src/encryption/store/indexed-db/raw-database.js';
import { TrackedDatabase } from '../../../../src/encryption/store/indexed-db/tracked-database.js';
import type { DatabaseChange } from '../../../../src/core/ports/key-store.js';
import type { Db } from '../../support/indexed-db.js';
import { completed, contentOf, put, resultOf } from '../../support/indexed-db.js';

type CreateStore = (name: string, options?: object) => ReturnType<Db['createObjectStore']>;

/** A database in memory whose changes are noted. */
async function setUp({ isStored = false, watch = true } = {}) {
  const factory = new IDBFactory();
  const commits: DatabaseChange[] = [];
  const disk: { isFull: boolean; writes?: (() => Promise<void>) | undefined } = { isFull: false };
  const commit = (change: DatabaseChange): Promise<void> | undefined => {
    if (disk.isFull) throw new Error('disk full');
    commits.push(change);
    return disk.writes?.();
  };
  let tracked: TrackedDatabase | undefined;
  let raw: RawDatabase | undefined;
  const open = async (version: number, upgrade: (create: CreateStore) => void): Promise<Db> => {
    const request = factory.open('test', version);
    request.addEventListener('upgradeneeded', () => {
      raw = factory._databases.get('test');
      if (!tracked && raw) {
        tracked = new TrackedDatabase(raw, commit, isStored);
        if (watch) tracked.watch();
      }
      const db = request.result as unknown as { createObjectStore: CreateStore };
      upgrade((name, options) => db.createObjectStore(name, options));
    });
    return (await resultOf(request as never)) as Db;
  };
  const db = await open(1, (create) => {
    create('keys');
    create('rooms').createIndex('by_kind', 'kind', { unique: true, multiEntry: false });
  });
  if (!tracked) throw new Error('no upgrade');
  return { db, open, tracked, commits, disk, raw: () => raw };
}

const keys = (key: string, value?: unknown): object =>
  value === undefined ? { store: 'keys', key } : { store: 'keys', key, present: { value } };

describe('a new database', () => {
  it('is handed over as a whole with its first record, and by its changes after that', async () => {
    const { db, commits } = await setUp();
    expect(commits).toEqual([]);
    await put(db, 'keys', { a: 1 });
    await put(db, 'keys', { b: 2 });
    expect(commits).toEqual([
      {
        schema: {
          version: 1,
          stores: [
            { name: 'keys', keyPath: null, indexes: [] },
            {
              name: 'rooms',
              keyPath: null,
              indexes: [{ name: 'by_kind', keyPath: 'kind', multiEntry: false, unique: true }],
            },
          ],
        },
        records: [keys('a', 1)],
      },
      { records: [keys('b', 2)] },
    ]);
  });

  it('is handed over as a whole again when its version changes', async () => {
    const { db, open, commits } = await setUp();
    await put(db, 'keys', { a: 1, b: 2 });
    commits.length = 0;
    db.close();
    const newer = await open(2, (create) => void create('sessions'));
    expect(commits).toHaveLength(1);
    expect(commits[0]?.schema?.version).toBe(2);
    expect(commits[0]?.schema?.stores.map(({ name }) => name)).toEqual(['keys', 'rooms', 'sessions']);
    expect(commits[0]?.records).toEqual([keys('a', 1), keys('b', 2)]);
    await put(newer, 'keys', { a: 3 });
    expect(commits[1]).toEqual({ records: [keys('a', 3)] });
  });

  it('that the disk has already is handed over without a record as well, so that its old ones are gone', async () => {
    const { db, open, commits } = await setUp({ isStored: true });
    db.close();
    await open(2, (create) => void create('sessions'));
    expect(commits.map(({ records }) => records)).toEqual([[]]);
  });

  it('is not watched before it is asked for', async () => {
    const { db, tracked, commits } = await setUp({ watch: false, isStored: true });
    await put(db, 'keys', { a: 1 });
    tracked.watch();
    await put(db, 'keys', { b: 2 });
    expect(commits).toEqual([{ records: [keys('b', 2)] }]);
  });

  it('with a key generator is refused', async () => {
    const { db, open, commits } = await setUp({ isStored: true });
    db.close();
    await expect(open(2, (create) => void create('numbered', { autoIncrement: true }))).rejects.toMatchObject({
      name: 'AbortError',
    });
    expect(commits).toEqual([]);
  });
});

describe('a transaction whose change takes time to store', () => {
  const isPending = async (promise: Promise<void>): Promise<boolean> => {
    for (let turn = 0; turn < 5; turn++) await nextEventLoopTurn();
    return (await Promise.race([promise, Promise.resolve('pending')])) === 'pending';
  };

  it('is complete when it is stored, and until then only others on its object stores wait', async () => {
    const { db, commits, disk, raw } = await setUp();
    await put(db, 'keys', { a: 1 });
    commits.length = 0;
    const first = Promise.withResolvers<void>();
    const writes = [first.promise];
    disk.writes = () => writes.shift() ?? Promise.resolve();
    const one = put(db, 'keys', { a: 2 });
    const two = put(db, 'keys', { a: 3 });
    expect([await isPending(one), await isPending(two)]).toEqual([true, true]);
    const read = contentOf(db, 'keys');
    await put(db, 'rooms', { r: { kind: 1 } });
    expect(await isPending(read.then(() => {}))).toBe(true);
    expect(commits.map(({ records }) => records[0]?.key)).toEqual(['a', 'r']);
    first.resolve();
    await Promise.all([one, two]);
    expect(await read).toEqual({ a: 3 });
    expect(commits[2]).toEqual({ records: [keys('a', 3)] });
    await expect.poll(() => raw()?.transactions.length).toBe(0);
  });

  it('is aborted where it cannot be stored, and memory is as before', async () => {
    const { db, commits, disk, raw } = await setUp();
    await put(db, 'keys', { a: 1 });
    const first = Promise.withResolvers<void>();
    const writes = [first.promise];
    disk.writes = () => writes.shift() ?? Promise.resolve();
    const one = put(db, 'keys', { a: 2, b: 2 });
    const two = put(db, 'keys', { c: 3 });
    expect(await isPending(two)).toBe(true);
    first.reject(new Error('the connection is lost'));
    await expect(one).rejects.toMatchObject({ name: 'QuotaExceededError' });
    await two;
    expect(await contentOf(db, 'keys')).toEqual({ a: 1, c: 3 });
    expect(commits.at(-1)?.records).toHaveLength(3); // a and b as they are again, and c
    expect(commits.at(-1)?.records).toEqual(expect.arrayContaining([keys('a', 1), keys('b'), keys('c', 3)]));
    await expect.poll(() => raw()?.transactions.length).toBe(0);
  });

  it('also when it changes the version: the database is open when the new schema is stored', async () => {
    const { db, open, disk } = await setUp({ isStored: true });
    db.close();
    const write = Promise.withResolvers<void>();
    disk.writes = () => write.promise;
    const opening = open(2, (create) => void create('sessions')).then(() => {});
    expect(await isPending(opening)).toBe(true);
    write.resolve();
    await opening;
  });
});

describe('a transaction', () => {
  it('hands over the last state of each record that it changed, once', async () => {
    const { db, commits } = await setUp();
    await put(db, 'keys', { a: 1, b: 2, c: 3 });
    commits.length = 0;
    const tx = db.transaction('keys', 'readwrite');
    const store = tx.objectStore('keys');
    store.put('first', 'a');
    store.put('last', 'a');
    store.delete('b');
    await completed(tx);
    expect(commits).toEqual([{ records: [keys('a', 'last'), keys('b')] }]);
    const clearing = db.transaction('keys', 'readwrite');
    clearing.objectStore('keys').clear();
    await completed(clearing);
    expect(commits[1]).toEqual({ records: [keys('a'), keys('c')] });
  });

  it('that changed nothing hands over nothing', async () => {
    const { db, commits } = await setUp();
    await put(db, 'keys', { a: 1 });
    commits.length = 0;
    for (const mode of ['readonly', 'readwrite'] as const) {
      const tx = db.transaction('keys', mode);
      tx.objectStore('keys').get('a');
      await completed(tx);
    }
    expect(commits).toEqual([]);
  });

  it('that cannot be stored is aborted, and memory is as before', async () => {
    const { db, commits, disk } = await setUp();
    await put(db, 'keys', { a: 1 });
    commits.length = 0;
    disk.isFull = true;
    await expect(put(db, 'keys', { a: 2, b: 2 })).rejects.toMatchObject({ name: 'QuotaExceededError' });
    expect(await contentOf(db, 'keys')).toEqual({ a: 1 });
    disk.isFull = false;
    await put(db, 'keys', { c: 3 });
    expect(commits).toEqual([{ records: [keys('a', 1), keys('b'), keys('c', 3)] }]); // a and b as they are again
    await put(db, 'keys', { d: 4 });
    expect(commits[1]).toEqual({ records: [keys('d', 4)] });
  });

  it('hands over nothing of another one that is under way', async () => {
    const { db, commits } = await setUp();
    await put(db, 'keys', { a: 1 });
    commits.length = 0;
    const long = db.transaction('keys', 'readwrite');
    const store = long.objectStore('keys');
    store.put(2, 'a');
    let more = 5;
    const goOn = (): void => {
      if (more-- > 0) store.get('a').addEventListener('success', goOn);
    };
    goOn();
    const ended = completed(long);
    await put(db, 'rooms', { r: { kind: 1 } });
    expect(commits).toEqual([{ records: [{ store: 'rooms', key: 'r', present: { value: { kind: 1 } } }] }]);
    await ended;
    expect(commits[1]).toEqual({ records: [keys('a', 2)] });
  });

  it('with a key that is no text is aborted', async () => {
    const { db, commits } = await setUp();
    await put(db, 'keys', { a: 1 });
    commits.length = 0;
    const tx = db.transaction('keys', 'readwrite');
    tx.objectStore('keys').put('value', 7 as never);
    await expect(completed(tx)).rejects.toBeDefined();
    expect(commits).toEqual([]);
  });
});

it('dropping a database empties it, even where somebody keeps a connection', async () => {
  const { db, tracked } = await setUp();
  await put(db, 'keys', { a: 1 });
  tracked.drop();
  expect(await contentOf(db, 'keys')).toEqual({});
});
