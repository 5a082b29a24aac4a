import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openCryptoStore } from '../support/crypto-store.js';
import { runChild } from '../../storage/children/run-child.js';
import { temporaryFolder } from '../../storage/temporary-folder.js';
import { contentOf, openDb } from '../support/indexed-db.js';

const secret = new Uint8Array(32).fill(7);

describe('a crypto store', () => {
  it('is held by one process, and by one store in it', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    const store = await openCryptoStore({ path, secret });
    await expect(openCryptoStore({ path, secret })).rejects.toMatchObject({ code: 'STORAGE_LOCKED' });
    expect(await runChild('../../encryption/children/hold.ts', [path]).end()).toEqual(['STORAGE_LOCKED']);
    await store.close();
    const child = runChild('../../encryption/children/hold.ts', [path]);
    await child.printed(1);
    await expect(openCryptoStore({ path, secret })).rejects.toMatchObject({ code: 'STORAGE_LOCKED' });
    await child.kill();
    await (await openCryptoStore({ path, secret })).close();
  });

  it('on a full disk takes nothing more for the device, tells so once, and has what was complete', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    const lines = await runChild('../../encryption/children/fill.ts', [path], { fileSizeLimit: 600 }).end();
    const complete = lines.filter((line) => line.startsWith('complete')).length;
    expect(complete).toBeGreaterThan(2);
    expect(lines.slice(complete)).toEqual([
      expect.stringMatching(/^failure STORAGE could not write .*: the disk/),
      'rejected QuotaExceededError',
      `memory ${complete - 1}`,
      'refused',
    ]);
    await using store = await openCryptoStore({ path, secret });
    const keys = await store.openUser({ userId: '@a:x', deviceId: 'D' });
    const content = await contentOf(await openDb(keys.cryptoDatabasePrefix, () => {}), 'keys');
    expect(content['last']).toBe(complete - 1);
    expect(Object.keys(content)).toHaveLength(complete + 1);
  });
});
