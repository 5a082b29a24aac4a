import { randomBytes } from 'node:crypto';
import { chmodSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { isManagerError } from '../../../src/core/errors.js';
import { sqliteStorage } from '../../../src/storage/sqlite-storage.js';
import type { Storage } from '../../../src/storage/storage.js';
import { MemoryLogger } from '../../../src/testing/memory-logger.js';
import { temporaryFolder } from '../temporary-folder.js';
import { allBytes, tamper } from './sqlite-file.js';

const secret = 'correct horse battery staple';
const marks = [
  'ACCESS-TOKEN', 'REFRESH-TOKEN', 'DEVICE-ID', 'SYNC-TOKEN', 'ACCOUNT-DATA', '!ROOM-ID', 'ROOM-STATE', '$EVENT-ID',
  'PAGE-TOKEN', '$JOURNALED', 'LETTER-ID', 'LETTER-EVENT', 'LETTER-ERROR', 'TXN-ID', 'SEND-TYPE', 'SEND-CONTENT',
  'SEND-ERROR', '$SENT', secret,
]; // prettier-ignore

async function writeMarks(storage: Storage, userId: string): Promise<void> {
  const send = { roomId: '!ROOM-ID', type: 'SEND-TYPE', content: 'SEND-CONTENT', enqueuedAt: 1 };
  const error = { name: 'Error', message: 'LETTER-ERROR' };
  await storage.setCredentials({
    userId,
    accessToken: 'ACCESS-TOKEN',
    refreshToken: 'REFRESH-TOKEN',
    deviceId: 'DEVICE-ID',
  });
  await storage.commit(userId, {
    since: 'SYNC-TOKEN',
    accountData: 'ACCOUNT-DATA',
    rooms: new Map([['!ROOM-ID', 'ROOM-STATE'.repeat(1_000)]]),
    lastDelivered: new Map([['!ROOM-ID', { eventId: '$EVENT-ID', token: 'PAGE-TOKEN' }]]),
    journal: { add: [{ roomId: '!ROOM-ID', eventId: '$JOURNALED' }] },
  });
  await storage.addDeadLetter(userId, { id: 'LETTER-ID', event: 'LETTER-EVENT', error, failedAt: 1, attempts: 1 });
  for (const n of [1, 2, 3]) await storage.enqueueSend(userId, { ...send, txnId: `TXN-ID${n}` });
  await storage.completeSend(userId, 'TXN-ID1', '$SENT');
  await storage.failSend(userId, 'TXN-ID2', { name: 'Error', message: 'SEND-ERROR' });
}

describe('a sealed file', () => {
  it('shows user ids, and nothing else that was stored, in its bytes or its log', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'storage.sqlite');
    const storage = sqliteStorage({ path, secret });
    await writeMarks(storage, '@alice:example.org');
    for (const close of [false, true]) {
      if (close) await storage.close();
      const bytes = allBytes(folder);
      expect(bytes.includes('@alice:example.org')).toBe(true);
      expect(
        marks.filter((mark) => bytes.includes(mark) || bytes.includes(Buffer.from(mark).toString('base64'))),
      ).toEqual([]);
    }
  });

  it('shows no secret when inspected, logged or failing', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    const logger = new MemoryLogger();
    const heard: unknown[] = [];
    const options = { path, secret, logger, onCorruption: (info: unknown) => heard.push(info) };
    const storage = sqliteStorage(options);
    await writeMarks(storage, '@alice:example.org');
    heard.push(inspect(storage, { depth: 10, showHidden: true }), JSON.stringify(storage));
    await storage.close();
    heard.push(await storage.getCredentials('@alice:example.org').catch((error: unknown) => error));
    for (const wrong of ['short', 'not the right secret', new Uint8Array(31), randomBytes(32)]) {
      heard.push(failureOf({ path, secret: wrong }));
    }
    tamper(path, `UPDATE records SET sealed = zeroblob(40)`);
    const damaged = sqliteStorage(options);
    heard.push(await damaged.getCredentials('@alice:example.org'), await damaged.loadCheckpoint('@alice:example.org'));
    await damaged.close();
    writeFileSync(path, 'garbage');
    await sqliteStorage(options).close();
    const text = inspect([heard, logger.entries], { depth: 10 });
    expect(marks.filter((mark) => text.includes(mark))).toEqual([]);
    expect(text).toContain("scope: 'record'");
    expect(text).toContain("scope: 'file'");
  });

  it('is made, and made again, for its owner only', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'storage.sqlite');
    const storage = sqliteStorage({ path, secret: randomBytes(32) });
    await storage.commit('@a:x', { since: 's1' });
    for (const file of [path, `${path}-wal`, `${path}.lock`]) expect(statSync(file).mode & 0o777).toBe(0o600);
    await storage.close();
    chmodSync(path, 0o644);
    expect(() => sqliteStorage({ path, secret: randomBytes(32) })).toThrow('`secret`');
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it.each([
    ['a string', 'correct horse battery staple', 'correct horse battery stapl3'],
    ['bytes', new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)],
    ['the other kind of secret', new Uint8Array(32).fill(65), 'A'.repeat(32)],
  ])('refuses a wrong secret (%s), and is as it was', async (_kind, right, wrong) => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    const storage = sqliteStorage({ path, secret: right });
    await storage.commit('@a:x', { since: 's1' });
    await storage.close();
    expect(failureOf({ path, secret: wrong })).toMatchObject({
      code: 'INVALID_OPTIONS',
      message: expect.stringContaining(path),
    });
    const again = sqliteStorage({ path, secret: right });
    expect((await again.loadCheckpoint('@a:x')).since).toBe('s1');
    await again.close();
  });

  it('takes a secret in either Unicode form', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    await sqliteStorage({ path, secret: 'caf\u00e9 caf\u00e9 caf\u00e9 caf\u00e9' }).close();
    const again = sqliteStorage({ path, secret: 'cafe\u0301 cafe\u0301 cafe\u0301 cafe\u0301' });
    await expect(again.close()).resolves.toBe(undefined);
  });
});

function failureOf(options: { path: string; secret: string | Uint8Array }): unknown {
  try {
    sqliteStorage(options);
  } catch (error) {
    return isManagerError(error) ? error : new Error('not one of ours', { cause: error });
  }
  throw new Error('it opened');
}
