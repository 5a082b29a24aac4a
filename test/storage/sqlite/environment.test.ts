import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { SqliteStorageOptions } from '../../../src/storage/sqlite-storage-options.js';
import { sqliteStorage } from '../../../src/storage/sqlite-storage.js';
import { runChild } from '../children/run-child.js';
import { temporaryFolder } from '../temporary-folder.js';

const secret = new Uint8Array(32).fill(7);
const nobody = 65_534;

describe('the options of sqliteStorage', () => {
  it.each<[string, unknown]>([
    ['options', undefined],
    ['options', 'storage.sqlite'],
    ['path', { secret }],
    ['path', { path: '', secret }],
    ['path', { path: 'a\0b', secret }],
    ['secret', { path: ':memory:' }],
    ['secret', { path: ':memory:', secret: '15 characters..' }],
    ['secret', { path: ':memory:', secret: new Uint8Array(16) }],
    ['secret', { path: ':memory:', secret: [1, 2, 3] }],
    ['flushIntervalMs', { path: ':memory:', secret, flushIntervalMs: -1 }],
    ['flushIntervalMs', { path: ':memory:', secret, flushIntervalMs: Number.NaN }],
    ['flushIntervalMs', { path: ':memory:', secret, flushIntervalMs: '5' }],
    ['onCorruption', { path: ':memory:', secret, onCorruption: 'log' }],
  ])('are refused with the name of what is wrong (%s: %j)', (name, options) => {
    expect(() => sqliteStorage(options as SqliteStorageOptions)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringContaining(`expected \`${name}\``) }),
    );
  });
});

describe('a path that cannot be used', () => {
  it.each([
    ['in a folder that is missing', 'missing/storage.sqlite'],
    ['below a file', 'file/storage.sqlite'],
    ['that is a folder', 'folder'],
  ])('is refused (%s)', (_how, name) => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'file'), '');
    mkdirSync(join(folder, 'folder'));
    expect(() => sqliteStorage({ path: join(folder, name), secret })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringContaining(folder) }),
    );
  });

  // As another user, because permissions do not bind root.
  it.runIf(process.getuid?.() === 0)('is refused with the cause (no permission to write)', async () => {
    const folder = temporaryFolder();
    chmodSync(folder, 0o777);
    const files = ['folder', 'file', 'readable'].map((name) => join(folder, name, 'storage.sqlite'));
    for (const [i, file] of files.entries()) {
      mkdirSync(join(file, '..'), { mode: 0o755 });
      if (i === 0) continue;
      await sqliteStorage({ path: file, secret }).close();
      for (const owned of [join(file, '..'), `${file}.lock`]) chownSync(owned, nobody, nobody);
      chmodSync(file, i === 1 ? 0o600 : 0o644);
    }
    const before = files.slice(1).map((file) => readFileSync(file));
    const outcomes = await Promise.all(files.map((file) => runChild('./hold.ts', [file], { uid: nobody }).end()));
    expect(outcomes).toEqual([['STORAGE'], ['STORAGE'], ['STORAGE']]);
    expect(files.slice(1).map((file) => readFileSync(file))).toEqual(before);
  });
});

describe('a full disk', () => {
  it.skipIf(process.platform === 'win32')('rejects what does not fit, keeps what did, and can be read', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    const lines = await runChild('./fill.ts', [path], { fileSizeLimit: 400 }).end();
    expect(lines).toEqual(['STORAGE true', 'true true']);
    const storage = sqliteStorage({ path, secret });
    const { since, rooms } = await storage.loadCheckpoint('@a:x');
    expect(rooms.size).toBe(Number(since) + 1);
    expect(rooms.size).toBeGreaterThan(10);
    await storage.commit('@a:x', { rooms: new Map([['!more:x', 'x'.repeat(1_000_000)]]) });
    await storage.close();
    expect(statSync(path).size).toBeGreaterThan(1_000_000);
  });

  it.skipIf(process.platform === 'win32')('makes opening fail, not crash', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    expect(await runChild('./hold.ts', [path], { fileSizeLimit: 4 }).end()).toEqual(['STORAGE']);
    await sqliteStorage({ path, secret }).close();
  });
});
