import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sqliteStorage } from '../../src/storage/sqlite-storage.js';
import { storageContract } from '../../src/testing/contracts/storage-contract.js';
import { temporaryFolder } from './temporary-folder.js';

const secret = new Uint8Array(32).fill(7);

describe('sqliteStorage', () => {
  describe('on a file', () => {
    storageContract({ describe, it, expect }, async () => {
      const path = join(temporaryFolder(), 'storage.sqlite');
      let storage = sqliteStorage({ path, secret });
      const reopen = async () => {
        await storage.close();
        storage = sqliteStorage({ path, secret });
        return storage;
      };
      return { storage, reopen };
    });
  });

  describe('in memory', () => {
    storageContract({ describe, it, expect }, async () => ({ storage: sqliteStorage({ path: ':memory:', secret }) }));
  });
});
