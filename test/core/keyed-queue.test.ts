import { describe, expect, it } from 'vitest';
import { KeyedQueue } from '../../src/core/keyed-queue.js';

/** A task that records when it begins and ends, and ends when told. */
function task(log: string[], name: string) {
  const gate = Promise.withResolvers<void>();
  const run = async (): Promise<string> => {
    log.push(`${name} begins`);
    await gate.promise;
    log.push(`${name} ends`);
    return name;
  };
  return { run, end: gate.resolve };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('KeyedQueue', () => {
  it('runs what has one key in order, one at a time, and keys beside each other', async () => {
    const queue = new KeyedQueue();
    const log: string[] = [];
    const [one, two, other] = [task(log, 'one'), task(log, 'two'), task(log, 'other')];
    const results = [queue.run('a', one.run), queue.run('a', two.run), queue.run('b', other.run)];
    await turn();
    expect(log).toEqual(['one begins', 'other begins']);
    for (const { end } of [two, one, other]) end();
    expect(await Promise.all(results)).toEqual(['one', 'two', 'other']);
    expect(log.filter((line) => !line.startsWith('other'))).toEqual([
      'one begins',
      'one ends',
      'two begins',
      'two ends',
    ]);
  });

  it('goes on after a task that rejects, and after one that throws before its first await', async () => {
    const queue = new KeyedQueue();
    const rejecting = queue.run('a', () => Promise.reject(new Error('rejected')));
    const throwing = queue.run('a', () => {
      throw new Error('thrown');
    });
    const fine = queue.run('a', async () => 'fine');
    await expect(rejecting).rejects.toThrow('rejected');
    await expect(throwing).rejects.toThrow('thrown');
    await expect(fine).resolves.toBe('fine');
  });

  it('rejects and does not throw when the first task throws before its first await', async () => {
    const queue = new KeyedQueue();
    const throwing = queue.run('a', () => {
      throw new Error('thrown');
    });
    await expect(throwing).rejects.toThrow('thrown');
  });

  it('runs what a task queues under its own key after that task', async () => {
    const queue = new KeyedQueue();
    const log: string[] = [];
    let inner: Promise<void> | undefined;
    const outer = queue.run('a', async () => {
      inner = queue.run('a', async () => void log.push('inner'));
      log.push('outer begins');
      await turn();
      log.push('outer ends');
    });
    await outer;
    await inner;
    expect(log).toEqual(['outer begins', 'outer ends', 'inner']);
  });

  it('forgets a key when nothing of it runs any more', async () => {
    const queue = new KeyedQueue();
    const { run, end } = task([], 'x');
    const running = queue.run('a', run);
    expect(queue.size).toBe(1);
    end();
    await running;
    await queue.settled();
    expect(queue.size).toBe(0);
  });

  it('settles when all that was queued has run, whatever became of it', async () => {
    const queue = new KeyedQueue();
    const log: string[] = [];
    queue.run('a', () => Promise.reject(new Error('no'))).catch(() => log.push('failed'));
    const slow = task(log, 'slow');
    void queue.run('b', slow.run);
    const settled = queue.settled().then(() => log.push('settled'));
    await turn();
    expect(log).toEqual(['slow begins', 'failed']);
    slow.end();
    await settled;
    expect(log).toEqual(['slow begins', 'failed', 'slow ends', 'settled']);
  });

  it('ends a wait at once when its signal fires, and does not run what had not begun', async () => {
    const queue = new KeyedQueue();
    const log: string[] = [];
    const { signal, abort } = controlled();
    const first = task(log, 'first');
    const running = queue.run('a', first.run);
    const waiting = queue.run('a', task(log, 'second').run, signal, 'sending');
    const third = task(log, 'third');
    const last = queue.run('a', third.run);
    await turn();
    abort();
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED', message: 'sending was aborted' });
    expect(log).toEqual(['first begins']);
    first.end();
    third.end();
    await Promise.all([running, last]);
    expect(log).toEqual(['first begins', 'first ends', 'third begins', 'third ends']);
  });

  it('lets the next one begin only when one whose signal fired has really ended', async () => {
    const queue = new KeyedQueue();
    const log: string[] = [];
    const { signal, abort } = controlled();
    const first = task(log, 'first');
    const left = queue.run('a', first.run, signal);
    const second = task(log, 'second');
    const next = queue.run('a', second.run);
    await turn();
    abort();
    await expect(left).rejects.toMatchObject({ code: 'ABORTED' });
    await turn();
    expect(log).toEqual(['first begins']);
    first.end();
    second.end();
    await next;
    await queue.settled();
    expect(queue.size).toBe(0);
  });
});

function controlled(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}
