import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { join, relative } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { sqliteStorage } from '../../../src/storage/sqlite-storage.js';
import { runChild } from '../children/run-child.js';
import { temporaryFolder } from '../temporary-folder.js';

const secret = new Uint8Array(32).fill(7);

describe('the lock of a storage file', () => {
  it('refuses a second storage in the same process, whichever way the path is written', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'storage.sqlite');
    const storage = sqliteStorage({ path, secret });
    mkdirSync(join(folder, 'sub'));
    symlinkSync(path, join(folder, 'link'));
    symlinkSync(folder, join(folder, 'sub', 'folder'));
    const ways = [path, relative('.', path), join(folder, 'link'), join(folder, 'sub', 'folder', 'storage.sqlite')];
    for (const way of ways) {
      expect(() => sqliteStorage({ path: way, secret })).toThrow(
        expect.objectContaining({ code: 'STORAGE_LOCKED', message: expect.stringContaining(path) }),
      );
    }
    await storage.commit('@a:x', { since: 's1' });
    expect((await storage.loadCheckpoint('@a:x')).since).toBe('s1');
    await storage.close();
    await sqliteStorage({ path, secret }).close();
  });

  it('refuses a second process, also after refusing one of its own', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    const storage = sqliteStorage({ path, secret });
    // In POSIX, closing any descriptor of a file drops the locks of the whole process.
    expect(() => sqliteStorage({ path, secret })).toThrow(expect.objectContaining({ code: 'STORAGE_LOCKED' }));
    expect(await runChild('./hold.ts', [path]).end()).toEqual(['STORAGE_LOCKED']);
    await storage.close();
    const child = runChild('./hold.ts', [path]);
    await child.printed(1);
    expect(() => sqliteStorage({ path, secret })).toThrow(expect.objectContaining({ code: 'STORAGE_LOCKED' }));
    await child.kill();
  });

  it('ends with a killed process', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    const child = runChild('./hold.ts', [path]);
    await child.printed(1);
    expect(await child.kill()).toEqual(['open']);
    await sqliteStorage({ path, secret }).close();
  });

  it('holds across the threads of a process', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    const storage = sqliteStorage({ path, secret });
    const worker = new Worker(
      `const { parentPort, workerData } = require('node:worker_threads');
       const { DatabaseSync } = require('node:sqlite');
       try { new DatabaseSync(workerData).exec('BEGIN EXCLUSIVE'); parentPort.postMessage('open'); }
       catch (error) { parentPort.postMessage(error.message); }`,
      { eval: true, workerData: `${path}.lock` },
    );
    expect(await new Promise((resolve) => worker.once('message', resolve))).toBe('database is locked');
    await worker.terminate();
    await storage.close();
    expect(existsSync(`${path}-wal`)).toBe(false);
  });

  it('is let go of when opening fails', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    await sqliteStorage({ path, secret }).close();
    for (let n = 0; n < 2; n++) {
      expect(() => sqliteStorage({ path, secret: new Uint8Array(32) })).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTIONS' }),
      );
    }
    await sqliteStorage({ path, secret }).close();
  });
});
