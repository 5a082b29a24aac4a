import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openCryptoStore } from '../support/crypto-store.js';
import { ReceivedMessages } from '../../../src/encryption/received-messages.js';
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

  it('knows after a kill which messages were delivered: each may come again, and no copy of it', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    const child = runChild('../../encryption/children/receive.ts', [path]);
    await child.printed(40);
    const delivered = (await child.kill()).length;
    await using store = await openCryptoStore({ path, secret });
    const received = new ReceivedMessages(await store.openUser({ userId: '@a:x', deviceId: 'D' }));
    for (let index = 0; index < delivered; index++) {
      const place = { roomId: '!r:x', senderId: '@b:x', sessionId: 's', index };
      expect(await received.isReplay(place, `$${index}`)).toBe(false);
      expect(await received.isReplay(place, `$copy of ${index}`)).toBe(true);
    }
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
