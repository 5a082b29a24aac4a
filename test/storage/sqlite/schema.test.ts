import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { sqliteStorage } from '../../../src/storage/sqlite-storage.js';
import { migrate, probeLayout } from '../../../src/storage/sqlite/layout.js';
import { storageLayout } from '../../../src/storage/sqlite/schema.js';
import { temporaryFolder } from '../temporary-folder.js';
import { query, tamper } from './sqlite-file.js';

const secret = new Uint8Array(32).fill(7);

describe('the schema', () => {
  it('carries the credentials of a version 1 file along, once', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    tamper(path, readFileSync(new URL('../fixtures/version-1.sql', import.meta.url), 'utf8'));
    for (let n = 0; n < 2; n++) {
      const storage = sqliteStorage({ path, secret });
      expect(await storage.getCredentials('@alice:example.org')).toEqual({
        userId: '@alice:example.org',
        accessToken: 'syt_alice',
        deviceId: 'DEVICEA',
        refreshToken: 'syr_alice',
      });
      expect((await storage.getCredentials('@bob:example.org'))?.accessToken).toBe('syt_bob');
      await storage.commit('@alice:example.org', { since: 's1' });
      await storage.close();
      expect(query(path, 'PRAGMA user_version')).toEqual([{ user_version: storageLayout.migrations.length }]);
    }
  });

  it('leaves a version 1 file as it is where the secret is wrong', () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    tamper(path, readFileSync(new URL('../fixtures/version-1.sql', import.meta.url), 'utf8'));
    const before = readFileSync(path);
    expect(() => sqliteStorage({ path, secret: new Uint8Array(32) })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS' }),
    );
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  it('can be probed in every version', () => {
    for (let version = 1; version <= storageLayout.migrations.length; version++) {
      const database = new DatabaseSync(':memory:');
      expect(() => probeLayout(database, storageLayout, version)).toThrow('no such table');
      migrate(database, storageLayout, 0, version);
      probeLayout(database, storageLayout, version);
    }
  });

  it('of a later release is refused, and the file not touched', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    await sqliteStorage({ path, secret }).close();
    tamper(
      path,
      `PRAGMA user_version = ${storageLayout.migrations.length + 1}; ALTER TABLE records RENAME TO something_new`,
    );
    const before = readFileSync(path);
    expect(() => sqliteStorage({ path, secret })).toThrow(
      expect.objectContaining({
        code: 'STORAGE',
        message: expect.stringContaining(`version ${storageLayout.migrations.length + 1}`),
      }),
    );
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  it.each([
    ['without a mark of its own', 'CREATE TABLE users (id INTEGER)'],
    ['with a mark of its own', 'PRAGMA application_id = 1; PRAGMA user_version = 9'],
  ])('of another application is refused, and the file not touched (%s)', (_kind, sql) => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    tamper(path, `${sql}; PRAGMA journal_mode = DELETE`);
    const before = readFileSync(path);
    expect(() => sqliteStorage({ path, secret })).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }));
    expect(readFileSync(path).equals(before)).toBe(true);
  });
});
