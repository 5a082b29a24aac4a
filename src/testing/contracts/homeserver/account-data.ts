import { path } from './raw-http.js';
import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';

const dataUrl = (user: TestUser, type: string): string =>
  path`/_matrix/client/v3/user/${user.userId}/account_data/${type}`;

const ignore = (user: TestUser, ...others: TestUser[]) =>
  user.http.put(dataUrl(user, 'm.ignored_user_list'), {
    ignored_users: Object.fromEntries(others.map(({ userId }) => [userId, {}])),
  });

const idsOf = (events: readonly { readonly event_id: string }[] = []): string[] =>
  events.map((event) => event.event_id);

export function accountData({ describe, it, expect, world }: Suite): void {
  describe('account data', () => {
    it('is kept per type, with fractions; 404 M_NOT_FOUND before it is set', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const url = dataUrl(alice, 'org.example.settings');
      expect(await alice.http.get(url)).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
      expect((await alice.http.put(url, { order: 0.5, dark: true })).status).toBe(200);
      expect(await alice.http.get(url)).toMatchObject({ status: 200, body: { order: 0.5, dark: true } });
      expect((await bob.http.get(url)).status).toBe(403);
      expect((await bob.http.put(url, {})).status).toBe(403);
    });

    it('of a room is kept per room; the tags are a part of it', async () => {
      const [alice] = await (await world()).newUsers();
      const roomId = await alice.createRoom();
      const room = path`/_matrix/client/v3/user/${alice.userId}/rooms/${roomId}`;
      expect((await alice.http.get(`${room}/account_data/org.example`)).status).toBe(404);
      expect((await alice.http.put(`${room}/account_data/org.example`, { muted: true })).status).toBe(200);
      expect((await alice.http.get(`${room}/account_data/org.example`)).body).toEqual({ muted: true });
      expect((await alice.http.get(`${room}/tags`)).body).toEqual({ tags: {} });
      expect((await alice.http.put(`${room}/tags/m.favourite`, { order: 0.25 })).status).toBe(200);
      expect((await alice.http.put(`${room}/tags/u.work`, {})).status).toBe(200);
      expect((await alice.http.get(`${room}/tags`)).body).toEqual({
        tags: { 'm.favourite': { order: 0.25 }, 'u.work': {} },
      });
      expect((await alice.http.delete(`${room}/tags/u.work`)).status).toBe(200);
      expect((await alice.http.delete(`${room}/tags/u.work`)).status).toBe(200);
      expect((await alice.http.get(`${room}/tags`)).body).toEqual({ tags: { 'm.favourite': { order: 0.25 } } });
    });
  });

  describe('ignored users', () => {
    it('their messages, old and new, are in no sync, page or context; their state events are', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const early = await bob.say(roomId, 'early');
      const { next_batch: since } = await alice.sync();
      expect((await ignore(alice, bob)).status).toBe(200);
      const late = await bob.say(roomId, 'late');
      const own = await alice.say(roomId, 'own');
      const synced = await alice.sync({ since });
      expect(idsOf(synced.rooms?.join?.[roomId]?.timeline.events)).toEqual([own]);
      const list = synced.account_data?.events.find(({ type }) => type === 'm.ignored_user_list');
      expect(list?.content).toEqual({ ignored_users: { [bob.userId]: {} } });
      const page = await alice.messages(roomId, { dir: 'b' });
      expect(idsOf(page.chunk)).toContain(own);
      for (const id of [early, late]) {
        expect(idsOf(page.chunk)).not.toContain(id);
        expect((await alice.http.get(path`/_matrix/client/v3/rooms/${roomId}/event/${id}`)).status).toBe(404);
      }
      expect(page.chunk.some(({ sender, state_key: key }) => sender === bob.userId && key === bob.userId)).toBe(true);
      expect((await ignore(alice)).status).toBe(200);
      const again = idsOf((await alice.messages(roomId, { dir: 'b' })).chunk);
      for (const id of [early, late]) expect(again).toContain(id);
    });

    it('their invites are in no sync', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const { next_batch: since } = await alice.sync();
      await ignore(alice, bob);
      const roomId = await bob.createRoom();
      expect((await bob.invite(roomId, alice.userId)).status).toBe(200);
      await alice.createRoom(); // the sync has something to tell
      const synced = await alice.sync({ since, timeout: 10_000 });
      expect(synced.rooms?.invite?.[roomId]).toBe(undefined);
    });
  });

  describe('presence', () => {
    it('can be set and read by those who share a room', async () => {
      const [alice, bob] = await (await world()).newUsers();
      await alice.createRoom([bob]);
      const url = path`/_matrix/client/v3/presence/${alice.userId}/status`;
      expect((await alice.http.put(url, { presence: 'unavailable', status_msg: 'Lunch' })).status).toBe(200);
      const read = await bob.http.get(url);
      expect(read.status).toBe(200);
      // Where presence is off, everybody is offline.
      expect(['unavailable', 'offline']).toContain(read.body['presence']);
    });

    it('is refused for another user: 403', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const url = path`/_matrix/client/v3/presence/${alice.userId}/status`;
      expect((await bob.http.put(url, { presence: 'online' })).status).toBe(403);
    });
  });
}
