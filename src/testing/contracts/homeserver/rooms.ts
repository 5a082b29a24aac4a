import { path } from './raw-http.js';
import type { Suite } from './test-api.js';

const forbidden = { status: 403, body: { errcode: 'M_FORBIDDEN' } };

export function rooms({ describe, it, expect, world }: Suite): void {
  describe('rooms: creating', () => {
    it('creates a room with its creator in it, named as asked', async () => {
      const alice = await (await world()).newUser();
      const created = await alice.http.post<{ room_id: string }>('/_matrix/client/v3/createRoom', {
        preset: 'private_chat',
        name: 'Kitchen',
        topic: 'Food',
      });
      expect(created.status).toBe(200);
      expect(created.body.room_id).toMatch(/^!/);
      const roomId = created.body.room_id;
      expect((await alice.http.get('/_matrix/client/v3/joined_rooms')).body).toEqual({ joined_rooms: [roomId] });
      for (const [type, content] of Object.entries({ name: { name: 'Kitchen' }, topic: { topic: 'Food' } })) {
        const state = await alice.http.get(path`/_matrix/client/v3/rooms/${roomId}/state/${`m.room.${type}`}/`);
        expect(state).toMatchObject({ status: 200, body: content });
      }
    });

    it('starts a room with create, the creator, power levels, join rules and history visibility, in this order', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const { chunk } = await alice.messages(roomId, { dir: 'f', limit: 5 });
      expect(chunk.map((event) => event.type)).toEqual([
        'm.room.create',
        'm.room.member',
        'm.room.power_levels',
        'm.room.join_rules',
        'm.room.history_visibility',
      ]);
      expect(chunk[4]?.content).toEqual({ history_visibility: 'shared' });
    });

    it('gives one member of a room to look at, and 404 M_NOT_FOUND for state that is not there', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const member = path`/_matrix/client/v3/rooms/${roomId}/state/m.room.member/${alice.userId}`;
      expect(await alice.http.get(member)).toMatchObject({
        status: 200,
        body: { membership: 'join', displayname: alice.username },
      });
      const missing = await alice.http.get(path`/_matrix/client/v3/rooms/${roomId}/state/m.room.name/`);
      expect(missing).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
    });
  });

  describe('rooms: memberships', () => {
    it('an invited user may join, and joining again is harmless', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom();
      expect((await alice.invite(roomId, bob.userId)).status).toBe(200);
      expect(await bob.join(roomId)).toMatchObject({ status: 200, body: { room_id: roomId } });
      expect(await bob.join(roomId)).toMatchObject({ status: 200, body: { room_id: roomId } });
      const members = await alice.http.get<{ joined: object }>(path`/_matrix/client/v3/rooms/${roomId}/joined_members`);
      expect(Object.keys(members.body.joined).toSorted()).toEqual([alice.userId, bob.userId].toSorted());
    });

    it('nobody joins a private room uninvited, nor a room that does not exist', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const roomId = await alice.createRoom();
      expect(await bob.join(roomId)).toMatchObject(forbidden);
      expect((await bob.join(`!nowhere:${w.target.serverName}`)).status).toBe(404);
    });

    it('only members invite, and only users who are not members', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const stranger = await (await world()).newUser();
      expect(await stranger.invite(roomId, stranger.userId)).toMatchObject(forbidden);
      expect(await alice.invite(roomId, bob.userId)).toMatchObject(forbidden);
    });

    it('a member leaves; leaving again is harmless', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      expect((await bob.leave(roomId)).status).toBe(200);
      expect((await bob.leave(roomId)).status).toBe(200);
      expect((await bob.http.get('/_matrix/client/v3/joined_rooms')).body).toEqual({ joined_rooms: [] });
    });

    it('an invited user declines by leaving', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom();
      await alice.invite(roomId, bob.userId);
      expect((await bob.leave(roomId)).status).toBe(200);
      expect(await bob.join(roomId)).toMatchObject(forbidden);
    });

    it('who has the power kicks, with a reason; others may not', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const url = path`/_matrix/client/v3/rooms/${roomId}/kick`;
      expect(await bob.http.post(url, { user_id: alice.userId })).toMatchObject(forbidden);
      expect((await alice.http.post(url, { user_id: bob.userId, reason: 'enough' })).status).toBe(200);
      const member = path`/_matrix/client/v3/rooms/${roomId}/state/m.room.member/${bob.userId}`;
      expect((await alice.http.get(member)).body).toMatchObject({ membership: 'leave', reason: 'enough' });
      expect(await bob.join(roomId)).toMatchObject(forbidden);
    });

    it('who has left may read their membership; who was never there may not', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const stranger = await (await world()).newUser();
      const roomId = await alice.createRoom([bob]);
      const member = (userId: string) => path`/_matrix/client/v3/rooms/${roomId}/state/m.room.member/${userId}`;
      await bob.leave(roomId);
      expect(await bob.http.get(member(bob.userId))).toMatchObject({ status: 200, body: { membership: 'leave' } });
      expect(await stranger.http.get(member(stranger.userId))).toMatchObject(forbidden);
    });

    it('a banned user cannot be invited until unbanned', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const post = (action: string) =>
        alice.http.post(path`/_matrix/client/v3/rooms/${roomId}/${action}`, { user_id: bob.userId });
      expect((await post('ban')).status).toBe(200);
      expect(await post('invite')).toMatchObject({ status: 403, body: { errcode: 'M_BAD_STATE' } });
      expect((await post('unban')).status).toBe(200);
      expect((await post('invite')).status).toBe(200);
    });
  });
}
