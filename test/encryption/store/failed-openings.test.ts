import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { MatrixClientManagerError } from '../../../src/core/errors.js';
import type { KeyStore } from '../../../src/core/ports/key-store.js';
import { MemoryKeys } from '../../../src/testing/memory-keys.js';
import { temporaryFolder } from '../../storage/temporary-folder.js';
import { cryptoStoreOn, openCryptoStore } from '../support/crypto-store.js';
import { completed, openDb, put } from '../support/indexed-db.js';

const secret = new Uint8Array(32).fill(7);
const alice = { userId: '@alice:x', deviceId: 'DEVICE' };
const databases = '../../../src/encryption/store/indexed-db/databases.js';

afterEach(() => {
  vi.doUnmock(databases);
  vi.resetModules();
});

describe('a crypto store that cannot be opened, because fake-indexeddb is missing', () => {
  it('leaves its file to the next one', async () => {
    const path = join(temporaryFolder(), 'keys.sqlite');
    vi.resetModules();
    vi.doMock(databases, () => {
      throw new Error('Cannot find package fake-indexeddb');
    });
    const broken = await import('../support/crypto-store.js');
    await expect(broken.openCryptoStore({ path, secret })).rejects.toThrow('error when mocking');
    vi.doUnmock(databases);
    vi.resetModules();
    await (await openCryptoStore({ path, secret })).close();
  });
});

describe('a device whose keys cannot be loaded', () => {
  /** Keys that come with a database in which the SDK's databases cannot be restored. */
  async function damagedKeys(): Promise<KeyStore> {
    const keys = await new MemoryKeys().open(secret);
    const device = await keys.openDevice(alice);
    const stores = [
      { name: 'keys', keyPath: null, indexes: [] },
      { name: 'keys', keyPath: null, indexes: [] },
    ];
    await device.commit([['test', { schema: { version: 1, stores }, records: [] }]]);
    await device.release();
    return keys;
  }

  it('is a STORAGE error with the cause, and the device is released', async () => {
    const keys = await damagedKeys();
    await using store = await cryptoStoreOn(keys);
    const handles: Uint8Array[] = [];
    const openDevice = keys.openDevice.bind(keys);
    vi.spyOn(keys, 'openDevice').mockImplementation(async (options) => {
      const handle = await openDevice(options);
      handles.push(handle.key);
      return handle;
    });
    for (let tries = 0; tries < 2; tries++) {
      const error = await store.openUser(alice).catch((error: unknown) => error);
      expect(error).toBeInstanceOf(MatrixClientManagerError);
      expect(error).toMatchObject({ code: 'STORAGE', userId: alice.userId, cause: { name: 'AbortError' } });
    }
    expect([handles.length, store.openDevices]).toEqual([2, 0]);
  });

  it('is a STORAGE error of a key store whose own error is no error of this library', async () => {
    const keys = await new MemoryKeys().open(secret);
    await using store = await cryptoStoreOn(keys);
    vi.spyOn(keys, 'openDevice').mockRejectedValue(new Error('connection lost'));
    await expect(store.openUser(alice)).rejects.toMatchObject({
      code: 'STORAGE',
      cause: { message: 'connection lost' },
    });
  });
});

describe('a change that is not stored, because globalThis.indexedDB was replaced', () => {
  it('is counted as a failed commit', async () => {
    const commits: boolean[] = [];
    await using store = await openCryptoStore({
      path: ':memory:',
      secret,
      onCommit: (stored) => commits.push(stored),
    });
    const keys = await store.openUser(alice);
    const db = await openDb(keys.cryptoDatabasePrefix, (created) => void created.createObjectStore('keys'));
    await put(db, 'keys', { one: 1 });
    const scope = globalThis as { indexedDB?: object };
    const { indexedDB } = scope;
    scope.indexedDB = {};
    const tx = db.transaction('keys', 'readwrite');
    tx.objectStore('keys').put(2, 'two');
    await expect(completed(tx)).rejects.toBeDefined();
    scope.indexedDB = indexedDB as object;
    expect(keys.failure).toMatchObject({ code: 'UNSUPPORTED' });
    expect(commits).toEqual([true, false]);
  });
});
