import { expect, it } from 'vitest';
import { databasesReachable, openDatabases } from '../../../../src/encryption/store/indexed-db/databases.js';
import type { DatabaseChange, DatabaseSchema } from '../../../../src/core/ports/key-store.js';
import { contentOf, openDb, put } from '../../support/indexed-db.js';

const schema: DatabaseSchema = {
  version: 3,
  stores: [
    {
      name: 'keys',
      keyPath: null,
      indexes: [{ name: 'by_kind', keyPath: 'kind', multiEntry: true, unique: false }],
    },
    { name: 'empty', keyPath: null, indexes: [] },
  ],
};
const noUpgrade = (): never => {
  throw new Error('made anew');
};

it('a database is made again as it was stored, and hands over its changes only', async () => {
  const commits: [string, DatabaseChange][] = [];
  const records = new Map([['keys', [{ key: 'a', value: { kind: ['x', 'y'] } }]]]);
  const databases = await openDatabases([{ name: 'test', schema, records }], (name, change) => {
    commits.push([name, change]);
  });
  expect(databases.opened).toBe(0);
  const db = await openDb(databases.prefix, noUpgrade, 3);
  expect(databases.opened).toBe(1);
  expect([db.version, [...db.objectStoreNames]]).toEqual([3, ['empty', 'keys']]);
  expect(await contentOf(db, 'keys')).toEqual({ a: { kind: ['x', 'y'] } });
  await put(db, 'keys', { b: { kind: ['x'] } }); // which a unique index would refuse
  const byKind = db.transaction('keys').objectStore('keys').index('by_kind');
  const found = await new Promise((resolve) => {
    const request = byKind.getAllKeys('x');
    request.addEventListener('success', () => resolve(request.result));
  });
  expect(found).toEqual(['a', 'b']);
  expect(commits).toEqual([['test', { records: [{ store: 'keys', key: 'b', present: { value: { kind: ['x'] } } }] }]]);
  databases.close();
  expect(await contentOf(db, 'keys')).toEqual({});
});

it('the databases of two devices are apart, and the last one takes the IndexedDB away', async () => {
  expect(databasesReachable()).toBe(false);
  const [one, two] = [await openDatabases([], () => {}), await openDatabases([], () => {})];
  expect(one.prefix).not.toBe(two.prefix);
  const db = await openDb(one.prefix, (db) => void db.createObjectStore('keys'));
  await put(db, 'keys', { a: 1 });
  const other = await openDb(two.prefix, (db) => void db.createObjectStore('keys'));
  expect(await contentOf(other, 'keys')).toEqual({});
  expect([one.opened, two.opened]).toEqual([1, 1]);
  one.close();
  one.close();
  expect(databasesReachable()).toBe(true);
  await put(other, 'keys', { b: 2 });
  await expect(put(db, 'keys', { c: 3 })).rejects.toBeDefined(); // nobody would store it
  two.close();
  expect(databasesReachable()).toBe(false);
  expect(globalThis).not.toHaveProperty('indexedDB');
});
