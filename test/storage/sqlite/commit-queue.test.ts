import type { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { CommitQueue } from '../../../src/storage/sqlite/commit-queue.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';

const quick = { userId: '@a:x', durability: 'process' } as const;
const patient = { ...quick, durability: 'process-later' } as const;
const safe = { ...quick, durability: 'power' } as const;

/** A queue on a database that only writes down what it is told. */
function recording({
  flushIntervalMs = 0,
  failing = [] as string[],
  sync = undefined as (() => Promise<void>) | undefined,
} = {}) {
  const log: string[] = [];
  const clock = new ManualClock();
  const exec = (sql: string): void => {
    log.push(sql);
    if (failing.includes(sql)) {
      failing.splice(failing.indexOf(sql), 1);
      throw new Error(`${sql} failed`);
    }
  };
  const queue = new CommitQueue({
    database: { exec } as DatabaseSync,
    clock,
    flushIntervalMs,
    sync,
    toError: (error) => error as Error,
    onBegin: () => log.push('begin'),
    onCommitted: () => log.push('committed'),
  });
  const task = (name: string) => () => {
    log.push(name);
    if (failing.includes(name)) throw new Error(`${name} failed`);
    return name;
  };
  return { queue, log, clock, task };
}

describe('CommitQueue', () => {
  it('runs what was called in one turn in one transaction, and settles it after the commit', async () => {
    const { queue, log, task } = recording();
    const all = Promise.all([
      queue.add({ ...quick, run: task('1') }).then(() => log.push('1 settled')),
      queue.add({ ...quick, run: task('2') }).then(() => log.push('2 settled')),
    ]);
    expect(log).toEqual([]);
    await all;
    const commit = ['PRAGMA synchronous = NORMAL', 'begin', 'BEGIN IMMEDIATE', '1', '2', 'COMMIT', 'committed'];
    expect(log).toEqual([...commit, '1 settled', '2 settled']);
  });

  it('waits for the disk where one task of the transaction has to', async () => {
    const { queue, log, task } = recording();
    await Promise.all([queue.add({ ...quick, run: task('1') }), queue.add({ ...safe, run: task('2') })]);
    await queue.add({ ...safe, run: task('3') });
    await queue.add({ ...quick, run: task('4') });
    expect(log.filter((sql) => sql.startsWith('PRAGMA'))).toEqual([
      'PRAGMA synchronous = FULL',
      'PRAGMA synchronous = NORMAL',
    ]);
  });

  it('settles what has to be on disk after a sync that begins after the commit', async () => {
    const syncs: PromiseWithResolvers<void>[] = [];
    const sync = (): Promise<void> => {
      const begun = Promise.withResolvers<void>();
      syncs.push(begun);
      log.push('sync');
      return begun.promise;
    };
    const { queue, log, task } = recording({ sync });
    const add = async (name: string, kind: typeof quick | typeof safe): Promise<unknown> =>
      queue.add({ ...kind, run: task(name) }).then(
        () => log.push(`${name} settled`),
        (error: Error) => log.push(`${name}: ${error.message}`),
      );
    const safely = [add('1', safe), add('2', safe)];
    await add('3', quick);
    expect(log.slice(-5)).toEqual(['COMMIT', 'committed', 'sync', 'sync', '3 settled']);
    syncs[0]?.resolve();
    syncs[1]?.reject(new Error('the disk is broken'));
    await Promise.all(safely);
    expect(log.slice(-2)).toEqual(['1 settled', '2: the disk is broken']);
    const draining = queue.drain().then(() => log.push('drained'));
    syncs[2]?.reject(new Error('the disk is broken'));
    await draining;
    expect(log.filter((entry) => entry.startsWith('PRAGMA'))).toEqual(['PRAGMA synchronous = NORMAL']);
  });

  it('lets patient tasks wait for the interval, and no longer', async () => {
    const { queue, log, clock, task } = recording({ flushIntervalMs: 50 });
    const first = queue.add({ ...patient, run: task('1') });
    await clock.advance(30);
    const second = queue.add({ ...patient, run: task('2') });
    await clock.advance(19);
    expect(log).toEqual([]);
    await clock.advance(1);
    await Promise.all([first, second]);
    expect(log.filter((sql) => sql === 'BEGIN IMMEDIATE').length).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it('takes patient tasks along with the next one that does not wait, in order', async () => {
    const { queue, log, clock, task } = recording({ flushIntervalMs: 50 });
    const first = queue.add({ ...patient, run: task('1') });
    await queue.add({ ...quick, run: task('2') });
    await first;
    expect(log.filter((entry) => /^[12B]/.test(entry))).toEqual(['BEGIN IMMEDIATE', '1', '2']);
    expect(clock.pendingTimers).toBe(0);
  });

  it('fails a bad task alone, and what the same user queued behind it', async () => {
    const { queue, log, task } = recording({ failing: ['bad'] });
    const results = await Promise.allSettled([
      queue.add({ ...quick, run: task('before') }),
      queue.add({ ...quick, userId: '@b:x', run: task('bad') }),
      queue.add({ ...quick, run: task('other user') }),
      queue.add({ ...quick, userId: '@b:x', run: task('behind') }),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected']);
    const attempts = log
      .filter((entry) => ['BEGIN IMMEDIATE', 'COMMIT', 'ROLLBACK', 'behind'].includes(entry))
      .join(' ');
    expect(attempts).toBe(
      'BEGIN ROLLBACK BEGIN COMMIT BEGIN ROLLBACK BEGIN COMMIT'.replaceAll('BEGIN', 'BEGIN IMMEDIATE'),
    );
  });

  it.each(['BEGIN IMMEDIATE', 'COMMIT', 'PRAGMA synchronous = NORMAL'])('goes on after a failed %s', async (sql) => {
    const { queue, task } = recording({ failing: [sql] });
    await expect(queue.add({ ...quick, run: task('1') })).rejects.toThrow(`${sql} failed`);
    await expect(queue.add({ ...quick, run: task('2') })).resolves.toBe('2');
  });

  it('goes on where SQLite has rolled back by itself', async () => {
    const { queue, task } = recording({ failing: ['COMMIT', 'ROLLBACK'] });
    await expect(queue.add({ ...quick, run: task('1') })).rejects.toThrow('COMMIT failed');
    await expect(queue.add({ ...quick, run: task('2') })).resolves.toBe('2');
  });

  it('gives the event loop a turn between long transactions', async () => {
    const { queue, log, task } = recording();
    const tasks = Array.from({ length: 450 }, (_, n) => queue.add({ ...quick, run: task(`${n}`) }));
    setImmediate(() => log.push('a turn'));
    await Promise.all(tasks);
    expect(log.filter((entry) => ['BEGIN IMMEDIATE', 'a turn'].includes(entry))).toEqual([
      'BEGIN IMMEDIATE',
      'a turn',
      'BEGIN IMMEDIATE',
      'BEGIN IMMEDIATE',
    ]);
  });

  it('drains at once, and leaves no timer', async () => {
    const { queue, log, clock, task } = recording({ flushIntervalMs: 50 });
    const tasks = Array.from({ length: 250 }, (_, n) => queue.add({ ...patient, run: task(`${n}`) }));
    await queue.drain();
    expect(log.filter((entry) => entry === 'COMMIT').length).toBe(2);
    expect(clock.pendingTimers).toBe(0);
    await Promise.all(tasks);
  });
});
