import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../../src/core/clock.js';
import { SIDE_RECORDS_KEPT } from '../../../../src/core/ports/key-store.js';
import type { KeyChange } from '../../../../src/core/ports/key-store.js';
import { silentLogger } from '../../../../src/core/logger.js';
import { SqliteKeyStore } from '../../../../src/encryption/store/sqlite/sqlite-key-store.js';
import { keyStoreContract } from '../../../../src/testing/contracts/key-store-contract.js';
import { MemoryClaims } from '../../../../src/testing/memory-claims.js';
import { tamper } from '../../../storage/sqlite/sqlite-file.js';
import { temporaryFolder } from '../../../storage/temporary-folder.js';

const context = { clock: systemClock, logger: silentLogger };

describe('SqliteKeyStore', () => {
  keyStoreContract({ describe, it, expect }, async (secret) => {
    const path = join(temporaryFolder(), 'keys.sqlite');
    return {
      keys: SqliteKeyStore.open(context, { path, secret }),
      open: async (secret) => SqliteKeyStore.open(context, { path, secret }),
      kill: async () => {
        const copy = join(temporaryFolder(), 'keys.sqlite');
        for (const end of ['', '-wal', '.counters']) if (existsSync(path + end)) copyFileSync(path + end, copy + end);
        return SqliteKeyStore.open(context, { path: copy, secret });
      },
    };
  });

  const alice = { userId: '@alice:example.org', deviceId: 'D' };
  const open = (path = ':memory:') => SqliteKeyStore.open(context, { path, secret: new Uint8Array(32).fill(7) });

  it('deletes the side records that were not written for the longest time', async () => {
    await using keys = open();
    const device = await keys.openDevice(alice);
    const write = (names: readonly string[]) =>
      Promise.all(names.map((name) => device.writeSideRecord(name, new Uint8Array([1]))));
    const names = Array.from({ length: SIDE_RECORDS_KEPT + 1_100 }, (_value, n) => `${n}`);
    await write(names.slice(0, 5_000));
    await write(['0']);
    await write(names.slice(5_000));
    const kept = async (name: string): Promise<boolean> => (await device.readSideRecord(name)) !== undefined;
    expect(await Promise.all(['0', '1', '999', '1100', names.at(-1) ?? ''].map(kept))).toEqual([
      true,
      false,
      false,
      true,
      true,
    ]);
  });

  it('reads no side record that was altered', async () => {
    const path = join(temporaryFolder(), 'keys.sqlite');
    let keys = open(path);
    await (await keys.openDevice(alice)).writeSideRecord('a', new Uint8Array([1]));
    await keys.close();
    const database = new DatabaseSync(path);
    database.exec('UPDATE received SET sealed = zeroblob(40)');
    database.close();
    keys = open(path);
    const device = await keys.openDevice(alice);
    await expect(device.readSideRecord('a')).rejects.toMatchObject({ code: 'ENCRYPTION_STORE_DAMAGED' });
    await keys.close();
  });

  it('keeps the keys of a file from before there were such records', async () => {
    const path = join(temporaryFolder(), 'keys.sqlite');
    let keys = open(path);
    const schema = { version: 1, stores: [] };
    await (await keys.openDevice(alice)).commit([['crypto', { schema, records: [] }]]);
    await keys.close();
    const database = new DatabaseSync(path);
    database.exec('DROP TABLE received; PRAGMA user_version = 1');
    database.close();
    keys = open(path);
    const device = await keys.openDevice(alice);
    expect(device.databases.map(({ name }) => name)).toEqual(['crypto']);
    await device.writeSideRecord('a', new Uint8Array([1]));
    await keys.close();
  });

  const put = (value: string): KeyChange => {
    const schema = { version: 1, stores: [{ name: 'keys', keyPath: null, indexes: [] }] };
    return ['crypto', { schema, records: [{ store: 'keys', key: 'a', present: { value } }] }];
  };

  it('keeps its secret, and all its devices, if that could not be changed', async () => {
    const path = join(temporaryFolder(), 'keys.sqlite');
    await open(path).close();
    tamper(path, `CREATE TRIGGER full BEFORE UPDATE ON meta BEGIN SELECT RAISE(ABORT, 'full'); END`);
    let keys = open(path);
    const device = await keys.openDevice(alice);
    await device.commit([put('first')]);
    await device.release();
    await expect(keys.rotateSecret('another secret of the keys')).rejects.toMatchObject({ code: 'STORAGE' });
    const again = await keys.openDevice(alice);
    expect(again.databases[0]?.records.get('keys')).toEqual([{ key: 'a', value: 'first' }]);
    await again.release();
    await (await keys.openDevice({ ...alice, deviceId: 'NEW' })).commit([put('second')]);
    await keys.close();
    keys = open(path);
    const later = await keys.openDevice({ ...alice, deviceId: 'NEW' });
    expect(later.databases[0]?.records.get('keys')).toEqual([{ key: 'a', value: 'second' }]);
    await keys.close();
  });

  it('stores nothing of a commit or a record that waits while another process takes the user', async () => {
    await using keys = open();
    const claims = new MemoryClaims();
    const device = await keys.openDevice({ ...alice, claim: await claims.take(alice.userId) });
    await device.commit([put('first')]);
    const waiting = [device.commit([put('late')]), device.writeSideRecord('late', new Uint8Array([1]))];
    void claims.take(alice.userId);
    for (const { status, reason } of (await Promise.allSettled(waiting)) as PromiseRejectedResult[]) {
      expect([status, reason]).toEqual(['rejected', expect.objectContaining({ code: 'OWNED_ELSEWHERE' })]);
    }
    await device.release();
    const { commits, databases } = await keys.openDevice({ ...alice, claim: await claims.take(alice.userId) });
    expect([commits, databases[0]?.records.get('keys')]).toEqual([1, [{ key: 'a', value: 'first' }]]);
  });

  it('ends a change of its secret before it is closed', async () => {
    const path = join(temporaryFolder(), 'keys.sqlite');
    const keys = open(path);
    const rotation = keys.rotateSecret('another secret of the keys');
    await keys.close();
    expect(await rotation).toBeUndefined();
    const again = SqliteKeyStore.open(context, { path, secret: 'another secret of the keys' });
    expect(await again.devicesOf(alice.userId)).toEqual([]);
    await again.close();
  });
});
