import { IDBFactory as ApplicationsFactory } from 'fake-indexeddb';
import { afterEach, describe, expect, it } from 'vitest';
import type { MatrixClientManagerError } from '../../../../src/core/errors.js';
import type { CryptoStore } from '../../../../src/encryption/store/crypto-store.js';
import { openCryptoStore } from '../../support/crypto-store.js';
import { indexedDbClasses } from '../../../../src/encryption/store/indexed-db/raw-database.js';
import type { Db } from '../../support/indexed-db.js';
import { contentOf, openDb, put } from '../../support/indexed-db.js';

const secret = new Uint8Array(32).fill(7);
const names = ['indexedDB', ...Object.keys(indexedDbClasses)];
const scope = globalThis as Record<string, unknown>;
const upgrade = (db: Db): void => void db.createObjectStore('keys');

function openStore(): Promise<CryptoStore> {
  return openCryptoStore({ path: ':memory:', secret });
}

/** The globals that an application has which imports `fake-indexeddb/auto`. */
function applicationHas(globals: Readonly<Record<string, unknown>>): void {
  Object.assign(scope, globals);
}

afterEach(() => {
  for (const name of names) Reflect.deleteProperty(globalThis, name);
});

describe('the globals of IndexedDB', () => {
  it('are there from the first device of any manager to the last one, and do not show', async () => {
    const present = (): string[] => names.filter((name) => name in globalThis);
    const [one, two] = await Promise.all([openStore(), openStore()]);
    expect(present()).toEqual([]);
    const alice = await one.openUser({ userId: '@a:x', deviceId: 'D' });
    const bob = await two.openUser({ userId: '@a:x', deviceId: 'D' });
    expect(present()).toEqual(names);
    expect(Object.keys(globalThis)).not.toContain('indexedDB');
    await alice.close();
    expect(present()).toEqual(names);
    await put(await openDb(bob.cryptoDatabasePrefix, upgrade), 'keys', { a: 1 });
    await two.close();
    expect(present()).toEqual([]);
    await one.close();
  });

  it("serve the application's own databases as before, where they are of the same make", async () => {
    const indexedDB = new ApplicationsFactory();
    applicationHas({ ...indexedDbClasses, indexedDB });
    const before = await openDb('app', upgrade);
    await put(before, 'keys', { mine: 1 });
    await using store = await openStore();
    const keys = await store.openUser({ userId: '@a:x', deviceId: 'D' });
    expect(scope['indexedDB']).not.toBe(indexedDB);
    await put(await openDb(keys.cryptoDatabasePrefix, upgrade), 'keys', { ours: 1 });
    await put(await openDb('app', upgrade), 'keys', { during: 1 });
    expect(keys.commits).toBe(1);
    await keys.close();
    expect(scope['indexedDB']).toBe(indexedDB);
    expect(await contentOf(await openDb('app', upgrade), 'keys')).toEqual({ mine: 1, during: 1 });
  });

  it('are left alone where they are of another make, and the device is UNSUPPORTED', async () => {
    const IDBKeyRange = (): void => {};
    applicationHas({ IDBKeyRange, indexedDB: {} });
    await using store = await openStore();
    const opening = store.openUser({ userId: '@a:x', deviceId: 'D' });
    await expect(opening).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('globalThis.IDBKeyRange'),
    });
    expect(scope['IDBKeyRange']).toBe(IDBKeyRange);
    expect('IDBCursor' in scope).toBe(false);
    Reflect.deleteProperty(globalThis, 'IDBKeyRange');
    Reflect.deleteProperty(globalThis, 'indexedDB');
    await (await store.openUser({ userId: '@a:x', deviceId: 'D' })).close();
  });

  it.each(['IDBCursor', 'indexedDB'])(
    'may not be replaced while devices are open (%s): no change is taken',
    async (name) => {
      await using store = await openStore();
      const failures: MatrixClientManagerError[] = [];
      const onFailure = (error: MatrixClientManagerError): void => void failures.push(error);
      const keys = await store.openUser({ userId: '@a:x', deviceId: 'D', onFailure });
      const db = await openDb(keys.cryptoDatabasePrefix, upgrade);
      applicationHas({ [name]: () => {} });
      await expect(put(db, 'keys', { a: 1 })).rejects.toMatchObject({ name: 'QuotaExceededError' });
      expect(failures).toEqual([expect.objectContaining({ code: 'UNSUPPORTED', userId: '@a:x' })]);
      expect(await contentOf(db, 'keys')).toEqual({});
    },
  );

  it('do not lead the SDK to the databases of a closed device', async () => {
    applicationHas({ ...indexedDbClasses, indexedDB: new ApplicationsFactory() });
    await using store = await openStore();
    const closed = await store.openUser({ userId: '@a:x', deviceId: 'D' });
    const open = await store.openUser({ userId: '@b:x', deviceId: 'D' });
    const { cryptoDatabasePrefix } = closed;
    await closed.close();
    await expect(openDb(cryptoDatabasePrefix, upgrade)).rejects.toMatchObject({ name: 'InvalidStateError' });
    await open.close();
  });

  it('delete no database of a device', async () => {
    await using store = await openStore();
    const keys = await store.openUser({ userId: '@a:x', deviceId: 'D' });
    const { indexedDB } = scope as { indexedDB: { deleteDatabase(name: string): void; databases(): Promise<[]> } };
    expect(() => indexedDB.deleteDatabase(`${keys.cryptoDatabasePrefix}::test`)).toThrow('no crypto store serves');
    expect(await indexedDB.databases()).toEqual([]);
  });
});
