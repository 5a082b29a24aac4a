import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { LogSync } from '../../../src/storage/sqlite/log-sync.js';
import { temporaryFolder } from '../temporary-folder.js';
import { query } from './sqlite-file.js';

function setUp() {
  const path = join(temporaryFolder(), 'file.sqlite');
  const database = new DatabaseSync(path);
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE TABLE numbers (n INTEGER)');
  /** What is in the database without its log. */
  const copied = (): unknown[] => {
    const copy = join(temporaryFolder(), 'copy.sqlite');
    copyFileSync(path, copy);
    return query(copy, 'SELECT n FROM numbers').map(({ n }) => n);
  };
  return { database, path, log: new LogSync(database, path), copied };
}

describe('LogSync', () => {
  it('writes the log, and leaves the database as it is', async () => {
    const { database, log, copied } = setUp();
    database.exec('PRAGMA wal_checkpoint(RESTART); INSERT INTO numbers VALUES (1)');
    await Promise.all([log.sync(), log.sync()]);
    database.exec('INSERT INTO numbers VALUES (2)');
    await log.sync();
    expect(copied()).toEqual([]);
    log.close();
    database.close();
  });

  it('has SQLite copy the log into the database where it could not be written', async () => {
    const { database, log, copied } = setUp();
    database.exec('INSERT INTO numbers VALUES (1)');
    log.close(); // so that writing it fails
    await log.sync();
    expect(copied()).toEqual([1]);
    database.close();
  });

  it('rejects where neither is possible', async () => {
    const { database, log } = setUp();
    log.close();
    database.close();
    for (let n = 0; n < 2; n++) await expect(log.sync()).rejects.toThrow('database is not open');
  });
});
