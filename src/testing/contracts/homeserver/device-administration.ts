import { path } from './raw-http.js';
import type { Suite } from './test-api.js';

interface DeviceList {
  devices: { device_id: string; display_name?: string | null; user_id: string }[];
  total: number;
}

export function deviceAdministration({ describe, it, expect, world }: Suite): void {
  describe('admin API: devices', () => {
    it('lists the devices of a user', async () => {
      const w = await world();
      const user = await w.newUser();
      const other = await user.logInAgain('OTHER');
      const list = await w.admin.get<DeviceList>(`${w.adminUserUrl(user.userId)}/devices`);
      expect(list.status).toBe(200);
      expect(list.body.total).toBe(2);
      const ids = list.body.devices.map((device) => device.device_id);
      expect(ids.toSorted()).toEqual([user.deviceId, other.deviceId].toSorted());
    });

    it('deletes a device: its tokens die, the others live, a repeat is harmless', async () => {
      const w = await world();
      const user = await w.newUser();
      const other = await user.logInAgain();
      const url = `${w.adminUserUrl(user.userId)}${path`/devices/${user.deviceId}`}`;
      expect((await w.admin.delete(url)).status).toBe(200);
      const dead = await user.http.get('/_matrix/client/v3/account/whoami');
      expect(dead).toMatchObject({ status: 401, body: { errcode: 'M_UNKNOWN_TOKEN' } });
      expect((await other.http.get('/_matrix/client/v3/account/whoami')).status).toBe(200);
      expect((await w.admin.delete(url)).status).toBe(200);
    });

    it('knows no devices of an unknown user: 404 M_NOT_FOUND', async () => {
      const w = await world();
      const answer = await w.admin.get(`${w.adminUserUrl(w.userId(w.newUsername()))}/devices`);
      expect(answer).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
    });
  });

  describe('admin API: joining a user to a room', () => {
    it('joins to a public room', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const roomId = await alice.createRoom([], { preset: 'public_chat' });
      const url = path`/_synapse/admin/v1/join/${roomId}`;
      expect(await w.admin.post(url, { user_id: bob.userId })).toMatchObject({
        status: 200,
        body: { room_id: roomId },
      });
      expect(await bob.http.get('/_matrix/client/v3/joined_rooms')).toMatchObject({
        body: { joined_rooms: [roomId] },
      });
    });

    it('is 403 for a private room without the admin in it', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const roomId = await alice.createRoom();
      const answer = await w.admin.post(path`/_synapse/admin/v1/join/${roomId}`, { user_id: bob.userId });
      expect(answer).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } });
    });

    it('joins to a private room with an admin in it who may invite; a repeat is 403 "already in the room"', async () => {
      const w = await world();
      const boss = await w.newUser({ admin: true });
      const bob = await w.newUser();
      const roomId = await boss.createRoom();
      const url = path`/_synapse/admin/v1/join/${roomId}`;
      expect((await boss.http.post(url, { user_id: bob.userId })).status).toBe(200);
      const again = await boss.http.post(url, { user_id: bob.userId });
      expect(again).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } });
      expect(again.body['error']).toMatch(/already in the room/);
    });

    it('is 404 for an unknown user', async () => {
      const w = await world();
      const alice = await w.newUser();
      const roomId = await alice.createRoom([], { preset: 'public_chat' });
      const nobody = w.userId(w.newUsername());
      const answer = await w.admin.post(path`/_synapse/admin/v1/join/${roomId}`, { user_id: nobody });
      expect(answer).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
    });
  });
}
