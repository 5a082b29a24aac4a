import { path, RawHttp } from './raw-http.js';
import type { Suite } from './test-api.js';
import { TestUser } from './test-user.js';

const hello = { msgtype: 'm.text', body: 'hello' };

export function sending({ describe, it, expect, world }: Suite): void {
  describe('sending', () => {
    it('gives an event id, and the event as it was sent', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const content = { msgtype: 'm.text', body: 'ünïcödé 🎉', 'org.example.extra': { n: 1, list: [true, null] } };
      const sent = await alice.send(roomId, content);
      expect(sent.status).toBe(200);
      expect(sent.body.event_id).toMatch(/^\$/);
      const event = await alice.http.get(path`/_matrix/client/v3/rooms/${roomId}/event/${sent.body.event_id}`);
      expect(event).toMatchObject({
        status: 200,
        body: { type: 'm.room.message', sender: alice.userId, room_id: roomId, content },
      });
      expect(event.body['content']).toEqual(content);
    });

    it('takes a repeat of a txnId on the same device for the same event', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const first = await alice.send(roomId, hello, { txnId: 'once' });
      const repeat = await alice.send(roomId, hello, { txnId: 'once' });
      expect(repeat).toMatchObject({ status: 200, body: first.body });
      const [x, y] = await Promise.all([1, 2].map(() => alice.send(roomId, hello, { txnId: 'at once' })));
      expect(x?.body).toEqual(y?.body);
      const { chunk } = await alice.messages(roomId, { limit: 20 });
      expect(chunk.filter((event) => event.type === 'm.room.message')).toHaveLength(2);
    });

    it('takes the same txnId on another device, or in another room, for another event', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const first = await alice.send(roomId, hello, { txnId: 'once' });
      const otherDevice = await (await alice.logInAgain()).send(roomId, hello, { txnId: 'once' });
      const otherRoom = await alice.send(await alice.createRoom(), hello, { txnId: 'once' });
      expect(new Set([first, otherDevice, otherRoom].map(({ body }) => body.event_id)).size).toBe(3);
    });

    it('knows a txnId again after a new login on the same device', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const first = await alice.send(roomId, hello, { txnId: 'once' });
      const again = await alice.logInAgain(alice.deviceId);
      expect((await again.send(roomId, hello, { txnId: 'once' })).body).toEqual(first.body);
    });

    it('refuses floats, and what is not an object: 400 M_BAD_JSON', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const refused = { status: 400, body: { errcode: 'M_BAD_JSON' } };
      expect(await alice.send(roomId, { ...hello, n: 1.5 })).toMatchObject(refused);
      expect(await alice.send(roomId, { ...hello, n: 2 ** 53 })).toMatchObject(refused);
      const url = path`/_matrix/client/v3/rooms/${roomId}/send/m.room.message/list`;
      expect(await alice.http.put(url, ['a'])).toMatchObject(refused);
    });

    it('refuses an event over 64 KiB: 413 M_TOO_LARGE', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const answer = await alice.send(roomId, { ...hello, body: 'x'.repeat(65_536) });
      expect(answer).toMatchObject({ status: 413, body: { errcode: 'M_TOO_LARGE' } });
    });

    it('refuses who is not in the room, whether invited, gone, or never there: 403 M_FORBIDDEN', async () => {
      const w = await world();
      const [alice, invited, gone, stranger] = await w.newUsers<[TestUser, TestUser, TestUser, TestUser]>(4);
      const roomId = await alice.createRoom([gone]);
      await alice.invite(roomId, invited.userId);
      await gone.leave(roomId);
      for (const user of [invited, gone, stranger]) {
        expect(await user.send(roomId, hello)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } });
      }
      const nowhere = await alice.send(`!nowhere:${w.target.serverName}`, hello);
      expect(nowhere).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } });
    });

    it('refuses who lacks the power: 403 M_FORBIDDEN', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob], { power_level_content_override: { events_default: 50 } });
      expect(await bob.send(roomId, hello)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } });
      const topic = await bob.setState(roomId, 'm.room.topic', { topic: 'mine' });
      expect(topic).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } });
    });

    it('refuses a dead token: 401 M_UNKNOWN_TOKEN', async () => {
      const w = await world();
      const alice = await w.newUser();
      const roomId = await alice.createRoom();
      const impostor = new TestUser(new RawHttp(w.target, 'syt_unknown'), alice.userId, '', '');
      expect(await impostor.send(roomId, hello)).toMatchObject({ status: 401, body: { errcode: 'M_UNKNOWN_TOKEN' } });
    });

    it('gives one event; an unknown one is 404 M_NOT_FOUND', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const answer = await alice.http.get(path`/_matrix/client/v3/rooms/${roomId}/event/${'$unknown'}`);
      expect(answer).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
    });

    it('sets state, and setting the same state again gives the same event', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const first = await alice.setState(roomId, 'm.room.topic', { topic: 'Food' });
      expect(first.status).toBe(200);
      expect((await alice.setState(roomId, 'm.room.topic', { topic: 'Food' })).body).toEqual(first.body);
      const other = await alice.setState(roomId, 'm.room.topic', { topic: 'Drinks' });
      expect(other.body.event_id).not.toBe(first.body.event_id);
    });
  });
}
