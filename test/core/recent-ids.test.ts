import { describe, expect, it } from 'vitest';
import { RecentIds } from '../../src/core/recent-ids.js';

describe('RecentIds', () => {
  it('tells new ids from repeated ones', () => {
    const ids = new RecentIds(10);
    expect([ids.add('a'), ids.add('a'), ids.add('b')]).toEqual([true, false, true]);
    expect([ids.has('a'), ids.has('b'), ids.has('c')]).toEqual([true, true, false]);
  });

  it('forgets the oldest beyond its limit', () => {
    const ids = new RecentIds(3);
    for (const id of ['a', 'b', 'c', 'd']) ids.add(id);
    expect(['a', 'b', 'c', 'd'].map((id) => ids.has(id))).toEqual([false, true, true, true]);
    expect(ids.add('a')).toBe(true);
  });

  it('forgets nothing for a repetition', () => {
    const ids = new RecentIds(2);
    for (const id of ['a', 'b', 'b', 'b']) ids.add(id);
    expect(ids.has('a')).toBe(true);
  });
});
