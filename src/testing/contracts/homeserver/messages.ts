import { path } from './raw-http.js';
import { bodies } from './timelines.js';
import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';

const count = 12;
const all = Array.from({ length: count }, (_, i) => `m${i}`);

async function filledRoom(alice: TestUser): Promise<{ roomId: string; eventIds: string[] }> {
  const roomId = await alice.createRoom();
  const eventIds: string[] = [];
  for (const text of all) eventIds.push(await alice.say(roomId, text));
  return { roomId, eventIds };
}

export function messages({ describe, it, expect, world }: Suite): void {
  describe('/messages', () => {
    it('pages back from the newest event to the first with any limit, each event once', async () => {
      const alice = await (await world()).newUser();
      const { roomId } = await filledRoom(alice);
      for (const limit of [1, 3, 100]) {
        const events = await alice.pageBack(roomId, limit);
        expect(bodies(events.toReversed()), `limit ${limit}`).toEqual(all);
        expect(new Set(events.map((event) => event.event_id)).size).toBe(events.length);
        expect(events.at(-1)?.type).toBe('m.room.create');
      }
    });

    it('pages forward from the first event to the newest, with no `end` after it', async () => {
      const alice = await (await world()).newUser();
      const { roomId } = await filledRoom(alice);
      const texts: unknown[] = [];
      let from: string | undefined;
      do {
        const page = await alice.messages(roomId, { dir: 'f', limit: 4, ...(from === undefined ? {} : { from }) });
        texts.push(...bodies(page.chunk));
        from = page.end;
      } while (from !== undefined);
      expect(texts).toEqual(all);
    });

    it('has an `end` while events are left, and no `end` on the empty page at the start of the room', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const first = await alice.messages(roomId, { limit: 2 });
      expect(first.chunk).toHaveLength(2);
      expect(typeof first.end).toBe('string');
      const rest = await alice.messages(roomId, { limit: 100, from: first.end ?? '' });
      expect(rest.chunk.at(-1)?.type).toBe('m.room.create');
      if (rest.end === undefined) return;
      const beyond = await alice.messages(roomId, { limit: 100, from: rest.end });
      expect(beyond.chunk).toEqual([]);
      expect(beyond.end).toBeUndefined();
    });

    it('returns the same page for the same `from`, even after new events', async () => {
      const alice = await (await world()).newUser();
      const { roomId } = await filledRoom(alice);
      const { end } = await alice.messages(roomId, { limit: 3 });
      const before = await alice.messages(roomId, { limit: 3, from: end ?? '' });
      await alice.say(roomId, 'new');
      const after = await alice.messages(roomId, { limit: 3, from: end ?? '' });
      expect(bodies(before.chunk)).toEqual(['m8', 'm7', 'm6']);
      expect(bodies(after.chunk)).toEqual(['m8', 'm7', 'm6']);
      expect(after.start).toBe(end);
    });

    it('from a next_batch of sync, backwards, starts with the newest event of that sync', async () => {
      const alice = await (await world()).newUser();
      const { roomId } = await filledRoom(alice);
      const { next_batch: from } = await alice.sync();
      await alice.say(roomId, 'later');
      expect(bodies((await alice.messages(roomId, { from, limit: 3 })).chunk)).toEqual(['m11', 'm10', 'm9']);
      const forwards = await alice.messages(roomId, { from, dir: 'f', limit: 3 });
      expect(bodies(forwards.chunk)).toEqual(['later']);
    });

    it('ends a page at `to`', async () => {
      const alice = await (await world()).newUser();
      const { roomId } = await filledRoom(alice);
      const { next_batch: to } = await alice.sync();
      await alice.say(roomId, 'a');
      await alice.say(roomId, 'b');
      expect(bodies((await alice.messages(roomId, { to, limit: 10 })).chunk)).toEqual(['b', 'a']);
    });

    it('returns events with their room_id', async () => {
      const alice = await (await world()).newUser();
      const { roomId, eventIds } = await filledRoom(alice);
      const { chunk } = await alice.messages(roomId, { limit: 1 });
      expect(chunk[0]).toMatchObject({ event_id: eventIds.at(-1), room_id: roomId, sender: alice.userId });
    });

    it('can filter, as sync does', async () => {
      const alice = await (await world()).newUser();
      const { roomId } = await filledRoom(alice);
      const filter = JSON.stringify({ types: ['m.room.create'] });
      const url = path`/_matrix/client/v3/rooms/${roomId}/messages`;
      const { body } = await alice.http.get<{ chunk: { type: string }[] }>(url, { dir: 'b', limit: 50, filter });
      expect(body.chunk.map((event) => event.type)).toEqual(['m.room.create']);
    });

    it('is 403 M_FORBIDDEN for a user outside the room, and for a room that does not exist', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const roomId = await alice.createRoom();
      for (const id of [roomId, `!nowhere:${w.target.serverName}`]) {
        const answer = await bob.http.get(path`/_matrix/client/v3/rooms/${id}/messages`, { dir: 'b' });
        expect(answer).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } });
      }
    });

    it('returns the events up to their leave to a user who left', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      await alice.say(roomId, 'before');
      await bob.leave(roomId);
      await alice.say(roomId, 'after');
      expect(bodies((await bob.messages(roomId)).chunk)).toEqual(['before']);
    });

    it('refuses an invalid `from` and a negative limit: 400', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const url = path`/_matrix/client/v3/rooms/${roomId}/messages`;
      for (const query of [{ from: 'nonsense' }, { limit: -1 }, { limit: 'many' }]) {
        expect((await alice.http.get(url, { dir: 'b', ...query })).status).toBe(400);
      }
    });
  });

  describe('/context', () => {
    interface Context {
      event: { event_id: string };
      events_before: never[];
      events_after: never[];
      start: string;
      end: string;
      state: { type: string }[];
    }

    for (const limit of [0, 1]) {
      it(`with limit ${limit}: \`start\` is right before the event, so that paging back returns the events before it`, async () => {
        const alice = await (await world()).newUser();
        const { roomId, eventIds } = await filledRoom(alice);
        const url = path`/_matrix/client/v3/rooms/${roomId}/context/${eventIds[5] ?? ''}`;
        const context = await alice.http.get<Context>(url, { limit });
        expect(context.status).toBe(200);
        expect(context.body.event.event_id).toBe(eventIds[5]);
        expect(context.body.events_before).toEqual([]);
        expect(context.body.state.map((event) => event.type)).toContain('m.room.create');
        const before = await alice.messages(roomId, { from: context.body.start, limit: 2 });
        expect(bodies(before.chunk)).toEqual(['m4', 'm3']);
      });
    }

    it('with limit 0: `end` is right after the event, backwards and forwards', async () => {
      const alice = await (await world()).newUser();
      const { roomId, eventIds } = await filledRoom(alice);
      const url = path`/_matrix/client/v3/rooms/${roomId}/context/${eventIds[5] ?? ''}`;
      const { body } = await alice.http.get<Context>(url, { limit: 0 });
      expect(bodies((await alice.messages(roomId, { from: body.end, limit: 2 })).chunk)).toEqual(['m5', 'm4']);
      const forwards = await alice.messages(roomId, { from: body.end, dir: 'f', limit: 2 });
      expect(bodies(forwards.chunk)).toEqual(['m6', 'm7']);
    });

    it('is 404 M_NOT_FOUND for an unknown event, 403 M_FORBIDDEN for a user outside the room', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const { roomId, eventIds } = await filledRoom(alice);
      const unknown = await alice.http.get(path`/_matrix/client/v3/rooms/${roomId}/context/${'$unknown'}`);
      expect(unknown).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
      const url = path`/_matrix/client/v3/rooms/${roomId}/context/${eventIds[0] ?? ''}`;
      expect(await bob.http.get(url)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } });
    });
  });
}
