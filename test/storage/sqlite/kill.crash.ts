import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sqliteStorage } from '../../../src/storage/sqlite-storage.js';
import type { CorruptionInfo } from '../../../src/storage/sqlite-storage-options.js';
import { runChild } from '../children/run-child.js';
import { temporaryFolder } from '../temporary-folder.js';

const secret = new Uint8Array(32).fill(7);
/** Kills per file; a longer run sets the variable. */
const rounds = Number(process.env['STORAGE_KILL_ROUNDS'] ?? 8);
const timeoutMs = 20_000 + rounds * 2_000;
const users = ['@a:x', '@b:x', '@c:x'];

/** What children have acknowledged on one file. */
interface Acknowledged {
  /** The highest number per kind of change and user. */
  readonly highest: Map<string, number>;
  readonly enqueued: Set<string>;
  readonly completed: Set<string>;
}

describe('a killed process', () => {
  it(
    'loses nothing that was acknowledged, and leaves nothing half done',
    async () => {
      const folder = temporaryFolder();
      const problems = await Promise.all(['one', 'two'].map((name) => killAgainAndAgain(join(folder, name))));
      expect(problems.flat()).toEqual([]);
    },
    timeoutMs,
  );

  it(
    'leaves a file that opens, also when killed while making it',
    async () => {
      const folder = temporaryFolder();
      for (let round = 0; round < Math.max(2, rounds / 4); round++) {
        const child = runChild('./create.ts', [folder]);
        await child.printed(1 + Math.floor(Math.random() * 30));
        const lines = await child.kill();
        const names = lines.filter((line) => !line.endsWith('done'));
        expect((await Promise.all(names.map((name) => lookAt(join(folder, name))))).flat()).toEqual([]);
        const done = lines
          .filter((line) => line.endsWith('done'))
          .map((line) => join(folder, line.replace(' done', '')));
        expect(await Promise.all(done.map((path) => sinceIn(path)))).toEqual(done.map(() => 's1'));
      }
    },
    timeoutMs,
  );
});

async function killAgainAndAgain(path: string): Promise<string[]> {
  const acknowledged: Acknowledged = { highest: new Map(), enqueued: new Set(), completed: new Set() };
  for (let round = 0; round < rounds; round++) {
    const child = runChild('./commit.ts', [path, `${Math.max(0, ...acknowledged.highest.values()) + 1}`]);
    await child.printed(1 + Math.floor(Math.random() * 400));
    for (const line of await child.kill()) {
      const [kind = '', userId = '', n = ''] = line.split(' ');
      acknowledged.highest.set(`${kind} ${userId}`, Number(n));
      if (kind === 'enqueue') acknowledged.enqueued.add(`${userId} ${n}`);
      if (kind === 'complete') acknowledged.completed.add(`${userId} ${n}`);
    }
    const problems = await lookAt(path, acknowledged);
    if (problems.length > 0) return problems;
  }
  return [];
}

async function sinceIn(path: string): Promise<string | undefined> {
  await using storage = sqliteStorage({ path, secret });
  return (await storage.loadCheckpoint('@a:x')).since;
}

/** What is damaged, half done, or missing of what was acknowledged. */
async function lookAt(path: string, acknowledged?: Acknowledged): Promise<string[]> {
  const damage: CorruptionInfo[] = [];
  await using storage = sqliteStorage({ path, secret, onCorruption: (info) => damage.push(info) });
  const problems: string[] = [];
  const require = (holds: boolean, problem: string): void => {
    if (!holds) problems.push(problem);
  };
  if (acknowledged) {
    const { highest, enqueued, completed } = acknowledged;
    const atLeast = (what: string, found: number): void => {
      require(found >= (highest.get(what) ?? 0), `${what}: found ${found}, acknowledged ${highest.get(what)}`);
    };
    for (const userId of users) {
      const { since, accountData, rooms, lastDelivered, journal } = await storage.loadCheckpoint(userId);
      const n = Number(since ?? 0);
      const roomId = `!${n % 5}:x`;
      const text = `${n} ${'x'.repeat(n % 3_000)}`;
      const whole =
        accountData === text &&
        rooms.get(roomId) === text &&
        lastDelivered.get(roomId)?.eventId === `$${n}` &&
        JSON.stringify(journal) === JSON.stringify([{ roomId, eventId: `$${n}` }]);
      require(n === 0 || whole, `commit ${n} of ${userId} is half done`);
      atLeast(`commit ${userId}`, n);
      atLeast(`credentials ${userId}`, Number((await storage.getCredentials(userId))?.accessToken ?? 0));
      const letters = await storage.listDeadLetters(userId, { limit: 1_000 });
      atLeast(`letter ${userId}`, Number(letters.at(-1)?.id.slice(1) ?? 0));
      const queued = new Set((await storage.listSends({ userId })).map(({ txnId }) => `${userId} ${txnId}`));
      const sent = (await storage.listSends({ userId, state: 'sent' })).map(({ txnId }) => `${userId} ${txnId}`);
      const oldestSent = Number(sent[0]?.split(' ')[1] ?? Infinity);
      for (const key of [...enqueued].filter((key) => key.startsWith(userId))) {
        const txn = Number(key.split(' ')[1]);
        // What may have been completed is a multiple of three; of those sent the oldest are forgotten.
        const kept = queued.has(key) || sent.includes(key) || (txn % 3 === 0 && txn < oldestSent);
        require(kept, `send ${key} is missing`);
        require(!completed.has(key) || !queued.has(key), `send ${key} is queued again after it was completed`);
      }
    }
  }
  return [...problems, ...damage.map((info) => JSON.stringify(info))];
}
