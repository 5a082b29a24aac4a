import { describe, expect, it } from 'vitest';
import type { RoomBatch } from '../../src/core/ports/event-source.js';
import { RoomTimelines } from '../../src/messages/room-timelines.js';

const roomId = '!room:hs.test';

function batch(eventIds: readonly string[], more: Partial<RoomBatch> = {}): RoomBatch {
  const timeline = eventIds.map((id) => {
    return { event_id: id, type: 'm.room.message', sender: '@alice:hs.test', origin_server_ts: 1, content: {} };
  });
  return {
    roomId,
    membership: 'join',
    provenance: 'live',
    timeline,
    limited: false,
    prevBatch: 't1',
    ephemeral: [],
    ...more,
  };
}

describe('the timelines of a user', () => {
  it('are kept per room, up to their limit', () => {
    const timelines = new RoomTimelines(2);
    timelines.append(batch(['$a']));
    timelines.append(batch(['$b'], { roomId: '!other:hs.test' }));
    timelines.append(batch(['$c']));
    expect([...(timelines.get(roomId) ?? [])].map((event) => event.event_id).toSorted()).toEqual(['$a', '$c']);
    timelines.append(batch(['$d']));
    expect(timelines.get(roomId)?.size).toBe(2);
    expect(timelines.get('!other:hs.test')?.size).toBe(1);
    expect(timelines.get('!unknown:hs.test')).toBeUndefined();
  });

  it('are forgotten when the user leaves the room', () => {
    const timelines = new RoomTimelines(10);
    timelines.append(batch(['$a']));
    timelines.append(batch(['$b'], { membership: 'leave' }));
    expect(timelines.get(roomId)).toBeUndefined();
  });

  it('are not enough for a page while the own last message is missing in them', () => {
    const timelines = new RoomTimelines(10);
    timelines.append(batch(['$a']));
    expect(timelines.getIfComplete(roomId)?.has('$a')).toBe(true);
    timelines.noteSent(roomId, '$own');
    expect(timelines.getIfComplete(roomId)).toBeUndefined();
    timelines.append(batch(['$b']));
    expect(timelines.getIfComplete(roomId)).toBeUndefined();
    timelines.append(batch(['$own']));
    expect(timelines.getIfComplete(roomId)?.has('$own')).toBe(true);
    timelines.append(batch(['$c']));
    expect(timelines.getIfComplete(roomId)).toBeDefined();
  });

  it('do not wait for an own message that has come before the answer to its request', () => {
    const timelines = new RoomTimelines(10);
    timelines.append(batch(['$own']));
    timelines.noteSent(roomId, '$own');
    expect(timelines.getIfComplete(roomId)?.has('$own')).toBe(true);
    timelines.noteSent('!unknown:hs.test', '$first');
    expect(timelines.getIfComplete('!unknown:hs.test')).toBeUndefined();
  });
});
