import { describe, expect, it } from 'vitest';
import { nextEventLoopTurn } from '../../../src/core/event-loop.js';
import { cryptoStoreOn } from '../support/crypto-store.js';
import { MemoryClaims } from '../../../src/testing/memory-claims.js';
import { MemoryKeys } from '../../../src/testing/memory-keys.js';
import { keyStoreContract } from '../../../src/testing/contracts/key-store-contract.js';
import type { Db } from '../support/indexed-db.js';
import { contentOf, openDb, put } from '../support/indexed-db.js';

describe('MemoryKeys', () => {
  keyStoreContract({ describe, it, expect }, async (secret) => {
    const data = new MemoryKeys();
    return {
      keys: await data.open(secret),
      open: (secret) => data.open(secret),
      kill: () => {
        data.kill();
        return data.open(secret);
      },
    };
  });
});

describe('a client on another key store', () => {
  it('waits for its commits, which are shared by what is changed meanwhile, and continues from them', async () => {
    const secret = new Uint8Array(32).fill(7);
    const data = new MemoryKeys();
    const device = { userId: '@alice:x', deviceId: 'DEVICE' };
    const createStores = (db: Db): void => {
      for (const name of ['keys', 'rooms', 'users']) db.createObjectStore(name);
    };
    const store = await cryptoStoreOn(await data.open(secret));
    const keys = await store.openUser(device);
    const db = await openDb(keys.cryptoDatabasePrefix, createStores);
    await put(db, 'keys', { first: 1 });
    const before = keys.commits;
    await Promise.all(['keys', 'rooms', 'users'].map((name) => put(db, name, { a: name })));
    expect(keys.commits - before).toBe(2);
    const ends: string[] = [];
    const late = put(db, 'keys', { late: 1 }).then(() => ends.push('stored'));
    for (let turn = 0; keys.flush() === undefined && turn < 1_000; turn++) await nextEventLoopTurn();
    await Promise.all([keys.close().then(() => ends.push('closed')), late]);
    expect(ends).toEqual(['stored', 'closed']);
    await store.close();

    await using later = await cryptoStoreOn(await data.open(secret));
    const again = await openDb((await later.openUser(device)).cryptoDatabasePrefix, createStores);
    expect(await contentOf(again, 'keys')).toEqual({ first: 1, a: 'keys', late: 1 });
    expect(await contentOf(again, 'users')).toEqual({ a: 'users' });
  });

  it('ends when another process has taken the user, with the error that says so', async () => {
    const data = new MemoryKeys();
    const claims = new MemoryClaims();
    const device = { userId: '@alice:x', deviceId: 'DEVICE' };
    const secret = new Uint8Array(32).fill(7);
    await using store = await cryptoStoreOn(await data.open(secret));
    const failures: unknown[] = [];
    const onFailure = (error: unknown): void => void failures.push(error);
    const keys = await store.openUser({ ...device, claim: await claims.take(device.userId), onFailure });
    const db = await openDb(keys.cryptoDatabasePrefix, (created) => void created.createObjectStore('keys'));
    await put(db, 'keys', { first: 1 });
    await using other = await cryptoStoreOn(await data.open(secret));
    const next = await other.openUser({ ...device, claim: await claims.take(device.userId) });
    await expect(put(db, 'keys', { late: 1 })).rejects.toBeDefined();
    expect(failures).toEqual([expect.objectContaining({ code: 'OWNED_ELSEWHERE', userId: device.userId })]);
    expect(keys.failure).toBe(failures[0]);
    await keys.close();
    const later = await openDb(next.cryptoDatabasePrefix, () => {});
    expect(await contentOf(later, 'keys')).toEqual({ first: 1 });
    await put(later, 'keys', { second: 2 });
  });
});
