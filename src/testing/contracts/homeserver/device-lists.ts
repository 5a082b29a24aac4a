import type { EncryptedSync } from './key-calls.js';
import { CLIENT, crossSigning, deviceKeys, passwordStage, uploadCrossSigning, uploadKeys } from './key-calls.js';
import type { Json } from './raw-http.js';
import { path } from './raw-http.js';
import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';

export function deviceLists({ describe, it, expect, world }: Suite): void {
  describe('lists of devices', () => {
    it('are announced to the user and to members of the same rooms, and so are those of joining users', async () => {
      const w = await world();
      const [alice, bob, carol] = await w.newUsers<[TestUser, TestUser, TestUser]>(3);
      const roomId = await alice.createRoom([bob]);
      const [own, seen, unseen] = await Promise.all([
        followDeviceLists(alice),
        followDeviceLists(bob),
        followDeviceLists(carol),
      ]);
      await uploadKeys(alice, { device_keys: deviceKeys(alice) });
      expect((await seen(5_000)).changed).toEqual([alice.userId]);
      expect((await own()).changed).toEqual([alice.userId]);
      expect(await unseen()).toEqual({ changed: [], left: [] });
      await alice.invite(roomId, carol.userId);
      expect((await seen()).changed).toEqual([carol.userId]);
      await carol.join(roomId);
      expect((await seen()).changed).toContain(carol.userId);
      expect((await unseen()).changed).toEqual([alice, bob, carol].map(({ userId }) => userId).toSorted());
    });

    it('change when a device is added, renamed or deleted', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      await alice.createRoom([bob]);
      const seen = await followDeviceLists(bob);
      const expectChange = async (why: string): Promise<void> => {
        expect((await seen(5_000)).changed, why).toEqual([alice.userId]);
      };
      const devices = [await alice.logInAgain(), await alice.logInAgain(), await alice.logInAgain()];
      const [phone, tablet, watch] = devices as [TestUser, TestUser, TestUser];
      await expectChange('it came');
      const url = path`/_matrix/client/v3/devices/${phone.deviceId}`;
      await phone.http.put(url, { display_name: 'Phone' });
      await expectChange('it was named');
      await phone.http.post(`${CLIENT}/logout`);
      await expectChange('it was logged out');
      await w.admin.delete(`${w.adminUserUrl(alice.userId)}${path`/devices/${tablet.deviceId}`}`);
      await expectChange('an admin deleted it');
      await watch.http.post(`${CLIENT}/logout/all`);
      await expectChange('all were logged out');
    });

    it('change when keys are cross-signed; only the signer learns of a signature for another user', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      await alice.createRoom([bob]);
      const [own, seen] = await Promise.all([followDeviceLists(alice), followDeviceLists(bob)]);
      await uploadKeys(alice, { device_keys: deviceKeys(alice) });
      expect((await seen(5_000)).changed).toEqual([alice.userId]);
      const keys = crossSigning(alice);
      await uploadCrossSigning(alice, keys.body);
      expect((await seen(5_000)).changed).toEqual([alice.userId]);
      const signed = keys.selfSigning.sign(alice.userId, deviceKeys(alice));
      await alice.http.post(`${CLIENT}/keys/signatures/upload`, { [alice.userId]: { [alice.deviceId]: signed } });
      expect((await seen(5_000)).changed).toEqual([alice.userId]);
      const bobs = crossSigning(bob);
      await uploadCrossSigning(bob, bobs.body);
      expect((await own(5_000)).changed).toContain(bob.userId);
      await own();
      await seen();
      const master = keys.userSigning.sign(alice.userId, bobs.body.master_key);
      await alice.http.post(`${CLIENT}/keys/signatures/upload`, { [bob.userId]: { [bobs.master.publicKey]: master } });
      expect((await own(5_000)).changed).toEqual([bob.userId]);
      expect((await seen()).changed).toEqual([]);
    });

    it('report users as left who no longer share a room', async () => {
      const w = await world();
      const [alice, bob, carol] = await w.newUsers<[TestUser, TestUser, TestUser]>(3);
      const both = await alice.createRoom([bob, carol]);
      const second = await alice.createRoom([carol]);
      const [seen, bobs] = await Promise.all([followDeviceLists(alice), followDeviceLists(bob)]);
      await bob.leave(both);
      expect(await seen(5_000)).toEqual({ changed: [], left: [bob.userId] });
      expect((await bobs()).left.toSorted()).toEqual([alice.userId, carol.userId].toSorted());
      await carol.leave(both);
      expect(await seen()).toEqual({ changed: [], left: [] });
      await alice.leave(second);
      expect(await seen()).toEqual({ changed: [], left: [carol.userId] });
    });

    it('report users as changed who joined again, and not users who joined and left', async () => {
      const w = await world();
      const [alice, bob, carol] = await w.newUsers<[TestUser, TestUser, TestUser]>(3);
      const roomId = await alice.createRoom([bob], { preset: 'public_chat' });
      const seen = await followDeviceLists(alice);
      await bob.leave(roomId);
      await bob.join(roomId);
      await carol.join(roomId);
      await carol.leave(roomId);
      expect(await seen()).toEqual({ changed: [bob.userId], left: [carol.userId] });
    });

    it('are returned from any position: GET /keys/changes', async () => {
      const w = await world();
      const [alice, bob, carol] = await w.newUsers<[TestUser, TestUser, TestUser]>(3);
      const roomId = await alice.createRoom([bob, carol]);
      const { next_batch: from } = await alice.sync();
      const changes = (query: Record<string, string>) => alice.http.get(`${CLIENT}/keys/changes`, query);
      expect((await changes({ from, to: from })).body).toEqual({ changed: [], left: [] });
      await uploadKeys(bob, { device_keys: deviceKeys(bob) });
      await carol.leave(roomId);
      const { next_batch: to } = await alice.sync({ since: from });
      const told = { status: 200, body: { changed: [bob.userId], left: [carol.userId] } };
      expect(await changes({ from, to })).toMatchObject(told);
      expect(await changes({ from, to: from })).toMatchObject(told); // Synapse ignores `to`
      expect((await changes({ from: to, to })).body).toEqual({ changed: [], left: [] });
      expect(await changes({ to })).toMatchObject({ status: 400, body: { errcode: 'M_MISSING_PARAM' } });
      expect((await changes({ from: 'no position', to })).status).toBe(400);
    });
  });

  describe('devices', () => {
    it('are deleted with the password, one or many at once; without it: 401 and the flows', async () => {
      const w = await world();
      const alice = await w.newUser();
      const [phone, tablet] = [await alice.logInAgain(), await alice.logInAgain()];
      const url = path`/_matrix/client/v3/devices/${phone.deviceId}`;
      const remove = (body: Json) => alice.http.delete(url, body);
      const asked = await remove({});
      expect(asked.status).toBe(401);
      expect(asked.body['flows']).toContainEqual({ stages: ['m.login.password'] });
      const wrong = await remove({ auth: passwordStage(alice, asked, 'wrong') });
      expect(wrong).toMatchObject({ status: 401, body: { errcode: 'M_FORBIDDEN' } });
      expect(wrong.body['flows']).toContainEqual({ stages: ['m.login.password'] });
      expect(await remove({ auth: passwordStage(alice, asked) })).toMatchObject({ status: 200, body: {} });
      expect((await phone.http.get(`${CLIENT}/account/whoami`)).status).toBe(401);
      const devices = [tablet.deviceId, 'UNKNOWN'];
      const many = `${CLIENT}/delete_devices`;
      const again = await alice.http.post(many, { devices });
      expect(again.status).toBe(401);
      const answer = await alice.http.post(many, { devices, auth: passwordStage(alice, again) });
      expect(answer).toMatchObject({ status: 200, body: {} });
      expect((await tablet.http.get(`${CLIENT}/account/whoami`)).status).toBe(401);
      expect((await alice.http.get(`${CLIENT}/account/whoami`)).status).toBe(200);
    });
  });
}

/** Returns a function that syncs and returns `device_lists`. Each call continues where the last one ended. */
async function followDeviceLists(user: TestUser) {
  let { next_batch: since } = await user.sync();
  return async (timeout = 0) => {
    const response = (await user.sync({ since, timeout })) as EncryptedSync;
    since = response.next_batch;
    const { changed = [], left = [] } = response.device_lists ?? {};
    return { changed: changed.toSorted(), left: [...left] };
  };
}
