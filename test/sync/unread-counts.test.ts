import { describe, expect, it } from 'vitest';
import type { EventBatch, RoomBatch } from '../../src/core/ports/event-source.js';
import { UnreadCounts } from '../../src/sync/unread-counts.js';

const count = (unread: number, highlights = 0) => ({ unread, highlights });

function room(roomId: string, unread?: number, membership: 'join' | 'leave' = 'join'): RoomBatch {
  const nothing = { timeline: [], limited: false, prevBatch: undefined, ephemeral: [] };
  return {
    roomId,
    membership,
    provenance: 'live',
    ...nothing,
    ...(unread !== undefined && { unread: count(unread) }),
  };
}

function batch(scope: EventBatch['scope'], ...rooms: RoomBatch[]): EventBatch {
  return { position: 'p', scope, rooms, invites: [] };
}

/** The ids of the rooms whose count the batch has changed. */
const changed = (counts: UnreadCounts, ...rooms: RoomBatch[]): string[] =>
  counts.takeChanges(batch('changes', ...rooms)).rooms.flatMap(({ roomId, unread }) => (unread ? [roomId] : []));

describe('UnreadCounts', () => {
  it('tells a change once', () => {
    const counts = new UnreadCounts(new Map([['!a', count(2)]]));
    expect(changed(counts, room('!a', 2), room('!b', 0), room('!c'))).toEqual([]);
    expect(changed(counts, room('!a', 3), room('!b', 1))).toEqual(['!a', '!b']);
    expect(changed(counts, room('!a', 3), room('!b', 0))).toEqual(['!b']);
    expect([...counts.entries()]).toEqual([['!a', count(3)]]);
  });

  it('forgets a room that the user has left', () => {
    const counts = new UnreadCounts(new Map([['!a', count(2)]]));
    changed(counts, room('!a', undefined, 'leave'));
    expect(counts.get('!a')).toEqual(count(0));
  });

  it('tells that a left room has nothing unread any more, if it had', () => {
    const counts = new UnreadCounts(new Map([['!a', count(2)]]));
    const leaves = ['!a', '!b'].map((roomId) => room(roomId, undefined, 'leave'));
    expect(counts.takeChanges(batch('changes', ...leaves)).rooms.map(({ unread }) => unread)).toEqual([
      count(0),
      undefined,
    ]);
  });

  it('does not get the count of a left room back from older counts', () => {
    const counts = new UnreadCounts();
    changed(counts, room('!a', undefined, 'leave'));
    counts.complete(new Map([['!a', count(3)]]));
    expect([...counts.entries()]).toEqual([]);
  });

  it('drops what a batch of all rooms lacks, and tells so with the leave', () => {
    const counts = new UnreadCounts(new Map([['!a', count(3)]]));
    counts.takeChanges(batch('all-rooms', room('!b', 1)));
    expect([...counts.entries()]).toEqual([['!b', count(1)]]);
    expect([...counts.dropped]).toEqual(['!a']);
    expect(changed(counts, room('!a', undefined, 'leave'))).toEqual(['!a']);
    expect([...counts.dropped]).toEqual([]);
  });

  it('is complete after a batch with the counts of all rooms only', () => {
    const sliding = new UnreadCounts();
    sliding.takeChanges(batch('all-rooms', room('!a'), room('!b')));
    expect(sliding.isComplete).toBe(false);
    const plain = new UnreadCounts();
    plain.takeChanges(batch('all-rooms', room('!a', 0), room('!b', 1)));
    expect(plain.isComplete).toBe(true);
  });

  it('is completed by older counts without changing a reported one', () => {
    const counts = new UnreadCounts();
    expect(changed(counts, room('!a', 0))).toEqual(['!a']);
    expect(changed(counts, room('!a', 0))).toEqual([]);
    counts.complete(
      new Map([
        ['!a', count(1)],
        ['!b', count(2, 1)],
      ]),
    );
    expect(counts.isComplete).toBe(true);
    expect([...counts.entries()]).toEqual([['!b', count(2, 1)]]);
  });

  it('counts a room that was read as read until its next report, which is then a change', () => {
    const counts = new UnreadCounts(new Map([['!a', count(2)]]));
    counts.noteRead('!a');
    expect([counts.get('!a'), [...counts.entries()]]).toEqual([count(0), []]);
    expect(changed(counts, room('!a', 0))).toEqual(['!a']);
    expect(changed(counts, room('!a', 1))).toEqual(['!a']);
    expect(counts.get('!a')).toEqual(count(1));
  });
});
