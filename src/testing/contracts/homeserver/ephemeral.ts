import type { EphemeralEvent, JoinedRoom } from './responses.js';
import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';

const ephemeral = (room: JoinedRoom | undefined, type: string): EphemeralEvent | undefined =>
  room?.ephemeral?.events.find((event) => event.type === type);

/** Syncs until the room has an ephemeral event of the type. Returns its content and the next position. */
async function firstSignal(
  user: TestUser,
  roomId: string,
  since: string,
  type: string,
): Promise<{ content: EphemeralEvent['content']; since: string }> {
  for (let position = since; ;) {
    const response = await user.sync({ since: position, timeout: 10_000 });
    position = response.next_batch;
    const found = ephemeral(response.rooms?.join?.[roomId], type);
    if (found) return { content: found.content, since: position };
  }
}

export function ephemeralEvents({ describe, it, expect, world }: Suite): void {
  describe('typing', () => {
    it('reaches syncing members at start and stop, as the list of all typing users', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const { next_batch } = await alice.sync();
      expect((await bob.setTyping(roomId, true, 60_000)).status).toBe(200);
      const started = await firstSignal(alice, roomId, next_batch, 'm.typing');
      expect(started.content).toEqual({ user_ids: [bob.userId] });
      await alice.setTyping(roomId, true, 60_000);
      const both = await firstSignal(alice, roomId, started.since, 'm.typing');
      expect((both.content['user_ids'] as string[]).toSorted()).toEqual([alice.userId, bob.userId].toSorted());
      await alice.setTyping(roomId, false);
      await bob.setTyping(roomId, false);
      const stopped = await firstSignal(alice, roomId, both.since, 'm.typing');
      const last = (stopped.content['user_ids'] as string[]).includes(bob.userId)
        ? await firstSignal(alice, roomId, stopped.since, 'm.typing')
        : stopped;
      expect(last.content).toEqual({ user_ids: [] });
    });

    it('wakes a long poll, and is not in the timeline', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const { next_batch: since } = await alice.sync();
      const poll = alice.sync({ since, timeout: 10_000 });
      await bob.setTyping(roomId, true, 60_000);
      const room = (await poll).rooms?.join?.[roomId];
      expect(ephemeral(room, 'm.typing')).toBeDefined();
      expect(room?.timeline.events).toEqual([]);
    });

    it('is refused for a user outside the room, and for another user: 403', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom();
      const refused = { status: 403, body: { errcode: 'M_FORBIDDEN' } };
      expect(await bob.setTyping(roomId, true, 1_000)).toMatchObject(refused);
      const url = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/typing/${encodeURIComponent(alice.userId)}`;
      expect((await bob.http.put(url, { typing: true, timeout: 1_000 })).status).toBe(400);
    });
  });

  describe('receipts', () => {
    it('m.read reaches all syncing members, its sender included, with a timestamp', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const eventId = await alice.say(roomId, 'read this');
      const positions = [await alice.sync(), await bob.sync()].map((answer) => answer.next_batch);
      expect((await bob.sendReceipt(roomId, eventId)).status).toBe(200);
      for (const [i, user] of [alice, bob].entries()) {
        const { content } = await firstSignal(user, roomId, positions[i] ?? '', 'm.receipt');
        expect(content).toMatchObject({ [eventId]: { 'm.read': { [bob.userId]: {} } } });
        const receipt = content as Record<string, Record<string, Record<string, { ts: number }>>>;
        expect(receipt[eventId]?.['m.read']?.[bob.userId]?.ts).toBeGreaterThan(0);
      }
    });

    it('m.read.private reaches its sender alone', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const eventId = await alice.say(roomId, 'read this');
      const { next_batch: since } = await alice.sync();
      const { next_batch: sinceOfBob } = await bob.sync();
      expect((await bob.sendReceipt(roomId, eventId, 'm.read.private')).status).toBe(200);
      const own = await firstSignal(bob, roomId, sinceOfBob, 'm.receipt');
      expect(own.content).toMatchObject({ [eventId]: { 'm.read.private': { [bob.userId]: {} } } });
      const response = await alice.sync({ since });
      expect(ephemeral(response.rooms?.join?.[roomId], 'm.receipt')).toBeUndefined();
    });

    it('are in initial syncs, private ones only for their sender', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const eventId = await alice.say(roomId, 'read this');
      await bob.sendReceipt(roomId, eventId, 'm.read.private');
      await alice.sendReceipt(roomId, eventId);
      const forAlice = ephemeral(await alice.syncRoom(roomId), 'm.receipt')?.content;
      expect(forAlice).toMatchObject({ [eventId]: { 'm.read': { [alice.userId]: {} } } });
      expect(JSON.stringify(forAlice)).not.toMatch(/m\.read\.private/);
      const forBob = ephemeral(await bob.syncRoom(roomId), 'm.receipt')?.content;
      expect(forBob).toMatchObject({
        [eventId]: { 'm.read': { [alice.userId]: {} }, 'm.read.private': { [bob.userId]: {} } },
      });
    });

    it('of an unknown kind are refused: 400', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const eventId = await alice.say(roomId, 'read this');
      expect((await alice.sendReceipt(roomId, eventId, 'm.unheard_of')).status).toBe(400);
    });
  });
}
