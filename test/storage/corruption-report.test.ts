import { expect, it } from 'vitest';
import { reportCorruption } from '../../src/storage/sqlite/report-corruption.js';
import { MemoryLogger } from '../../src/testing/memory-logger.js';

it.each<[string, () => unknown]>([
  [
    'throws',
    () => {
      throw new Error('no');
    },
  ],
  ['rejects', () => Promise.reject(new Error('no'))],
])('an onCorruption that %s is logged, and ends nothing', async (_, onCorruption) => {
  const logger = new MemoryLogger();
  const info = { path: 'x.sqlite' } as Parameters<typeof reportCorruption>[1];
  reportCorruption({ logger, onCorruption }, info);
  await new Promise((resolve) => setImmediate(resolve));
  expect(logger.entries).toContainEqual(expect.objectContaining({ message: 'onCorruption threw' }));
});

it.each<[string, () => unknown]>([
  ['hangs', () => new Promise(() => {})],
  ['returns junk', () => 7],
])('an onCorruption that %s is not waited for', (_, onCorruption) => {
  const logger = new MemoryLogger();
  const info = { path: 'x.sqlite' } as Parameters<typeof reportCorruption>[1];
  reportCorruption({ logger, onCorruption }, info);
  expect(logger.entries.filter(({ message }) => message === 'onCorruption threw')).toEqual([]);
});
