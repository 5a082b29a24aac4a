import type { Suite } from './test-api.js';
import { bodies, timelineLimit } from './timelines.js';

const texts = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i}`);

export function syncGaps({ describe, it, expect, world }: Suite): void {
  describe('limited timelines', () => {
    it('are marked, and have the newest events and a prev_batch from which /messages returns the rest', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const { next_batch: since } = await bob.sync();
      for (const text of texts(10)) await alice.say(roomId, text);
      const { timeline } = await bob.syncRoom(roomId, { since, filter: timelineLimit(3) });
      expect(timeline.limited).toBe(true);
      expect(bodies(timeline.events)).toEqual(['m7', 'm8', 'm9']);
      for (const limit of [1, 3, 100]) {
        const gap = await bob.pageBack(roomId, limit, { from: timeline.prev_batch, to: since });
        expect(bodies(gap.toReversed()), `limit ${limit}`).toEqual(texts(7));
        expect(gap, `limit ${limit}`).toHaveLength(7);
      }
    });

    it('are not limited when the number of events equals the limit', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const { next_batch: since } = await bob.sync();
      for (const text of texts(3)) await alice.say(roomId, text);
      const { timeline } = await bob.syncRoom(roomId, { since, filter: timelineLimit(3) });
      expect(timeline.limited).toBe(false);
      expect(bodies(timeline.events)).toEqual(texts(3));
    });

    it('that are not limited have a prev_batch too, right before their first event', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      await alice.say(roomId, 'before');
      const { next_batch: since } = await bob.sync();
      for (const text of texts(3)) await alice.say(roomId, text);
      const { timeline } = await bob.syncRoom(roomId, { since });
      expect(timeline.limited).toBe(false);
      const { chunk } = await bob.messages(roomId, { from: timeline.prev_batch ?? '', limit: 1 });
      expect(bodies(chunk)).toEqual(['before']);
    });

    it('come with the state that changed in the gap', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob], { name: 'Old' });
      const { next_batch: since } = await bob.sync();
      await alice.setState(roomId, 'm.room.name', { name: 'New' });
      for (const text of texts(3)) await alice.say(roomId, text);
      const { state } = await bob.syncRoom(roomId, { since, filter: timelineLimit(2) });
      expect(state?.events.map(({ type, content }) => ({ type, content }))).toEqual([
        { type: 'm.room.name', content: { name: 'New' } },
      ]);
    });

    it('of an initial sync have a prev_batch from which paging reaches the start of the room', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      for (const text of texts(5)) await alice.say(roomId, text);
      const { timeline } = await alice.syncRoom(roomId, { filter: timelineLimit(2) });
      const before = await alice.pageBack(roomId, 3, { from: timeline.prev_batch });
      expect(bodies(before.toReversed())).toEqual(texts(3));
      expect(before.at(-1)?.type).toBe('m.room.create');
    });
  });

  describe('complete initial timelines', () => {
    it('have a prev_batch after their last event, which is of no use', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      for (const text of texts(3)) await alice.say(roomId, text);
      const { timeline } = await alice.syncRoom(roomId, { filter: timelineLimit(50) });
      expect(timeline.limited).toBe(false);
      const { chunk } = await alice.messages(roomId, { from: timeline.prev_batch ?? '', limit: 3 });
      expect(bodies(chunk)).toEqual(['m2', 'm1', 'm0']);
    });
  });

  describe('state after the timeline (MSC4222)', () => {
    it('is returned on request if it is enabled; otherwise the response has `state`', async () => {
      const w = await world();
      const alice = await w.newUser();
      const roomId = await alice.createRoom([], { name: 'Kitchen' });
      await alice.say(roomId, 'one');
      const room = await alice.syncRoom(roomId, { useStateAfter: true, filter: timelineLimit(1) });
      const on = w.target.stateAfter === true;
      expect(room.state === undefined).toBe(on);
      expect(room['org.matrix.msc4222.state_after'] !== undefined).toBe(on);
    });

    it('has state events of the timeline too, if it is enabled', async () => {
      const w = await world();
      if (w.target.stateAfter !== true) return;
      const alice = await w.newUser();
      const roomId = await alice.createRoom();
      const { next_batch: since } = await alice.sync();
      await alice.setState(roomId, 'm.room.name', { name: 'Kitchen' });
      const room = await alice.syncRoom(roomId, { since, useStateAfter: true });
      const after = room['org.matrix.msc4222.state_after']?.events ?? [];
      expect(after.map((event) => event.type)).toEqual(['m.room.name']);
      expect(room.timeline.events.map((event) => event.type)).toEqual(['m.room.name']);
    });
  });
}
