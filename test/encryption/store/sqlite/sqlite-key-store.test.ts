import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../../src/core/clock.js';
import { RECEIVED_RECORDS_KEPT } from '../../../../src/core/ports/key-store.js';
import { silentLogger } from '../../../../src/core/logger.js';
import { SqliteKeyStore } from '../../../../src/encryption/store/sqlite/sqlite-key-store.js';
import { keyStoreContract } from '../../../../src/testing/contracts/key-store-contract.js';
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

  it('deletes the records of received messages that were not written for the longest time', async () => {
    await using keys = open();
    const device = await keys.openDevice(alice);
    const write = (names: readonly string[]) =>
      Promise.all(names.map((name) => device.writeReceived(name, new Uint8Array([1]))));
    const names = Array.from({ length: RECEIVED_RECORDS_KEPT + 1_100 }, (_value, n) => `${n}`);
    await write(names.slice(0, 5_000));
    await write(['0']);
    await write(names.slice(5_000));
    const kept = async (name: string): Promise<boolean> => (await device.readReceived(name)) !== undefined;
    expect(await Promise.all(['0', '1', '999', '1100', names.at(-1) ?? ''].map(kept))).toEqual([
      true,
      false,
      false,
      true,
      true,
    ]);
  });

  it('reads no record of received messages that was altered', async () => {
    const path = join(temporaryFolder(), 'keys.sqlite');
    let keys = open(path);
    await (await keys.openDevice(alice)).writeReceived('a', new Uint8Array([1]));
    await keys.close();
    const database = new DatabaseSync(path);
    database.exec('UPDATE received SET sealed = zeroblob(40)');
    database.close();
    keys = open(path);
    const device = await keys.openDevice(alice);
    await expect(device.readReceived('a')).rejects.toMatchObject({ code: 'ENCRYPTION_STORE_DAMAGED' });
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
    await device.writeReceived('a', new Uint8Array([1]));
    await keys.close();
  });
});
