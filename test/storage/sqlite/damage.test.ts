import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isManagerError } from '../../../src/core/errors.js';
import type { StoredCheckpoint } from '../../../src/storage/checkpoint.js';
import { sqliteStorage } from '../../../src/storage/sqlite-storage.js';
import type { CorruptionInfo } from '../../../src/storage/sqlite-storage-options.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';
import { MemoryLogger } from '../../../src/testing/memory-logger.js';
import { runChild } from '../children/run-child.js';
import { temporaryFolder } from '../temporary-folder.js';
import { query, tamper } from './sqlite-file.js';

const secret = new Uint8Array(32).fill(7);
const alice = '@alice:example.org';
const bob = '@bob:example.org';
const error = { name: 'Error', message: 'failed' };

/** A closed file with something of every kind for two users. */
async function makeFile(path: string): Promise<void> {
  await using storage = sqliteStorage({ path, secret });
  for (const userId of [alice, bob]) {
    await storage.setCredentials({ userId, accessToken: `token of ${userId}`, deviceId: 'D' });
    await storage.commit(userId, {
      since: 's1',
      accountData: 'account data',
      rooms: new Map(['!a:x', '!b:x', '!c:x'].map((roomId) => [roomId, `state of ${roomId} `.repeat(200)])),
      lastDelivered: new Map(['!a:x', '!b:x'].map((roomId) => [roomId, { eventId: `$in${roomId}` }])),
      journal: { add: Array.from({ length: 20 }, (_, n) => ({ roomId: '!a:x', eventId: `$${n}` })) },
    });
    await storage.addDeadLetter(userId, { id: 'letter', event: '{}', error, failedAt: 1, attempts: 3 });
    for (const txnId of ['t1', 't2']) {
      await storage.enqueueSend(userId, { txnId, roomId: '!a:x', type: 't', content: '{}', enqueuedAt: 1 });
    }
    await storage.completeSend(userId, 't1', '$sent');
  }
}

function record(kind: string, userId = alice): string {
  return `kind = '${kind}' AND user_id = '${userId}'`;
}

function listening(path: string) {
  const heard: CorruptionInfo[] = [];
  const logger = new MemoryLogger();
  const clock = new ManualClock();
  const storage = sqliteStorage({ path, secret, logger, clock, onCorruption: (info) => heard.push(info) });
  return { storage, heard, logger };
}

/** The note of a process that has set the file aside, where `reports` processes have begun to report that. */
function writeNote(path: string, reports: number): void {
  const movedTo = `${basename(path)}.corrupt-20210101T000000000Z`;
  writeFileSync(`${path}.damaged`, JSON.stringify({ reason: 'a lost page', movedTo, reports }));
}

describe('a damaged record', () => {
  it.each([
    ['with a byte more', `UPDATE records SET sealed = CAST(sealed || x'00' AS BLOB) WHERE ${record('credentials')}`],
    ['cut short', `UPDATE records SET sealed = x'0102' WHERE ${record('credentials')}`],
    [
      'taken from another user',
      `UPDATE records SET sealed = (SELECT sealed FROM records WHERE ${record('credentials', bob)})
       WHERE ${record('credentials')}`,
    ],
    [
      'taken from another kind',
      `UPDATE records SET sealed = (SELECT sealed FROM records WHERE ${record('accountData')}) WHERE ${record('credentials')}`,
    ],
  ])('%s counts as absent, is told once, and harms no other', async (_how, sql) => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    await makeFile(path);
    tamper(path, `DELETE FROM records WHERE kind = 'sent'; ${sql}`);
    const { storage, heard, logger } = listening(path);
    expect(await storage.getCredentials(alice)).toBe(undefined);
    expect(await storage.getCredentials(alice)).toBe(undefined);
    expect((await storage.getCredentials(bob))?.accessToken).toBe(`token of ${bob}`);
    expect((await storage.loadCheckpoint(alice)).since).toBe('s1');
    await storage.close();
    const told = { scope: 'record', path, userId: alice, kind: 'credentials', reason: expect.any(String) };
    expect(heard).toEqual([told]);
    expect(logger.entries.filter(({ level }) => level === 'error').length).toBe(1);
  });

  it('of an encrypted room leaves the room encrypted', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    const before = sqliteStorage({ path, secret });
    await before.setEncryptedRooms?.(
      new Map([
        ['!a:x', 'text of a'],
        ['!b:x', 'text of b'],
      ]),
    );
    await before.close();
    tamper(path, `UPDATE records SET sealed = x'0102' WHERE kind = 'encryptedRoom'`);
    const { storage, heard } = listening(path);
    for (let n = 0; n < 2; n++) {
      expect(await storage.getEncryptedRooms?.(['!a:x', '!other:x'])).toEqual(new Map([['!a:x', '']]));
    }
    await storage.close();
    expect(heard).toEqual([expect.objectContaining({ scope: 'record', kind: 'encryptedRoom' })]);
  });

  it('stays in the quarantine until its user is deleted', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    await makeFile(path);
    tamper(path, `UPDATE records SET sealed = zeroblob(99) WHERE kind = 'deadLetter'`);
    const first = listening(path);
    expect(await first.storage.listDeadLetters(alice)).toEqual([]);
    expect(await first.storage.listDeadLetters(bob)).toEqual([]);
    await first.storage.close();
    expect(query(path, 'SELECT user_id, kind, found_at, length(sealed) AS bytes FROM quarantine')).toEqual(
      [alice, bob].map((user_id) => ({ user_id, kind: 'deadLetter', found_at: 1_700_000_000_000, bytes: 99 })),
    );
    const second = listening(path);
    await second.storage.deleteUser(alice);
    await second.storage.close();
    expect(query(path, 'SELECT user_id FROM quarantine')).toEqual([{ user_id: bob }]);
  });

  it.each(['room', 'accountData'])(
    'takes the position along where resuming would be wrong without it (%s)',
    async (kind) => {
      const path = join(temporaryFolder(), 'storage.sqlite');
      await makeFile(path);
      const made = sqliteStorage({ path, secret });
      await made.commit(alice, { clientSince: 's2' });
      await made.close();
      tamper(
        path,
        `UPDATE records SET sealed = zeroblob(99) WHERE seq = (SELECT min(seq) FROM records WHERE ${record(kind)})`,
      );
      for (let n = 0; n < 2; n++) {
        const { storage } = listening(path);
        const { since, clientSince, lastDelivered, journal } = await storage.loadCheckpoint(alice);
        expect([since, clientSince, lastDelivered.size, journal.length]).toEqual([undefined, undefined, 2, 20]);
        expect((await storage.loadCheckpoint(bob)).since).toBe('s1');
        await storage.close();
      }
    },
  );

  it('is survived by an application whose onCorruption throws', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    await makeFile(path);
    tamper(path, `UPDATE records SET sealed = zeroblob(99) WHERE ${record('credentials')}`);
    const logger = new MemoryLogger();
    const storage = sqliteStorage({ path, secret, logger, onCorruption });
    expect(await storage.getCredentials(alice)).toBe(undefined);
    expect(logger.entries.map(({ message }) => message)).toContain('onCorruption threw');
    await storage.close();
    writeFileSync(path, 'garbage');
    await sqliteStorage({ path, secret, logger, onCorruption }).close();
  });
});

describe.each<[string, () => number]>([
  ['throws', () => JSON.parse('no time')],
  ['is not a number', () => undefined as never],
  ['is beyond the range of dates', () => 1e300],
  ['has a fraction', () => 1_700_000_000_000.5],
])('a clock whose time %s', (_, now) => {
  const clock = Object.assign(new ManualClock(), { now });

  it('keeps no damaged record from being quarantined', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    await makeFile(path);
    tamper(path, `UPDATE records SET sealed = zeroblob(99) WHERE ${record('credentials')}`);
    await using storage = sqliteStorage({ path, secret, clock });
    expect(await storage.getCredentials(alice)).toBe(undefined);
  });

  it('keeps no damaged file from being set aside', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    writeFileSync(path, 'not a database at all '.repeat(500));
    const heard: CorruptionInfo[] = [];
    await sqliteStorage({ path, secret, clock, onCorruption: (info) => heard.push(info) }).close();
    expect(heard).toMatchObject([{ scope: 'file', path }]);
  });
});

describe('a damaged file', () => {
  it('is set aside whole, also if the process ended between the file and its log', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    const movedTo = `${path}.corrupt-20210101T000000000Z`;
    writeNote(path, 1);
    writeFileSync(movedTo, 'the file');
    writeFileSync(`${path}-wal`, 'the log');
    const { storage, heard } = listening(path);
    await storage.close();
    expect(heard).toEqual([{ scope: 'file', path, movedTo, reason: 'a lost page' }]);
    expect(readFileSync(`${movedTo}-wal`, 'utf8')).toBe('the log');
  });

  it.each([
    ['no note', undefined],
    ['an empty note', ''],
  ])('gets its log where the process ended between the two and left %s', async (_what, note) => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    writeFileSync(`${path}.corrupt-20200101T000000000Z`, 'an older one');
    writeFileSync(`${path}.corrupt-20200101T000000000Z-wal`, 'its log');
    const movedTo = `${path}.corrupt-20210101T000000000Z`;
    writeFileSync(movedTo, 'the file');
    writeFileSync(`${path}-wal`, 'the log');
    if (note !== undefined) writeFileSync(`${path}.damaged`, note);
    const { storage, heard } = listening(path);
    await storage.close();
    expect(heard).toEqual([{ scope: 'file', path, movedTo, reason: expect.any(String) }]);
    expect(readFileSync(`${movedTo}-wal`, 'utf8')).toBe('the log');
  });

  it('is reported by a later start if two processes were killed before the report, and once', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    writeFileSync(path, 'not a database at all '.repeat(500));
    for (let n = 0; n < 2; n++) {
      const child = runChild('open-damaged.ts', [path]);
      await child.end();
      expect(child.process.signalCode).toBe('SIGKILL');
      expect(existsSync(path)).toBe(false);
    }
    const { storage, heard } = listening(path);
    await storage.close();
    const movedTo = expect.stringMatching(/[.]corrupt-\d{8}T\d+Z$/) as string;
    expect(heard).toEqual([{ scope: 'file', path, movedTo, reason: expect.any(String) }]);
    const again = listening(path);
    await again.storage.close();
    expect(again.heard).toEqual([]);
  });

  it('does not keep an application from starting that ends at its third report too', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    writeFileSync(`${path}.corrupt-20210101T000000000Z`, 'the file');
    writeNote(path, 2);
    await runChild('open-damaged.ts', [path, 'exit']).end();
    expect(existsSync(path)).toBe(false);
    const { storage, heard, logger } = listening(path);
    await storage.close();
    expect(heard).toEqual([]);
    expect(logger.entries.map(({ message }) => message)).toContainEqual(expect.stringContaining('not repeated'));
    expect(existsSync(`${path}.damaged`)).toBe(false);
  });

  it('is set aside and reported also where its note can be neither written nor removed', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    mkdirSync(`${path}.damaged`);
    writeFileSync(path, 'not a database at all '.repeat(500));
    const { storage, heard, logger } = listening(path);
    await storage.close();
    expect(heard).toMatchObject([{ scope: 'file', path }]);
    expect(logger.entries.map(({ message }) => message)).toEqual(
      expect.arrayContaining([expect.stringContaining('not be written'), expect.stringContaining('not be removed')]),
    );
  });

  it.each([
    ['cut short', '{"reason":"a lo'],
    [
      'of a move that had not begun',
      JSON.stringify({ reason: 'x', movedTo: 'storage.sqlite.corrupt-20210101T000000000Z', reports: 1 }),
    ],
    ['that names another file', JSON.stringify({ reason: 'x', movedTo: '/etc/hostname', reports: 1 })],
    [
      'that names a file of another folder',
      JSON.stringify({ reason: 'x', movedTo: 'storage.sqlite.corrupt-/../../../etc/hostname', reports: 1 }),
    ],
    ['of another type', '[null]'],
  ])('is not reported because of a note %s', async (_how, note) => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    writeFileSync(`${path}.damaged`, note);
    const { storage, heard } = listening(path);
    await storage.close();
    expect(heard).toEqual([]);
    expect(existsSync(`${path}.damaged`)).toBe(false);
  });

  it.each([
    ['garbage', (path: string) => writeFileSync(path, 'not a database at all '.repeat(500))],
    ['a few bytes', (path: string) => writeFileSync(path, 'x')],
    ['cut in half', (path: string) => writeFileSync(path, readFileSync(path).subarray(0, 20_000))],
    ['a lost page', (path: string) => writeFileSync(path, readFileSync(path).fill(0, 8_192, 12_288))],
    ['a lost table', (path: string) => tamper(path, 'DROP TABLE records')],
    ['a lost keyring', (path: string) => tamper(path, 'DELETE FROM meta')],
    ['an altered keyring', (path: string) => tamper(path, `UPDATE meta SET value = zeroblob(length(value))`)],
    ['a keyring of another type', (path: string) => tamper(path, `UPDATE meta SET value = 'text'`)],
    ['a lost version', (path: string) => tamper(path, 'PRAGMA user_version = 0')],
    ['emptied beside its log', emptied],
  ])('is set aside, told, and replaced by a new one (%s)', async (_how, damage) => {
    const folder = temporaryFolder();
    const path = join(folder, 'storage.sqlite');
    await makeFile(path);
    damage(path);
    const bytes = readFileSync(path);
    const { storage, heard } = listening(path);
    const movedTo = `${path}.corrupt-20231114T221320000Z`;
    expect(heard).toEqual([{ scope: 'file', path, movedTo, reason: expect.any(String) }]);
    expect(readFileSync(movedTo).equals(bytes)).toBe(true);
    expect(await storage.getCredentials(alice)).toBe(undefined);
    await storage.commit(alice, { since: 'new' });
    await storage.close();
    const again = listening(path);
    expect((await again.storage.loadCheckpoint(alice)).since).toBe('new');
    expect(again.heard).toEqual([]);
    await again.storage.close();
    writeFileSync(path, 'garbage again');
    await listening(path).storage.close();
    expect(
      readdirSync(folder)
        .filter((name) => name.includes('.corrupt-') && !name.endsWith('-wal'))
        .toSorted(),
    ).toEqual(['storage.sqlite.corrupt-20231114T221320000Z', 'storage.sqlite.corrupt-20231114T221320000Z-2']);
  });

  it('met while running rejects the call, is told once, and is set aside at the next open', async () => {
    const path = join(temporaryFolder(), 'storage.sqlite');
    const rooms = new Map(Array.from({ length: 600 }, (_, n) => [`!${n}:x`, 'x'.repeat(10_000)]));
    const writer = sqliteStorage({ path, secret });
    await writer.commit(alice, { since: 's1', rooms });
    await writer.close();
    const { storage, heard } = listening(path);
    writeFileSync(path, readFileSync(path).fill(0xff, 4_096));
    await expect(storage.loadCheckpoint(alice)).rejects.toMatchObject({ code: 'STORAGE' });
    await expect(storage.loadCheckpoint(alice)).rejects.toMatchObject({ code: 'STORAGE' });
    expect(heard).toEqual([{ scope: 'running', path, reason: expect.stringContaining('malformed') }]);
    await storage.close();
    const again = listening(path);
    expect(again.heard.map(({ scope }) => scope)).toEqual(['file']);
    await again.storage.close();
  });

  it('never gives a wrong value nor another error than ours, whatever bytes are altered', async () => {
    const folder = temporaryFolder();
    const original = join(folder, 'original');
    await makeFile(original);
    const size = readFileSync(original).length;
    let n = 0;
    await fc.assert(
      fc.asyncProperty(alterations(size), async (alteration) => {
        const path = join(folder, `${n++}`);
        writeFileSync(path, alter(readFileSync(original), alteration));
        expect(await problemsOf(path)).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it('is what it was before some commit where the log of a killed process is altered', async () => {
    const folder = temporaryFolder();
    const original = join(folder, 'original');
    const writer = sqliteStorage({ path: original, secret });
    for (let n = 0; n < 20; n++) await writer.commit(alice, { since: `${n}`, rooms: new Map([['!a:x', `${n}`]]) });
    copyFileSync(original, join(folder, 'main'));
    copyFileSync(`${original}-wal`, join(folder, 'main-wal'));
    await writer.close();
    const log = readFileSync(join(folder, 'main-wal'));
    let n = 0;
    await fc.assert(
      fc.asyncProperty(alterations(log.length), async (alteration) => {
        const path = join(folder, `wal-${n++}`);
        copyFileSync(join(folder, 'main'), path);
        writeFileSync(`${path}-wal`, alter(Buffer.from(log), alteration));
        const { storage } = listening(path);
        const { since, rooms } = await storage.loadCheckpoint(alice);
        expect(rooms.get('!a:x')).toBe(since);
        await storage.close();
      }),
      { numRuns: 60 },
    );
  });
});

type Alteration =
  | { readonly kind: 'flip'; readonly at: readonly number[] }
  | { readonly kind: 'cut'; readonly length: number }
  | { readonly kind: 'zero'; readonly from: number; readonly length: number }
  | { readonly kind: 'copy'; readonly from: number; readonly to: number };

function alterations(size: number): fc.Arbitrary<Alteration> {
  const at = fc.nat(size - 1);
  const page = fc.nat(Math.floor(size / 4_096) - 1).map((n) => n * 4_096);
  return fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constant('flip' as const), at: fc.array(at, { minLength: 1, maxLength: 8 }) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), length: at.map((n) => n + 1) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('zero' as const), from: at, length: fc.nat(5_000) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('copy' as const), from: page, to: page }) },
  );
}

function alter(bytes: Buffer, alteration: Alteration): Buffer {
  if (alteration.kind === 'cut') return bytes.subarray(0, alteration.length);
  if (alteration.kind === 'zero')
    return bytes.fill(0, alteration.from, Math.min(bytes.length, alteration.from + alteration.length));
  if (alteration.kind === 'copy') bytes.copy(bytes, alteration.to, alteration.from, alteration.from + 4_096);
  else for (const [i, at] of alteration.at.entries()) bytes[at] = (bytes[at] ?? 0) ^ (1 << ((i * 3) % 8));
  return bytes;
}

/** Opens an altered file and reads everything: what is wrong, or missing without having been told. */
async function problemsOf(path: string): Promise<string[]> {
  const heard: CorruptionInfo[] = [];
  const problems: string[] = [];
  try {
    await using storage = sqliteStorage({ path, secret, onCorruption: (info) => heard.push(info) });
    for (const userId of [alice, bob]) {
      const credentials = await storage.getCredentials(userId);
      if (credentials && credentials.accessToken !== `token of ${userId}`) problems.push('a wrong token');
      const checkpoint = await storage.loadCheckpoint(userId);
      problems.push(...wrongIn(checkpoint));
      const letters = await storage.listDeadLetters(userId);
      const sends = [...(await storage.listSends({ userId })), ...(await storage.listSends({ userId, state: 'sent' }))];
      const complete =
        credentials && isComplete(checkpoint) && letters.length === 1 && sends.length === 2 && heard.length === 0;
      if (!complete && heard.length === 0) problems.push(`something of ${userId} is missing and nobody was told`);
    }
    await storage.commit(alice, { since: 'after' });
  } catch (error) {
    // Damage in the few bytes of the header that say whose file it is, or one that SQLite meets later.
    if (!isManagerError(error, 'STORAGE', 'INVALID_OPTIONS')) problems.push(`not one of ours: ${String(error)}`);
  }
  return problems;
}

function wrongIn({ since, accountData, rooms, lastDelivered, journal }: StoredCheckpoint): string[] {
  const wrong: string[] = [];
  if (since !== undefined && since !== 's1') wrong.push('a wrong position');
  if (since !== undefined && (rooms.size !== 3 || accountData === undefined))
    wrong.push('a position without its rooms');
  if (accountData !== undefined && accountData !== 'account data') wrong.push('wrong account data');
  for (const [roomId, state] of rooms) if (state !== `state of ${roomId} `.repeat(200)) wrong.push('a wrong room');
  for (const [roomId, { eventId }] of lastDelivered) if (eventId !== `$in${roomId}`) wrong.push('a wrong event');
  if (journal.some(({ eventId }) => !/^\$1?\d$/.test(eventId))) wrong.push('a wrong journal');
  return wrong;
}

function isComplete({ since, accountData, rooms, lastDelivered, journal }: StoredCheckpoint): boolean {
  const values = since !== undefined && accountData !== undefined;
  return values && rooms.size === 3 && lastDelivered.size === 2 && journal.length === 20;
}

function onCorruption(): void {
  throw new Error('from the application');
}

function emptied(path: string): void {
  writeFileSync(`${path}-wal`, 'a log');
  writeFileSync(path, '');
}
