import { describe, expect, it } from 'vitest';
import { RoomTimeline } from '../../src/messages/room-timeline.js';
import { event, room } from '../delivery/harness.js';

/** Event ids of a timeline, oldest first. */
const ids = (timeline: RoomTimeline): string[] => Array.from(timeline, ({ event_id }) => event_id.slice(1));

function timelineOf(limit: number, ...syncs: readonly Parameters<typeof room>[]): RoomTimeline {
  const timeline = new RoomTimeline(limit);
  for (const sync of syncs) timeline.append(room(...sync));
  return timeline;
}

const at = (name: string, origin_server_ts: number) => event(name, { origin_server_ts });

describe('the timeline of a room', () => {
  it('is empty at first', () => {
    const timeline = new RoomTimeline(10);
    timeline.append(room([], { prevBatch: 'p' }));
    expect([timeline.size, [...timeline].at(-1), timeline.oldest, timeline.prevBatch]).toEqual([
      0,
      undefined,
      undefined,
      undefined,
    ]);
    expect(timeline.isOrdered).toBe(true);
  });

  it('has the events of every sync, and the token before the first of them', () => {
    const timeline = timelineOf(10, [['a', 'b'], { prevBatch: 'p1' }], [['c'], { prevBatch: 'p2' }]);
    expect(ids(timeline)).toEqual(['a', 'b', 'c']);
    expect([timeline.size, timeline.oldest?.event_id, [...timeline].at(-1)?.event_id]).toEqual([3, '$a', '$c']);
    expect(timeline.prevBatch).toBe('p1');
    expect([timeline.has('$b'), timeline.has('$x')]).toEqual([true, false]);
  });

  it('lets whole syncs go beyond its limit, the oldest first, and never the newest', () => {
    const timeline = timelineOf(3, [['a', 'b'], { prevBatch: 'p1' }], [['c'], { prevBatch: 'p2' }]);
    expect(timeline.size).toBe(3);
    timeline.append(room(['d'], { prevBatch: 'p3' }));
    expect([ids(timeline), timeline.prevBatch, timeline.has('$a')]).toEqual([['c', 'd'], 'p2', false]);
    timeline.append(room(['e', 'f', 'g', 'h'], { prevBatch: 'p4' }));
    expect([ids(timeline), timeline.size]).toEqual([['e', 'f', 'g', 'h'], 4]);
  });

  it('takes an event once; without the first of a sync no token is known', () => {
    const timeline = timelineOf(3, [['a', 'b'], { prevBatch: 'p1' }], [['b', 'c'], { prevBatch: 'p2' }]);
    expect(ids(timeline)).toEqual(['a', 'b', 'c']);
    timeline.append(room(['c'], { prevBatch: 'p3' }));
    expect([ids(timeline), timeline.prevBatch]).toEqual([['a', 'b', 'c'], 'p1']);
    timeline.append(room(['d'], { prevBatch: 'p4' }));
    expect([ids(timeline), timeline.prevBatch]).toEqual([['c', 'd'], undefined]);
  });

  it('begins anew behind a hole, and goes on where a limited sync overlaps', () => {
    const timeline = timelineOf(10, [['a', 'b']], [['b', 'c'], { limited: true }]);
    expect(ids(timeline)).toEqual(['a', 'b', 'c']);
    timeline.append(room(['f', 'g'], { limited: true, prevBatch: 'p3' }));
    expect([ids(timeline), timeline.size, timeline.prevBatch]).toEqual([['f', 'g'], 2, 'p3']);
    expect(timeline.has('$a')).toBe(false);
  });

  it('is not in the order of history while it has an event that was overtaken', () => {
    const timeline = timelineOf(2, [[at('a', 5), at('b', 5)]]);
    expect(timeline.isOrdered).toBe(true);
    timeline.append(room([at('late', 4)]));
    expect(timeline.isOrdered).toBe(false);
    timeline.append(room([at('d', 4)])); // it is behind the latest as well, though not behind the event before
    timeline.append(room([at('e', 6), at('f', 7)]));
    expect([ids(timeline), timeline.isOrdered]).toEqual([['e', 'f'], true]);
    timeline.append(room([at('g', 1)]));
    timeline.append(room([at('h', 2)], { limited: true }));
    expect([ids(timeline), timeline.isOrdered]).toEqual([['h'], true]);
  });

  it('knows which of two events comes first, where it has both', () => {
    const timeline = timelineOf(10, [['a', 'b']], [['c']]);
    expect(timeline.isNotAfter('$a', '$c')).toBe(true);
    expect(timeline.isNotAfter('$b', '$b')).toBe(true);
    expect(timeline.isNotAfter('$c', '$a')).toBe(false);
    expect(timeline.isNotAfter('$x', '$a')).toBeUndefined();
    expect(timeline.isNotAfter('$a', '$x')).toBeUndefined();
  });
});
