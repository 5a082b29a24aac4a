import { describe, expect, it } from 'vitest';
import { RecentIds } from '../../src/core/recent-ids.js';

describe('RecentIds', () => {
  it('keeps each id once', () => {
    const ids = new RecentIds(10);
    for (const id of ['a', 'a', 'b']) ids.add(id);
    expect([...ids]).toEqual(['a', 'b']);
    expect([ids.has('a'), ids.has('b'), ids.has('c')]).toEqual([true, true, false]);
  });

  it('forgets the oldest beyond its limit', () => {
    const ids = new RecentIds(3);
    for (const id of ['a', 'b', 'c', 'd']) ids.add(id);
    expect(['a', 'b', 'c', 'd'].map((id) => ids.has(id))).toEqual([false, true, true, true]);
  });

  it('forgets nothing for a repetition', () => {
    const ids = new RecentIds(2);
    for (const id of ['a', 'b', 'b', 'b']) ids.add(id);
    expect(ids.has('a')).toBe(true);
  });
});
