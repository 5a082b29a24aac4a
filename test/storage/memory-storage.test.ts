import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import { storageContract } from '../../src/testing/contracts/storage-contract.js';

describe('memoryStorage', () => {
  storageContract({ describe, it, expect }, async () => ({ storage: memoryStorage(), staysOpen: true }));

  it('keeps what it has when it is closed, so that tests can restart a manager on it', async () => {
    const storage = memoryStorage();
    await storage.setCredentials({ userId: '@a:x', accessToken: 't', deviceId: 'D' });
    await storage.close();
    expect(await storage.getCredentials('@a:x')).toMatchObject({ deviceId: 'D' });
  });

  it('shows no secret when inspected', async () => {
    const storage = memoryStorage();
    await storage.setCredentials({ userId: '@a:x', accessToken: 'syt_secret', deviceId: 'D' });
    expect(inspect(storage, { depth: 10, showHidden: true })).not.toContain('syt_secret');
  });
});
