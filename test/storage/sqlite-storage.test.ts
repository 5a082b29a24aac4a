import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sqliteStorage } from '../../src/storage/sqlite-storage.js';
import { storageContract } from '../../src/testing/contracts/storage-contract.js';
import type { Clock } from '../../src/core/clock.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
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

  it('lets checkpoints wait for the flush interval on the injected clock, and nothing else', async () => {
    const clock = new ManualClock();
    await using storage = sqliteStorage({ path: ':memory:', secret, flushIntervalMs: 50, clock });
    const order: string[] = [];
    const commit = storage.commit('@a:x', { since: 's1' }).then(() => order.push('commit'));
    await clock.advance(49);
    order.push('49 ms');
    await clock.advance(1);
    await commit;
    const late = storage.commit('@a:x', { since: 's2' }).then(() => order.push('late commit'));
    await storage.setCredentials({ userId: '@b:x', accessToken: 't', deviceId: 'D' });
    await late;
    expect(order).toEqual(['49 ms', 'commit', 'late commit']);
    expect(clock.pendingTimers).toBe(0);
  });

  it('takes along on close what waits for the flush interval', async () => {
    const clock = new ManualClock();
    const storage = sqliteStorage({ path: ':memory:', secret, flushIntervalMs: 50, clock });
    const commit = storage.commit('@a:x', { since: 's1' });
    await storage.close();
    await expect(commit).resolves.toBe(undefined);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each<[string, Partial<Clock>]>([
    ['setTimeout', { setTimeout: fail }],
    ['clearTimeout', { clearTimeout: fail }],
    ['now', { now: fail }],
  ])('stores every acknowledged change once where clock.%s() throws', async (_, faulty) => {
    const clock = Object.assign(new ManualClock(), faulty);
    await using storage = sqliteStorage({ path: ':memory:', secret, flushIntervalMs: 60_000, clock });
    const commit = storage.commit('@a:x', { since: 's1' });
    await storage.setCredentials({ userId: '@b:x', accessToken: 't', deviceId: 'D' }); // flushes the commit too
    await commit;
    expect((await storage.loadCheckpoint('@a:x')).since).toBe('s1');
  });
});

function fail(): never {
  throw new Error('the clock of the application is broken');
}
