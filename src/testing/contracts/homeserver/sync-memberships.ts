import { path } from './raw-http.js';
import type { Suite } from './test-api.js';
import { bodies, timelineLimit } from './timelines.js';

export function syncMemberships({ describe, it, expect, world }: Suite): void {
  describe('memberships in sync', () => {
    it('an invite stands in the invite section, with who invites to what', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([], { name: 'Kitchen' });
      const { next_batch: since } = await bob.sync();
      const poll = bob.sync({ since, timeout: 10_000 });
      await alice.invite(roomId, bob.userId);
      const { rooms } = await poll;
      expect(rooms?.join?.[roomId]).toBeUndefined();
      const events = rooms?.invite?.[roomId]?.invite_state.events ?? [];
      const invite = events.find((event) => event.state_key === bob.userId);
      expect(invite).toMatchObject({ type: 'm.room.member', sender: alice.userId, content: { membership: 'invite' } });
      const name = events.find((event) => event.type === 'm.room.name');
      expect(name?.content).toEqual({ name: 'Kitchen' });
    });

    it('an open invite stands in every initial sync, and no longer in later incremental ones', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom();
      await alice.invite(roomId, bob.userId);
      const first = await bob.sync();
      expect(first.rooms?.invite?.[roomId]).toBeDefined();
      expect((await bob.sync({ since: first.next_batch })).rooms?.invite).toBeUndefined();
    });

    it('a direct chat says so in the invite', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([], { is_direct: true, invite: [bob.userId] });
      const events = (await bob.sync()).rooms?.invite?.[roomId]?.invite_state.events ?? [];
      const invite = events.find((event) => event.state_key === bob.userId);
      expect(invite?.content).toMatchObject({ membership: 'invite', is_direct: true });
    });

    it('a room joined since the last sync comes with its state and its newest events', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([], { name: 'Kitchen' });
      for (const text of ['one', 'two', 'three']) await alice.say(roomId, text);
      await alice.invite(roomId, bob.userId);
      const { next_batch: since } = await bob.sync();
      await bob.join(roomId);
      const { rooms } = await bob.sync({ since, filter: timelineLimit(2) });
      expect(rooms?.invite?.[roomId]).toBeUndefined();
      const room = rooms?.join?.[roomId];
      expect(room?.timeline.limited).toBe(true);
      expect(room?.timeline.events.at(-1)).toMatchObject({
        type: 'm.room.member',
        state_key: bob.userId,
        content: { membership: 'join' },
      });
      expect(room?.state?.events.map((event) => event.type)).toContain('m.room.name');
    });

    it('a member who joins sees the history, and others see the join', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom();
      await alice.say(roomId, 'before bob');
      const { next_batch: since } = await alice.sync();
      await alice.invite(roomId, bob.userId);
      await bob.join(roomId);
      expect(bodies((await bob.messages(roomId, { limit: 20 })).chunk)).toEqual(['before bob']);
      const { timeline } = await alice.syncRoom(roomId, { since });
      expect(timeline.events.map((event) => event.content['membership'])).toEqual(['invite', 'join']);
      expect(timeline.events[1]?.unsigned).toMatchObject({ prev_content: { membership: 'invite' } });
    });

    it('a room that was left stands in the leave section once, up to the leave', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const { next_batch: since } = await bob.sync();
      await alice.say(roomId, 'for bob');
      await bob.leave(roomId);
      await alice.say(roomId, 'not for bob');
      const { rooms, next_batch } = await bob.sync({ since });
      expect(rooms?.join?.[roomId]).toBeUndefined();
      const left = rooms?.leave?.[roomId]?.timeline.events ?? [];
      expect(bodies(left)).toEqual(['for bob']);
      expect(left.at(-1)).toMatchObject({ state_key: bob.userId, content: { membership: 'leave' } });
      expect((await bob.sync({ since: next_batch })).rooms?.leave).toBeUndefined();
      expect((await (await bob.logInAgain()).sync()).rooms?.leave).toBeUndefined();
    });

    it('a kick stands in the leave section, with who kicked', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const { next_batch: since } = await bob.sync();
      const poll = bob.sync({ since, timeout: 10_000 });
      await alice.http.post(path`/_matrix/client/v3/rooms/${roomId}/kick`, { user_id: bob.userId });
      const left = (await poll).rooms?.leave?.[roomId]?.timeline.events ?? [];
      expect(left.at(-1)).toMatchObject({
        sender: alice.userId,
        state_key: bob.userId,
        content: { membership: 'leave' },
      });
    });

    it('a declined invite stands in the leave section', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom();
      await alice.invite(roomId, bob.userId);
      const { next_batch: since } = await bob.sync();
      await bob.leave(roomId);
      const { rooms } = await bob.sync({ since });
      expect(rooms?.leave?.[roomId]).toBeDefined();
      expect(rooms?.join?.[roomId]).toBeUndefined();
    });

    it('a room joined again after leaving has in its timeline what came between', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      await bob.leave(roomId);
      const { next_batch: since } = await bob.sync();
      await alice.say(roomId, 'meanwhile');
      await alice.invite(roomId, bob.userId);
      await bob.join(roomId);
      const { timeline } = await bob.syncRoom(roomId, { since, filter: timelineLimit(20) });
      expect(bodies(timeline.events)).toEqual(['meanwhile']);
    });
  });
}
