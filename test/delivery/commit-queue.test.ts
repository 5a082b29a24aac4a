import { expect, it } from 'vitest';
import { CommitQueue } from '../../src/delivery/commit-queue.js';
import { testContext } from '../support/context.js';

it('stores no change after one that was given up', async () => {
  const stopping = new AbortController();
  const stored: unknown[] = [];
  const failing = Promise.withResolvers<void>();
  let attempts = 0;
  const queue = new CommitQueue(testContext(), {
    userId: '@bob:x',
    commit: async (change) => {
      if (attempts++ === 0) await failing.promise;
      stored.push(change);
    },
    takeChange: () => undefined,
    signal: stopping.signal,
  });
  queue.add({ since: 's1' });
  queue.add({ since: 's2' });
  stopping.abort();
  failing.reject(new Error('disk full'));
  await queue.settled;
  expect([stored, attempts, queue.hasEnded]).toEqual([[], 1, true]);
});
