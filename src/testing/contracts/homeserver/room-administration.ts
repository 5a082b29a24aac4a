import type { Json, JsonResponse } from './raw-http.js';
import { path } from './raw-http.js';
import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';
import type { World } from './world.js';

const forbidden = { status: 403, body: { errcode: 'M_FORBIDDEN' } };
const aliasUrl = (alias: string): string => path`/_matrix/client/v3/directory/room/${alias}`;

const newAlias = (w: World): string => `#${w.newUsername()}:${w.target.serverName}`;
const knock = (user: TestUser, roomId: string): Promise<JsonResponse<Json>> =>
  user.http.post(path`/_matrix/client/v3/knock/${roomId}`, { reason: 'please' });
const upgrade = (user: TestUser, roomId: string, version: string): Promise<JsonResponse<Json>> =>
  user.http.post(path`/_matrix/client/v3/rooms/${roomId}/upgrade`, { new_version: version });

export function roomAdministration({ describe, it, expect, world }: Suite): void {
  describe('rooms: aliases', () => {
    it('lead to a room, are listed by it, and are removed by their creator', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const roomId = await alice.createRoom();
      const alias = newAlias(w);
      expect(await bob.http.get(aliasUrl(alias))).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
      expect(await bob.http.put(aliasUrl(alias), { room_id: roomId })).toMatchObject(forbidden);
      expect((await alice.http.put(aliasUrl(alias), { room_id: roomId })).status).toBe(200);
      expect((await bob.http.get(aliasUrl(alias))).body).toMatchObject({ room_id: roomId });
      const listed = await alice.http.get(path`/_matrix/client/v3/rooms/${roomId}/aliases`);
      expect(listed).toMatchObject({ status: 200, body: { aliases: [alias] } });
      expect((await alice.http.put(aliasUrl(alias), { room_id: roomId })).status).toBe(409);
      expect(await bob.http.delete(aliasUrl(alias))).toMatchObject(forbidden);
      expect((await alice.http.delete(aliasUrl(alias))).status).toBe(200);
      expect((await alice.http.delete(aliasUrl(alias))).status).toBe(404);
    });

    it('are refused for a room that does not exist, and with a name that is none', async () => {
      const w = await world();
      const alice = await w.newUser();
      const room_id = `!nowhere:${w.target.serverName}`;
      expect((await alice.http.put(aliasUrl(newAlias(w)), { room_id })).status).toBe(400);
      const none = await alice.http.get(aliasUrl('lobby'));
      expect(none).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } });
    });
  });

  describe('rooms: knocking', () => {
    it('asks to be let in where the join rules allow it', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom();
      expect(await knock(bob, roomId)).toMatchObject(forbidden);
      await alice.setState(roomId, 'm.room.join_rules', { join_rule: 'knock' });
      expect(await knock(bob, roomId)).toMatchObject({ status: 200, body: { room_id: roomId } });
      expect(await knock(bob, roomId)).toMatchObject({ status: 200, body: { room_id: roomId } });
      const member = path`/_matrix/client/v3/rooms/${roomId}/state/m.room.member/${bob.userId}`;
      expect((await alice.http.get(member)).body).toMatchObject({ membership: 'knock', reason: 'please' });
      const { rooms } = await bob.sync();
      expect(Object.keys((rooms as { knock?: object } | undefined)?.knock ?? {})).toEqual([roomId]);
      expect((await alice.invite(roomId, bob.userId)).status).toBe(200);
      expect((await bob.join(roomId)).status).toBe(200);
      expect(await knock(bob, roomId)).toMatchObject(forbidden);
    });
  });

  describe('rooms: power levels', () => {
    it('of version 12 must not list a creator', async () => {
      const alice = await (await world()).newUser();
      const users = { [alice.userId]: 100 };
      const listed = { room_version: '12', power_level_content_override: { users } };
      expect((await alice.http.post('/_matrix/client/v3/createRoom', listed)).status).toBe(400);
      const roomId = await alice.createRoom([], { room_version: '12' });
      expect((await alice.setState(roomId, 'm.room.power_levels', { users })).status).toBe(400);
    });

    it('of version 11 have to list the creator', async () => {
      const alice = await (await world()).newUser();
      const unlisted = { room_version: '11', power_level_content_override: { users: {} } };
      expect((await alice.http.post('/_matrix/client/v3/createRoom', unlisted)).status).toBe(400);
    });

    it('are neither raised above the own one nor taken from an equal', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const users = { [alice.userId]: 100, [bob.userId]: 100 };
      const roomId = await alice.createRoom([bob], { room_version: '11', power_level_content_override: { users } });
      const set = (level: number): Promise<JsonResponse<Json>> =>
        alice.http.put(path`/_matrix/client/v3/rooms/${roomId}/state/m.room.power_levels/`, {
          users: { ...users, [bob.userId]: level },
        });
      expect(await set(50)).toMatchObject(forbidden);
      expect(await set(101)).toMatchObject(forbidden);
    });
  });

  describe('rooms: leaving', () => {
    it('is refused to a user who was banned, and who was unbanned', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const body = { user_id: bob.userId };
      await alice.http.post(path`/_matrix/client/v3/rooms/${roomId}/ban`, body);
      expect(await bob.leave(roomId)).toMatchObject(forbidden);
      await alice.http.post(path`/_matrix/client/v3/rooms/${roomId}/unban`, body);
      expect(await bob.leave(roomId)).toMatchObject(forbidden);
    });
  });

  describe('rooms: upgrading', () => {
    it('replaces the room by one with its name and encryption, and its alias', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const roomId = await alice.createRoom([bob], { room_version: '11', name: 'Old' });
      await alice.setState(roomId, 'm.room.encryption', { algorithm: 'm.megolm.v1.aes-sha2' });
      const alias = newAlias(w);
      await alice.http.put(aliasUrl(alias), { room_id: roomId });
      expect(await upgrade(bob, roomId, '12')).toMatchObject(forbidden);
      expect((await upgrade(alice, roomId, 'none')).status).toBe(400);
      const upgraded = await upgrade(alice, roomId, '12');
      expect(upgraded.status).toBe(200);
      const replacement = String(upgraded.body['replacement_room']);
      const state = (room: string, type: string): Promise<JsonResponse<Json>> =>
        alice.http.get(path`/_matrix/client/v3/rooms/${room}/state/${type}/`);
      expect((await state(roomId, 'm.room.tombstone')).body).toMatchObject({ replacement_room: replacement });
      expect((await state(replacement, 'm.room.name')).body).toEqual({ name: 'Old' });
      expect((await state(replacement, 'm.room.encryption')).body).toMatchObject({ algorithm: 'm.megolm.v1.aes-sha2' });
      expect((await state(replacement, 'm.room.create')).body).toMatchObject({ predecessor: { room_id: roomId } });
      expect((await alice.http.get(aliasUrl(alias))).body).toMatchObject({ room_id: replacement });
      expect((await upgrade(alice, `!nowhere:${w.target.serverName}`, '12')).status).toBe(404);
    });
  });

  describe('admin: rooms', () => {
    it('are deleted in the background, with all their local members', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const roomId = await alice.createRoom([bob]);
      const url = path`/_synapse/admin/v2/rooms/${roomId}`;
      expect(await alice.http.delete(url, {})).toMatchObject(forbidden);
      const started = await w.admin.delete<{ delete_id: string }>(url, { purge: true });
      expect(started.status).toBe(200);
      const again = await w.admin.delete(url, {});
      expect([200, 400]).toContain(again.status);
      const byId = path`/_synapse/admin/v2/rooms/delete_status/${started.body.delete_id}`;
      let status = await w.admin.get(byId);
      while (!['complete', 'failed'].includes(String(status.body['status']))) status = await w.admin.get(byId);
      expect(status.body).toMatchObject({ status: 'complete', room_id: roomId });
      const { kicked_users: kicked } = status.body['shutdown_room'] as { kicked_users: string[] };
      expect(kicked.toSorted()).toEqual([alice.userId, bob.userId].toSorted());
      const ofRoom = await w.admin.get<{ results: Json[] }>(`${url}/delete_status`);
      expect(ofRoom.body.results.map((result) => result['delete_id'])).toContain(started.body.delete_id);
      expect((await alice.http.get('/_matrix/client/v3/joined_rooms')).body).toEqual({ joined_rooms: [] });
      expect(await alice.http.get(path`/_matrix/client/v3/rooms/${roomId}/state`)).toMatchObject(forbidden);
    });

    it('have no status of a deletion that never was', async () => {
      const w = await world();
      const nowhere = path`/_synapse/admin/v2/rooms/${`!nowhere:${w.target.serverName}`}/delete_status`;
      expect((await w.admin.get(nowhere)).status).toBe(404);
      expect((await w.admin.get('/_synapse/admin/v2/rooms/delete_status/none')).status).toBe(404);
      expect((await w.admin.delete(path`/_synapse/admin/v2/rooms/${'none'}`, {})).status).toBe(400);
    });
  });
}
