import { CLIENT, CURVE, deviceKeys, queryKeys as query, signedKeys, uploadKeys as upload } from './key-calls.js';
import type { EncryptedSync } from './key-calls.js';
import type { JsonResponse, Json } from './raw-http.js';
import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';

export function endToEndKeys({ describe, it, expect, world }: Suite): void {
  describe('keys of devices', () => {
    it('are returned with the name of the device; other devices have none', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      await alice.logInAgain();
      const uploaded = await upload(alice, { device_keys: deviceKeys(alice) });
      expect(uploaded).toMatchObject({ status: 200, body: { one_time_key_counts: { [CURVE]: 0 } } });
      const answer = await query(bob, { [alice.userId]: [], [w.userId('nobody')]: [] });
      expect(answer.body['failures']).toEqual({});
      const devices = answer.body['device_keys'] as Record<string, Record<string, Json>>;
      expect(Object.keys(devices[alice.userId] ?? {})).toEqual([alice.deviceId]);
      expect(devices[alice.userId]?.[alice.deviceId]).toMatchObject(deviceKeys(alice));
      expect(devices[w.userId('nobody')]).toEqual({});
      const one = await query(bob, { [alice.userId]: ['OTHER'] });
      expect((one.body['device_keys'] as Json)[alice.userId]).toEqual({});
    });

    it('are deleted with the device', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      await upload(alice, { device_keys: deviceKeys(alice) });
      await alice.http.post(`${CLIENT}/logout`);
      expect((await query(bob, { [alice.userId]: [] })).body['device_keys']).toEqual({ [alice.userId]: {} });
    });

    it('are claimed once each; then the fallback key is returned every time', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const uploaded = await upload(alice, {
        device_keys: deviceKeys(alice),
        one_time_keys: signedKeys(alice, 'one', 'two'),
        fallback_keys: signedKeys(alice, 'fallback'),
      });
      expect(uploaded.body['one_time_key_counts']).toMatchObject({ [CURVE]: 2 });
      const first = await alice.sync();
      expect(first).toMatchObject({
        device_one_time_keys_count: { [CURVE]: 2 },
        device_unused_fallback_key_types: [CURVE],
      });
      const claimed: string[] = [];
      for (let n = 0; n < 4; n++) claimed.push(...(await claim(bob, alice)));
      expect(claimed.slice(0, 2).toSorted()).toEqual([`${CURVE}:one`, `${CURVE}:two`]);
      expect(claimed.slice(2)).toEqual([`${CURVE}:fallback`, `${CURVE}:fallback`]);
      // With `since`, because Synapse repeats its response to an identical initial sync.
      expect(await alice.sync({ since: first.next_batch })).toMatchObject({
        device_one_time_keys_count: { [CURVE]: 0 },
        device_unused_fallback_key_types: [],
      });
    });

    it('may not change: 400 for a one-time key with a known id; the same one again is fine', async () => {
      const w = await world();
      const alice = await w.newUser();
      const first = { device_keys: deviceKeys(alice), one_time_keys: signedKeys(alice, 'one') };
      expect((await upload(alice, first)).status).toBe(200);
      expect((await upload(alice, first)).status).toBe(200);
      const changed = { ...(signedKeys(alice, 'one')[`${CURVE}:one`] as Json), key: 'other' };
      const other = await upload(alice, { one_time_keys: { [`${CURVE}:one`]: changed } });
      expect(other).toMatchObject({ status: 400, body: { errcode: 'M_UNKNOWN' } });
      expect(other.body['error']).toMatch(/^One time key signed_curve25519:one already exists/);
    });

    it('are counted again at each upload; only a different fallback key is unused again', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      await upload(alice, { device_keys: deviceKeys(alice), fallback_keys: signedKeys(alice, 'old') });
      const first = await alice.sync();
      expect(await claim(bob, alice)).toEqual([`${CURVE}:old`]);
      const used = (await alice.sync({ since: first.next_batch })) as EncryptedSync;
      expect(used.device_unused_fallback_key_types).toEqual([]);
      await upload(alice, { fallback_keys: signedKeys(alice, 'old') });
      expect(
        ((await alice.sync({ since: used.next_batch })) as EncryptedSync).device_unused_fallback_key_types,
      ).toEqual([]);
      await upload(alice, { fallback_keys: signedKeys(alice, 'new') });
      // Another timeout, because Synapse repeats its response to an identical request.
      const unused = (await alice.sync({ since: used.next_batch, timeout: 1 })) as EncryptedSync;
      expect(unused.device_unused_fallback_key_types).toEqual([CURVE]);
      const uploaded = await upload(alice, { one_time_keys: signedKeys(alice, 'one', 'two') });
      expect(uploaded.body).toEqual({ one_time_key_counts: { [CURVE]: 2 } });
      expect((await upload(alice, {})).body).toEqual({ one_time_key_counts: { [CURVE]: 2 } });
      expect(await claim(bob, alice)).not.toEqual([`${CURVE}:new`]);
    });

    it('of the same value are the same one-time key, whatever their signature', async () => {
      const alice = await (await world()).newUser();
      const keys = signedKeys(alice, 'one');
      await upload(alice, { device_keys: deviceKeys(alice), one_time_keys: keys });
      const signatures = { [alice.userId]: { [`ed25519:${alice.deviceId}`]: 'another' } };
      const again = { [`${CURVE}:one`]: { ...(keys[`${CURVE}:one`] as Json), signatures } };
      expect((await upload(alice, { one_time_keys: again })).status).toBe(200);
    });

    it('do not exist for unknown devices and users, and are failures for unreachable servers', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const wanted = {
        [alice.userId]: { NONE: CURVE },
        [w.userId('nobody')]: { D: CURVE },
        '@a:far.test': { D: CURVE },
      };
      const claimed = await bob.http.post(`${CLIENT}/keys/claim`, { one_time_keys: wanted });
      expect(claimed).toMatchObject({ status: 200, body: { one_time_keys: {} } });
      expect(Object.keys(claimed.body['failures'] as Json)).toEqual(['far.test']);
      const device_keys = { [alice.userId]: [], '@a:far.test': [], 'no user id': [] };
      const asked = await bob.http.post(`${CLIENT}/keys/query?timeout=1000`, { device_keys });
      expect(asked).toMatchObject({ status: 200, body: { device_keys: { [alice.userId]: {} } } });
      expect(Object.keys(asked.body['device_keys'] as Json)).toEqual([alice.userId]);
      expect(Object.keys(asked.body['failures'] as Json)).toEqual(['far.test']);
    });

    it('are queried by lists of device ids, otherwise: 400 M_BAD_JSON', async () => {
      const alice = await (await world()).newUser();
      const url = `${CLIENT}/keys/query`;
      const refused = { status: 400, body: { errcode: 'M_BAD_JSON' } };
      expect(await alice.http.post(url, {})).toMatchObject(refused);
      expect(await alice.http.post(url, { device_keys: { [alice.userId]: alice.deviceId } })).toMatchObject(refused);
      const soon = await alice.http.post(`${url}?timeout=soon`, { device_keys: {} });
      expect(soon).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } });
    });

    it('are uploaded by their own device, otherwise: 400 M_BAD_JSON', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const refused = { status: 400, body: { errcode: 'M_BAD_JSON' } };
      expect(await upload(alice, { device_keys: deviceKeys(bob) })).toMatchObject(refused);
      expect(await upload(alice, { one_time_keys: { [`${CURVE}:one`]: { key: 'unsigned' } } })).toMatchObject(refused);
    });
  });
}

/** Ids of the keys of the device of `of` that `user` can query. */
async function claim(user: TestUser, of: TestUser): Promise<string[]> {
  const body = { one_time_keys: { [of.userId]: { [of.deviceId]: CURVE } } };
  const answer: JsonResponse<{ one_time_keys: Record<string, Record<string, Json>> }> = await user.http.post(
    `${CLIENT}/keys/claim`,
    body,
  );
  return Object.keys(answer.body.one_time_keys[of.userId]?.[of.deviceId] ?? {});
}
