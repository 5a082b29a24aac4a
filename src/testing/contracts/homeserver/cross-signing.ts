import {
  CLIENT,
  crossSigning,
  deviceKeys,
  passwordStage,
  queryKeys as query,
  SigningKey,
  uploadCrossSigning as upload,
  uploadKeys,
} from './key-calls.js';
import type { JsonResponse, Json } from './raw-http.js';
import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';

export function crossSigningKeys({ describe, it, expect, world }: Suite): void {
  describe('cross-signing keys', () => {
    it('need no password the first time, and one to be replaced', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const keys = crossSigning(alice);
      expect((await upload(alice, keys.body)).status).toBe(200);
      expect((await upload(alice, keys.body)).status).toBe(200);
      const seen = await query(bob, { [alice.userId]: [] });
      expect((seen.body['master_keys'] as Json)[alice.userId]).toMatchObject(keys.body.master_key);
      expect((seen.body['self_signing_keys'] as Json)[alice.userId]).toMatchObject(keys.body.self_signing_key);
      expect(seen.body['user_signing_keys']).toEqual({});
      const own = await query(alice, { [alice.userId]: [] });
      expect((own.body['user_signing_keys'] as Json)[alice.userId]).toMatchObject(keys.body.user_signing_key);
      const asked = await upload(alice, crossSigning(alice).body);
      expect(asked.status).toBe(401);
      expect(asked.body['flows']).toContainEqual({ stages: ['m.login.password'] });
      const others = crossSigning(alice);
      const wrong = await upload(alice, { ...others.body, auth: passwordStage(alice, asked, 'wrong') });
      expect(wrong).toMatchObject({ status: 401, body: { errcode: 'M_FORBIDDEN' } });
      const auth = passwordStage(alice, asked);
      expect((await upload(alice, { ...others.body, auth })).status).toBe(200);
      const replaced = (await query(bob, { [alice.userId]: [] })).body;
      expect((replaced['master_keys'] as Json)[alice.userId]).toMatchObject(others.body.master_key);
      const below = crossSigning(alice, others.master);
      expect((await upload(alice, below.body)).status, 'another key below the same master key').toBe(401);
    });

    it('have to be signed by the master key: 400 M_INVALID_SIGNATURE', async () => {
      const alice = await (await world()).newUser();
      const { body } = crossSigning(alice);
      const refused = { status: 400, body: { errcode: 'M_INVALID_SIGNATURE' } };
      const { self_signing_key: key } = body;
      const unsigned = { ...body, self_signing_key: { ...key, signatures: {} } };
      expect(await upload(alice, unsigned)).toMatchObject(refused);
      const other = crossSigning(alice);
      const byAnother = {
        ...body,
        self_signing_key: { ...other.body.self_signing_key, signatures: key['signatures'] },
      };
      expect(await upload(alice, byAnother)).toMatchObject(refused);
      const ofAnother = { ...body, master_key: { ...body.master_key, user_id: '@other:hs.test' } };
      expect(await upload(alice, ofAnother)).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } });
    });
  });

  describe('signatures of cross-signing keys', () => {
    it('come with the device, and with the master key to its user; they stay when the device says its keys again', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const own = new SigningKey();
      const device = deviceKeys(alice, own.publicKey);
      await uploadKeys(alice, { device_keys: device });
      const keys = crossSigning(alice);
      await upload(alice, keys.body);
      const signed = {
        [alice.deviceId]: keys.selfSigning.sign(alice.userId, device),
        [keys.master.publicKey]: own.sign(alice.userId, keys.body.master_key, alice.deviceId),
      };
      expect((await sign(alice, { [alice.userId]: signed })).body).toEqual({ failures: {} });
      expect((await sign(alice, { [alice.userId]: signed })).body).toEqual({ failures: {} });
      await uploadKeys(alice, { device_keys: device });
      const devices = (await query(bob, { [alice.userId]: [] })).body['device_keys'];
      const masters = (await query(alice, { [alice.userId]: [] })).body['master_keys'];
      const found = (devices as Record<string, Record<string, Json>>)[alice.userId]?.[alice.deviceId];
      expect(signersOf(found, alice)).toEqual(
        [`ed25519:${alice.deviceId}`, `ed25519:${keys.selfSigning.publicKey}`].toSorted(),
      );
      const master = (masters as Record<string, Json>)[alice.userId];
      expect(signersOf(master, alice)).toEqual([`ed25519:${alice.deviceId}`]);
    });

    it('of one user for another are shown to the signer alone', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const [keys, bobs] = [crossSigning(alice), crossSigning(bob)];
      await upload(alice, keys.body);
      await upload(bob, bobs.body);
      const signed = keys.userSigning.sign(alice.userId, bobs.body.master_key);
      const answer = await sign(alice, { [bob.userId]: { [bobs.master.publicKey]: signed } });
      expect(answer).toMatchObject({ status: 200, body: { failures: {} } });
      const seenBy = async (user: TestUser): Promise<string[]> => {
        const { master_keys: masters } = (await query(user, { [bob.userId]: [] })).body;
        return signersOf((masters as Record<string, Json>)[bob.userId], alice);
      };
      expect(await seenBy(alice)).toEqual([`ed25519:${keys.userSigning.publicKey}`]);
      expect(await seenBy(bob)).toEqual([]);
    });

    it('are refused one by one: who has no keys, what is not known, what was altered, what is not signed', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const device = deviceKeys(alice);
      await uploadKeys(alice, { device_keys: device });
      const failures = async (signed: Json): Promise<Json> => {
        const answer = await sign(alice, signed);
        expect(answer.status).toBe(200);
        return answer.body['failures'] as Json;
      };
      const keys = crossSigning(alice);
      const signed = keys.selfSigning.sign(alice.userId, device);
      const failing = (errcode: string) => ({
        [alice.userId]: { [alice.deviceId]: { status: errcode === 'M_NOT_FOUND' ? 404 : 400, errcode } },
      });
      const early = await failures({ [alice.userId]: { [alice.deviceId]: signed } });
      expect(early).toMatchObject(failing('M_NOT_FOUND'));
      await upload(alice, keys.body);
      const ofBob = await failures({
        [bob.userId]: { key: keys.userSigning.sign(alice.userId, { user_id: bob.userId }) },
      });
      expect(ofBob).toMatchObject({ [bob.userId]: { key: { status: 404, errcode: 'M_NOT_FOUND' } } });
      const unknown = await failures({ [alice.userId]: { NONE: signed } });
      expect(unknown).toMatchObject({ [alice.userId]: { NONE: { status: 404, errcode: 'M_NOT_FOUND' } } });
      const unsigned = await failures({ [alice.userId]: { [alice.deviceId]: device } });
      expect(unsigned).toMatchObject(failing('M_INVALID_SIGNATURE'));
      const forged = keys.userSigning.sign(alice.userId, device, keys.selfSigning.publicKey);
      expect(await failures({ [alice.userId]: { [alice.deviceId]: forged } })).toMatchObject(
        failing('M_INVALID_SIGNATURE'),
      );
      const altered = keys.selfSigning.sign(alice.userId, { ...device, algorithms: [] });
      expect(await failures({ [alice.userId]: { [alice.deviceId]: altered } })).toMatchObject(failing('M_UNKNOWN'));
    });
  });
}

function sign(user: TestUser, signed: Json): Promise<JsonResponse<Json>> {
  return user.http.post(`${CLIENT}/keys/signatures/upload`, signed);
}

/** Ids of the user's keys that have signed `signed`. */
function signersOf(signed: Json | undefined, { userId }: TestUser): string[] {
  const signatures = signed?.['signatures'] as Record<string, Json> | undefined;
  return Object.keys(signatures?.[userId] ?? {}).toSorted();
}
