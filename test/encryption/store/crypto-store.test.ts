import { copyFileSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cryptoStoreOn, openCryptoStore } from '../support/crypto-store.js';
import { nextEventLoopTurn } from '../../../src/core/event-loop.js';
import { ReceivedMessages } from '../../../src/encryption/received-messages.js';
import { ManualClock, MemoryKeys, MemoryLogger } from '../../../src/testing/index.js';
import { temporaryFolder } from '../../storage/temporary-folder.js';
import { allBytes, tamper } from '../../storage/sqlite/sqlite-file.js';
import type { Db } from '../support/indexed-db.js';
import { completed, contentOf, openDb, put, resultOf } from '../support/indexed-db.js';

const secret = new Uint8Array(32).fill(7);
const alice = { userId: '@alice:x', deviceId: 'DEVICE' };
const upgrade = (db: Db): void => void db.createObjectStore('keys');

function code(code: string, more: object = {}): unknown {
  return expect.objectContaining({ code, ...more });
}

async function write(path: string, records: Record<string, unknown>, device = alice): Promise<void> {
  await using store = await openCryptoStore({ path, secret });
  const keys = await store.openUser(device);
  await put(await openDb(keys.cryptoDatabasePrefix, upgrade), 'keys', records);
}

async function read(path: string, device = alice, withSecret = secret): Promise<Record<string, unknown>> {
  await using store = await openCryptoStore({ path, secret: withSecret });
  const keys = await store.openUser(device);
  return await contentOf(await openDb(keys.cryptoDatabasePrefix, upgrade), 'keys');
}

describe('a crypto store', () => {
  it('has after a restart what was complete before it', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    const value = { version: 1, ciphertext: 'abc', nested: [1, new Uint8Array([1, 2]), undefined, true] };
    await write(path, { one: value, two: 'x', three: 3 });
    await using store = await openCryptoStore({ path, secret });
    const keys = await store.openUser(alice);
    const db = await openDb(keys.cryptoDatabasePrefix, upgrade);
    expect(await contentOf(db, 'keys')).toEqual({ one: value, two: 'x', three: 3 });
    const tx = db.transaction('keys', 'readwrite');
    tx.objectStore('keys').delete('one');
    tx.objectStore('keys').put('y', 'two');
    await completed(tx);
    await put(db, 'keys', { four: 4 });
    await store.close();
    expect(await read(path)).toEqual({ two: 'y', three: 3, four: 4 });
  });

  it('opens keys once the client before has closed them, however long that takes', async () => {
    const keys = await new MemoryKeys().open(secret);
    const released = Promise.withResolvers<void>();
    const openDevice = keys.openDevice.bind(keys);
    keys.openDevice = async (options) => {
      const handle = await openDevice(options);
      const release = handle.release.bind(handle);
      return Object.assign(handle, { release: () => released.promise.then(release) });
    };
    await using store = await cryptoStoreOn(keys);
    const before = await store.openUser(alice);
    await put(await openDb(before.cryptoDatabasePrefix, upgrade), 'keys', { one: 1 });
    const closing = before.close();
    const next = store.openUser(alice);
    await Promise.race([next, nextEventLoopTurn()]);
    released.resolve();
    await closing;
    expect(await contentOf(await openDb((await next).cryptoDatabasePrefix, upgrade), 'keys')).toEqual({ one: 1 });
  });

  it('remembers over a restart that a backup is still to be restored', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    for (const [found, next] of [
      [false, true],
      [true, true],
      [true, false],
      [false, false],
    ] as const) {
      await using store = await openCryptoStore({ path, secret });
      const keys = await store.openUser(alice);
      expect(keys.restorePending).toBe(found);
      await keys.setRestorePending(next);
      expect(keys.restorePending).toBe(next);
    }
  });

  it('keeps indexes, upgrades and cleared stores', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    const first = await openCryptoStore({ path, secret });
    const one = await openDb((await first.openUser(alice)).cryptoDatabasePrefix, (db) => {
      db.createObjectStore('old');
      db.createObjectStore('cleared');
      db.createObjectStore('kept').createIndex('by_kind', 'kind');
    });
    await put(one, 'old', { a: 1 });
    await put(one, 'cleared', { a: 1 });
    await put(one, 'kept', { a: { kind: 'x' }, b: { kind: 'y' }, c: { kind: 'x' } });
    const tx = one.transaction('cleared', 'readwrite');
    tx.objectStore('cleared').clear();
    await completed(tx);
    await first.close();

    const second = await openCryptoStore({ path, secret });
    const two = await openDb(
      (await second.openUser(alice)).cryptoDatabasePrefix,
      (db) => {
        db.deleteObjectStore('old');
        db.createObjectStore('new');
      },
      2,
    );
    await put(two, 'new', { n: 1 });
    await second.close();

    await using third = await openCryptoStore({ path, secret });
    const three = await openDb((await third.openUser(alice)).cryptoDatabasePrefix, () => {}, 2);
    expect([...three.objectStoreNames]).toEqual(['cleared', 'kept', 'new']);
    expect(await contentOf(three, 'cleared')).toEqual({});
    expect(await contentOf(three, 'new')).toEqual({ n: 1 });
    const byKind = three.transaction('kept').objectStore('kept').index('by_kind');
    expect(await resultOf(byKind.getAllKeys('x'))).toEqual(['a', 'c']);
  });

  it('stores nothing of a transaction that was aborted', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    await using store = await openCryptoStore({ path, secret });
    const keys = await store.openUser(alice);
    const db = await openDb(keys.cryptoDatabasePrefix, upgrade);
    await put(db, 'keys', { a: 1 });
    const tx = db.transaction('keys', 'readwrite');
    await resultOf(tx.objectStore('keys').put(2, 'a'));
    await resultOf(tx.objectStore('keys').put(3, 'b'));
    tx.abort();
    await expect(completed(tx)).rejects.toThrow('aborted');
    await put(db, 'keys', { c: 3 });
    expect(await contentOf(db, 'keys')).toEqual({ a: 1, c: 3 });
    await store.close();
    expect(await read(path)).toEqual({ a: 1, c: 3 });
  });

  it('counts commits, and none for reading, for nothing, or for a new database without a record', async () => {
    await using store = await openCryptoStore({ path: ':memory:', secret });
    const keys = await store.openUser(alice);
    expect(keys.wasNew).toBe(true);
    const db = await openDb(keys.cryptoDatabasePrefix, upgrade);
    await contentOf(db, 'keys');
    await completed(db.transaction('keys', 'readwrite'));
    expect(keys.commits).toBe(0);
    await put(db, 'keys', { a: 1, b: 2 });
    expect(keys.commits).toBe(1);
    await put(db, 'keys', { a: 3 });
    expect(keys.commits).toBe(2);
  });

  it('keeps users, devices and their keys apart', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    const store = await openCryptoStore({ path, secret });
    const users = await Promise.all(
      ['@a:x', '@b:x', '@c:x'].map((userId) => store.openUser({ userId, deviceId: 'D' })),
    );
    for (const keys of users) await put(await openDb(keys.cryptoDatabasePrefix, upgrade), 'keys', { me: keys.userId });
    await store.close();
    expect(await read(path, { userId: '@b:x', deviceId: 'D' })).toEqual({ me: '@b:x' });
  });

  it('gives the SDK a prefix that never comes again', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    const seen: string[] = [];
    for (let n = 0; n < 2; n++) {
      await using store = await openCryptoStore({ path, secret });
      seen.push((await store.openUser(alice)).cryptoDatabasePrefix);
    }
    expect(seen[0]).not.toBe(seen[1]);
    expect(seen[0]).not.toContain('alice');
  });

  it('shows nothing in its files but user and device ids', async () => {
    const folder = temporaryFolder();
    await write(join(folder, 'crypto.sqlite'), { '!room:example.org': 'the plaintext', session: { key: 'syt_token' } });
    const bytes = allBytes(folder).toString('latin1');
    expect(bytes).toContain('@alice:x');
    for (const hidden of ['room:example', 'plaintext', 'syt_token', 'session', 'mcm-crypto-']) {
      expect(bytes).not.toContain(hidden);
    }
  });

  it('opens a user once, whatever their device, until they are closed', async () => {
    await using store = await openCryptoStore({ path: ':memory:', secret });
    const [first, second] = await Promise.allSettled([store.openUser(alice), store.openUser(alice)]);
    expect(second).toEqual({ status: 'rejected', reason: code('ENCRYPTION_STORE_IN_USE', { userId: '@alice:x' }) });
    await expect(store.openUser({ ...alice, deviceId: 'OTHER' })).rejects.toEqual(code('ENCRYPTION_STORE_IN_USE'));
    await expect(store.keys.forgetDevice('@alice:x', 'DEVICE')).rejects.toEqual(code('ENCRYPTION_STORE_IN_USE'));
    if (first.status === 'fulfilled') await first.value.close();
    await (await store.openUser(alice)).close();
  });

  it('refuses what a closed device still writes, and has forgotten what it holds', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    await using store = await openCryptoStore({ path, secret });
    const keys = await store.openUser(alice);
    const db = await openDb(keys.cryptoDatabasePrefix, upgrade);
    await put(db, 'keys', { a: 1 });
    await keys.close();
    await expect(put(db, 'keys', { a: 2 })).rejects.toMatchObject({ name: 'QuotaExceededError' });
    expect(await contentOf(db, 'keys')).toEqual({});
    await store.close();
    expect(await read(path)).toEqual({ a: 1 });
  });

  it('refuses every call after it was closed', async () => {
    const store = await openCryptoStore({ path: ':memory:', secret });
    await store.close();
    await store.close();
    await expect(store.openUser(alice)).rejects.toEqual(code('STORAGE'));
    await expect(store.keys.devicesOf('@alice:x')).rejects.toEqual(code('STORAGE'));
    await expect(store.keys.rotateSecret(secret)).rejects.toEqual(code('STORAGE'));
  });
});

describe('what a crypto store tells', () => {
  it('is how many devices are open, and which ones it has keys of', async () => {
    await using store = await openCryptoStore({ path: ':memory:', secret });
    const keys = await store.openUser(alice);
    await store.openUser({ userId: '@bob:x', deviceId: 'B' });
    expect([
      store.openDevices,
      await store.keys.devicesOf(alice.userId),
      await store.keys.devicesOf('@none:x'),
    ]).toEqual([2, ['DEVICE'], []]);
    await keys.close();
    expect(store.openDevices).toBe(1);
  });

  it('is each change of keys, stored or not, with its time', async () => {
    const clock = new ManualClock();
    const told: unknown[] = [];
    await using store = await openCryptoStore({
      path: ':memory:',
      secret,
      clock,
      onCommit: (...commit) => told.push(commit),
    });
    const keys = await store.openUser(alice);
    await put(await openDb(keys.cryptoDatabasePrefix, upgrade), 'keys', { one: 1 });
    expect(told).toEqual([[true, 0]]);
  });

  it('is that a device is in use, where its keys are to be forgotten', async () => {
    await using store = await openCryptoStore({ path: ':memory:', secret });
    const keys = await store.openUser(alice);
    const inUse = expect.objectContaining({ code: 'ENCRYPTION_STORE_IN_USE', userId: alice.userId }) as Error;
    await expect(store.keys.forgetDevice(alice.userId, alice.deviceId)).rejects.toEqual(inUse);
    expect(await store.keys.forgetDevice(alice.userId, 'OTHER')).toBe(false);
    await keys.close();
    const opening = store.openUser(alice);
    await expect(store.keys.forgetDevice(alice.userId, 'OTHER')).rejects.toEqual(inUse); // nobody knows yet what it will have
    await (await opening).close();
    expect(await store.keys.forgetDevice(alice.userId, alice.deviceId)).toBe(true);
    expect(await store.keys.devicesOf(alice.userId)).toEqual([]);
  });

  it('is that it was closed, also to those who were opening a device', async () => {
    const store = await openCryptoStore({ path: ':memory:', secret });
    const opening = store.openUser(alice);
    await store.close();
    await expect(opening).rejects.toMatchObject({ message: expect.stringContaining('closed') as string });
    await expect(store.openUser(alice)).rejects.toMatchObject({ message: expect.stringContaining('closed') as string });
    await expect(store.keys.devicesOf(alice.userId)).rejects.toThrow('closed');
    expect(store.openDevices).toBe(0);
  });

  it('is why keys were refused: gone, or older than they were', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    await write(path, { a: 1 });
    copyFileSync(path, `${path}.copy`);
    await write(path, { a: 2 });
    copyFileSync(`${path}.copy`, path);
    await expect(read(path)).rejects.toThrow('are at change 1, but were at change 2 before:');
    rmSync(path);
    await expect(read(path)).rejects.toThrow('on device DEVICE are missing:');
  });
});

describe('the secret of a crypto store', () => {
  it('is asked for again, and the file is as it was where it is wrong', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    await write(path, { a: 1 });
    await expect(openCryptoStore({ path, secret: new Uint8Array(32) })).rejects.toEqual(
      code('INVALID_OPTIONS', { message: expect.stringMatching(/^CryptoStore: .*secret/) }),
    );
    expect(await read(path)).toEqual({ a: 1 });
  });

  it('is changed by command, while devices are open and for those that are not', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    const next = new Uint8Array(32).fill(9);
    await write(path, { a: 'alice' });
    await write(path, { b: 'bob' }, { userId: '@bob:x', deviceId: 'B' });
    const store = await openCryptoStore({ path, secret });
    const keys = await store.openUser(alice);
    const db = await openDb(keys.cryptoDatabasePrefix, upgrade);
    await store.keys.rotateSecret(next);
    await put(db, 'keys', { after: 1 });
    const carol = await store.openUser({ userId: '@carol:x', deviceId: 'C' });
    await put(await openDb(carol.cryptoDatabasePrefix, upgrade), 'keys', { c: 'carol' });
    await store.close();
    await expect(openCryptoStore({ path, secret })).rejects.toEqual(code('INVALID_OPTIONS'));
    expect(await read(path, alice, next)).toEqual({ a: 'alice', after: 1 });
    expect(await read(path, { userId: '@bob:x', deviceId: 'B' }, next)).toEqual({ b: 'bob' });
    expect(await read(path, { userId: '@carol:x', deviceId: 'C' }, next)).toEqual({ c: 'carol' });
  });

  it('is not changed to one that is none', async () => {
    await using store = await openCryptoStore({ path: ':memory:', secret });
    await expect(store.keys.rotateSecret('short')).rejects.toEqual(code('INVALID_OPTIONS'));
  });
});

describe('the keys of a device', () => {
  it('are refused where the store was put back from a copy', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'crypto.sqlite');
    await write(path, { a: 1 });
    await write(path, { b: 1 }, { userId: '@bob:x', deviceId: 'B' });
    copyFileSync(path, `${path}.copy`);
    await write(path, { a: 2 });
    copyFileSync(`${path}.copy`, path);
    await expect(read(path)).rejects.toEqual(
      code('ENCRYPTION_STORE_ROLLED_BACK', { userId: '@alice:x', message: expect.stringContaining('new device') }),
    );
    expect(await read(path, { userId: '@bob:x', deviceId: 'B' })).toEqual({ b: 1 });
    // The way on:
    await using store = await openCryptoStore({ path, secret });
    expect((await store.openUser({ ...alice, deviceId: 'NEW' })).wasNew).toBe(true);
  });

  it('are refused where the store is gone', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    await write(path, { a: 1 });
    rmSync(path);
    await expect(read(path)).rejects.toEqual(code('ENCRYPTION_STORE_ROLLED_BACK'));
  });

  it('are not refused after a kill between the commit and the counter', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    await write(path, { a: 1 });
    const counters = `${path}.counters`;
    copyFileSync(counters, `${counters}.before`);
    await write(path, { a: 2 });
    copyFileSync(`${counters}.before`, counters);
    expect(await read(path)).toEqual({ a: 2 });
  });

  it('are not refused where the counter file is gone, cut or damaged', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    const counters = `${path}.counters`;
    await write(path, { a: 1 });
    rmSync(counters);
    expect(await read(path)).toEqual({ a: 1 });
    writeFileSync(counters, Buffer.alloc(45, 1));
    expect(await read(path)).toEqual({ a: 1 });
    copyFileSync(path, `${path}.copy`);
    await write(path, { a: 2 });
    copyFileSync(`${path}.copy`, path);
    await expect(read(path)).rejects.toEqual(code('ENCRYPTION_STORE_ROLLED_BACK'));
  });

  it('have a counter file where the options say', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'crypto.sqlite');
    const counterPath = join(folder, 'elsewhere');
    await using store = await openCryptoStore({ path, secret, counterPath });
    const keys = await store.openUser(alice);
    await put(await openDb(keys.cryptoDatabasePrefix, upgrade), 'keys', { a: 1 });
    expect(existsSync(counterPath)).toBe(true);
    expect(existsSync(`${path}.counters`)).toBe(false);
  });

  it('are kept for each device of a user', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    await write(path, { a: 1 });
    await using store = await openCryptoStore({ path, secret });
    await (await store.openUser({ ...alice, deviceId: 'OTHER' })).close();
    expect(await store.keys.devicesOf('@alice:x')).toEqual(['DEVICE', 'OTHER']);
  });

  it('are never made anew for a device whose keys were forgotten', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    await write(path, { a: 1 });
    await using store = await openCryptoStore({ path, secret });
    expect(await store.keys.forgetDevice('@alice:x', 'DEVICE')).toBe(true);
    expect(await store.keys.forgetDevice('@alice:x', 'DEVICE')).toBe(false);
    await expect(store.openUser(alice)).rejects.toEqual(code('ENCRYPTION_STORE_ROLLED_BACK'));
  });

  it.each([
    ['a record', 'UPDATE records SET sealed = zeroblob(100)'],
    ['a database', 'UPDATE databases SET sealed = zeroblob(100)'],
    ['the key', 'UPDATE devices SET sealed_key = zeroblob(60)'],
    ['another device has the records', 'UPDATE databases SET device = 3 - device'],
  ])('are refused where something was altered: %s', async (_what, sql) => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    await write(path, { a: 1 });
    await write(path, { b: 1 }, { userId: '@bob:x', deviceId: 'B' });
    tamper(path, sql);
    await expect(read(path)).rejects.toEqual(code('ENCRYPTION_STORE_DAMAGED', { userId: '@alice:x' }));
  });

  it('have side records that begin anew where they were altered, which is logged', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    const place = (index: number) => ({ roomId: '!r:x', senderId: '@b:x', sessionId: 's', index });
    const logger = new MemoryLogger();
    const open = () => openCryptoStore({ path, secret, logger });
    const logged = () => logger.entries.filter(({ level }) => level === 'error' || level === 'warn');
    let store = await open();
    expect(await new ReceivedMessages(await store.openUser(alice)).isReplay(place(0), '$1')).toBe(false);
    await store.close();
    tamper(path, 'UPDATE received SET sealed = zeroblob(60)');
    store = await open();
    const received = new ReceivedMessages(await store.openUser(alice));
    expect(await Promise.all([0, 1].map((index) => received.isReplay(place(index), `$${index}`)))).toEqual([
      false,
      false,
    ]);
    expect(await received.isReplay(place(1), '$copy')).toBe(true);
    expect(logged()).toEqual([
      expect.objectContaining({
        level: 'error',
        context: { userId: '@alice:x', err: code('ENCRYPTION_STORE_DAMAGED') },
      }),
    ]);
    await store.close();
    store = await open();
    expect(await new ReceivedMessages(await store.openUser(alice)).isReplay(place(1), '$copy')).toBe(true);
    expect(logged()).toHaveLength(1);
    await store.close();
  });

  it('are refused after the file was damaged, which is set aside and told', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'crypto.sqlite');
    await write(path, { a: 1 });
    writeFileSync(path, Buffer.alloc(8_192, 5));
    const told: unknown[] = [];
    await using store = await openCryptoStore({ path, secret, onCorruption: (info) => told.push(info) });
    expect(told).toEqual([expect.objectContaining({ scope: 'file', path })]);
    expect(readdirSync(folder).some((name) => name.includes('.corrupt-'))).toBe(true);
    await expect(store.openUser(alice)).rejects.toEqual(code('ENCRYPTION_STORE_ROLLED_BACK'));
  });
});

describe('a file of something else', () => {
  it('is refused both ways', async () => {
    const { sqliteStorage } = await import('../../../src/storage/sqlite-storage.js');
    const folder = temporaryFolder();
    const [crypto, storage] = [join(folder, 'crypto'), join(folder, 'storage')];
    await write(crypto, { a: 1 });
    await sqliteStorage({ path: storage, secret }).close();
    await expect(openCryptoStore({ path: storage, secret })).rejects.toEqual(code('INVALID_OPTIONS'));
    expect(() => sqliteStorage({ path: crypto, secret })).toThrow(code('INVALID_OPTIONS'));
    expect(await read(crypto)).toEqual({ a: 1 });
  });

  it('or in a folder that does not exist is INVALID_OPTIONS', async () => {
    await expect(openCryptoStore({ path: '/no/such/folder/x', secret })).rejects.toEqual(
      code('INVALID_OPTIONS', { message: expect.stringMatching(/^CryptoStore: /) }),
    );
  });
});
