import { path } from './raw-http.js';
import type { Suite } from './test-api.js';
import { bodies, timelineLimit } from './timelines.js';

let filters = 0;

/** A filter that lets no event through, and differs from all others: a homeserver may cache responses. */
function noEvents(): object {
  const none = { types: [] };
  const room = { timeline: { limit: 1, ...none }, state: none, ephemeral: none, account_data: none };
  return { room, account_data: none, presence: { not_senders: [`@n${++filters}:nonce.invalid`] } };
}

export function sync({ describe, it, expect, world }: Suite): void {
  describe('initial sync', () => {
    it('has each joined room, with its newest events in order and the state before them', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom([], { name: 'Kitchen' });
      for (const text of ['one', 'two', 'three']) await alice.say(roomId, text);
      const room = await alice.syncRoom(roomId, { filter: timelineLimit(2) });
      expect(bodies(room.timeline.events)).toEqual(['two', 'three']);
      expect(room.timeline.limited).toBe(true);
      expect(typeof room.timeline.prev_batch).toBe('string');
      const state = room.state?.events.map((event) => event.type) ?? [];
      for (const type of ['m.room.create', 'm.room.member', 'm.room.name', 'm.room.power_levels']) {
        expect(state).toContain(type);
      }
    });

    it('is not limited, and its timeline starts with the room, where the whole room fits in', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      await alice.say(roomId, 'one');
      const { timeline, state } = await alice.syncRoom(roomId, { filter: timelineLimit(50) });
      expect(timeline.limited).toBe(false);
      expect(timeline.events[0]?.type).toBe('m.room.create');
      expect(state?.events).toEqual([]);
    });

    it('of a user without rooms has a next_batch only', async () => {
      const alice = await (await world()).newUser();
      const first = await alice.sync();
      expect(typeof first.next_batch).toBe('string');
      expect(first.rooms?.join).toBeUndefined();
    });

    it('gives events of a timeline without a room_id, with age and sender', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const eventId = await alice.say(roomId, 'one');
      const { timeline } = await alice.syncRoom(roomId);
      const event = timeline.events.at(-1);
      expect(event).toMatchObject({
        type: 'm.room.message',
        event_id: eventId,
        sender: alice.userId,
        content: { msgtype: 'm.text', body: 'one' },
      });
      expect(event?.room_id).toBeUndefined();
      expect(typeof event?.origin_server_ts).toBe('number');
      expect(typeof event?.unsigned?.['age']).toBe('number');
    });
  });

  describe('incremental sync', () => {
    it('has what came after `since`, in the order it came, and nothing of it again', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const { next_batch: since } = await bob.sync();
      await alice.say(roomId, 'one');
      await bob.say(roomId, 'two');
      await alice.say(roomId, 'three');
      const update = await bob.syncRoom(roomId, { since });
      expect(bodies(update.timeline.events)).toEqual(['one', 'two', 'three']);
      expect(update.timeline.limited).toBe(false);
      expect(update.state?.events).toEqual([]);
      const later = await bob.sync({ since: update.next_batch });
      expect(later.rooms?.join?.[roomId]?.timeline.events ?? []).toEqual([]);
      const repeated = await bob.syncRoom(roomId, { since });
      expect(bodies(repeated.timeline.events)).toEqual(['one', 'two', 'three']);
    });

    it('answers a long poll as soon as there is an event', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const { next_batch: since } = await bob.sync();
      const started = performance.now();
      const poll = bob.syncRoom(roomId, { since, timeout: 20_000 });
      await alice.say(roomId, 'wake up');
      expect(bodies((await poll).timeline.events)).toEqual(['wake up']);
      expect(performance.now() - started).toBeLessThan(10_000);
    });

    it('responds to a long poll without events after its timeout, with a next_batch', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const { next_batch: since } = await bob.sync();
      const started = performance.now();
      const nothing = await bob.sync({ since, timeout: 200 });
      expect(performance.now() - started).toBeGreaterThan(150);
      expect(nothing.rooms?.join).toBeUndefined();
      await alice.say(roomId, 'later');
      const update = await bob.syncRoom(roomId, { since: nothing.next_batch });
      expect(bodies(update.timeline.events)).toEqual(['later']);
    });

    it('is not woken by rooms of others', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom();
      const { next_batch: since } = await bob.sync();
      const poll = bob.sync({ since, timeout: 300 });
      await alice.say(roomId, 'not for bob');
      expect((await poll).rooms?.join).toBeUndefined();
    });

    it('refuses a `since` that is no token: 400', async () => {
      const alice = await (await world()).newUser();
      const answer = await alice.http.get('/_matrix/client/v3/sync', { since: 'nonsense' });
      expect(answer).toMatchObject({ status: 400, body: { errcode: 'M_UNKNOWN' } });
    });

    it('gives all the state again with full_state', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom([], { name: 'Kitchen' });
      const { next_batch: since } = await alice.sync();
      const room = await alice.syncRoom(roomId, { since, fullState: true });
      const types = room.state?.events.map((event) => event.type) ?? [];
      for (const type of ['m.room.create', 'm.room.name']) expect(types).toContain(type);
    });

    it('counts what a member has not read', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const { next_batch: since } = await bob.sync();
      const eventId = await alice.say(roomId, 'one');
      const unread = await bob.syncRoom(roomId, { since });
      expect(unread.unread_notifications).toMatchObject({ notification_count: 1 });
      await bob.sendReceipt(roomId, eventId);
      const read = await bob.syncRoom(roomId, { since: unread.next_batch });
      expect(read.unread_notifications).toMatchObject({ notification_count: 0 });
    });

    it('counts mentions and threads, leaves out redacted events, and does not take an own message for a receipt', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const root = await alice.say(roomId, 'root');
      const relation = { rel_type: 'm.thread', event_id: root };
      await alice.send(roomId, { msgtype: 'm.text', body: 'in a thread', 'm.relates_to': relation });
      const mention = { msgtype: 'm.text', body: 'you', 'm.mentions': { user_ids: [bob.userId] } };
      const { event_id: mentioned } = (await alice.send(roomId, mention)).body;
      await bob.say(roomId, 'my own');
      const counts = async () =>
        (await bob.syncRoom(roomId, { fullState: true, filter: noEvents() })).unread_notifications;
      expect(await counts()).toMatchObject({ notification_count: 3, highlight_count: 1 });
      await alice.redact(roomId, mentioned);
      expect(await counts()).toMatchObject({ notification_count: 2, highlight_count: 0 });
    });

    it('tells the counts of all rooms with full_state, also if the filter lets no event through', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const [read, unread] = [await alice.createRoom([bob]), await alice.createRoom([bob])];
      await alice.say(unread, 'one');
      const { rooms } = await bob.sync({ fullState: true, filter: noEvents() });
      const of = (roomId: string) => rooms?.join?.[roomId]?.unread_notifications?.['notification_count'];
      expect([of(read), of(unread)]).toEqual([0, 1]);
    });
  });

  describe('sync filters', () => {
    it('can be stored, and then used by their id', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      for (const text of ['one', 'two', 'three']) await alice.say(roomId, text);
      const url = path`/_matrix/client/v3/user/${alice.userId}/filter`;
      const stored = await alice.http.post<{ filter_id: string }>(url, timelineLimit(1));
      expect(stored.status).toBe(200);
      const filter = stored.body.filter_id;
      expect((await alice.http.get(`${url}${path`/${filter}`}`)).body).toEqual(timelineLimit(1));
      const room = await alice.syncRoom(roomId, { filter });
      expect(bodies(room.timeline.events)).toEqual(['three']);
    });

    it('that are unknown or broken are refused: 400 M_INVALID_PARAM, 400 M_NOT_JSON', async () => {
      const alice = await (await world()).newUser();
      const unknown = await alice.http.get('/_matrix/client/v3/sync', { filter: '987654' });
      expect(unknown).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } });
      const broken = await alice.http.get('/_matrix/client/v3/sync', { filter: '{"room": ' });
      expect(broken).toMatchObject({ status: 400, body: { errcode: 'M_NOT_JSON' } });
    });

    it('can leave the members out who have not spoken', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob], { name: 'Kitchen' }); // without a name, its heroes would be included
      await alice.say(roomId, 'one');
      const members = async (lazy: boolean): Promise<string[]> => {
        const filter = { room: { timeline: { limit: 1 }, state: { lazy_load_members: lazy } } };
        const { state } = await alice.syncRoom(roomId, { filter });
        const found = state?.events.filter((event) => event.type === 'm.room.member') ?? [];
        return found.map((event) => event.state_key ?? '').toSorted();
      };
      expect(await members(false)).toEqual([alice.userId, bob.userId].toSorted());
      expect(await members(true)).toEqual([alice.userId]);
    });
  });
}
