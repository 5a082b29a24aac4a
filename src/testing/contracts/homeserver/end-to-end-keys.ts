import type { KeyObject } from 'node:crypto';
import { generateKeyPairSync, sign } from 'node:crypto';
import type { SyncAnswer } from './answers.js';
import type { Answer, Json } from './raw-http.js';
import { path } from './raw-http.js';
import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';

const CURVE = 'signed_curve25519';
const CLIENT = '/_matrix/client/v3';

export function endToEndKeys({ describe, it, expect, world }: Suite): void {
  describe('keys of devices', () => {
    it('are given to who asks, with the name of the device; other devices have none', async () => {
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

    it('go with the device', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      await upload(alice, { device_keys: deviceKeys(alice) });
      await alice.http.post(`${CLIENT}/logout`);
      expect((await query(bob, { [alice.userId]: [] })).body['device_keys']).toEqual({ [alice.userId]: {} });
    });

    it('are claimed once each, then the fallback key is given again and again', async () => {
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
      // Not without `since`: Synapse would repeat its first answer.
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

    it('are announced to oneself and to those in the same room, and so are those of who joins', async () => {
      const w = await world();
      const [alice, bob, carol] = await w.newUsers<[TestUser, TestUser, TestUser]>(3);
      const roomId = await alice.createRoom([bob]);
      let since = (await bob.sync()).next_batch;
      const elsewhere = (await carol.sync()).next_batch;
      await upload(alice, { device_keys: deviceKeys(alice) });
      let news = (await bob.sync({ since, timeout: 5_000 })) as EncryptedSync;
      expect(news.device_lists?.changed).toEqual([alice.userId]);
      const alone = (await carol.sync({ since: elsewhere })) as EncryptedSync;
      expect(alone.device_lists?.changed ?? []).toEqual([]);
      since = news.next_batch;
      await alice.invite(roomId, carol.userId);
      await carol.join(roomId);
      news = await bob.sync({ since });
      expect(news.device_lists?.changed).toContain(carol.userId);
      const own = (await carol.sync({ since: alone.next_batch })) as EncryptedSync;
      expect([...(own.device_lists?.changed ?? [])].filter((id) => id !== carol.userId).toSorted()).toEqual(
        [alice.userId, bob.userId].toSorted(),
      );
    });
  });

  describe('cross-signing keys', () => {
    it('need no password the first time, and one to be replaced', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const url = `${CLIENT}/keys/device_signing/upload`;
      const keys = crossSigningKeys(alice);
      expect((await alice.http.post(url, keys)).status).toBe(200);
      expect((await alice.http.post(url, keys)).status).toBe(200);
      const seen = await query(bob, { [alice.userId]: [] });
      expect((seen.body['master_keys'] as Json)[alice.userId]).toMatchObject(keys.master_key);
      expect((seen.body['self_signing_keys'] as Json)[alice.userId]).toMatchObject(keys.self_signing_key);
      expect(seen.body['user_signing_keys']).toEqual({});
      const own = await query(alice, { [alice.userId]: [] });
      expect((own.body['user_signing_keys'] as Json)[alice.userId]).toMatchObject(keys.user_signing_key);

      const others = crossSigningKeys(alice);
      const asked = await alice.http.post(url, others);
      expect(asked.status).toBe(401);
      expect(asked.body['flows']).toContainEqual({ stages: ['m.login.password'] });
      const auth = {
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: alice.userId },
        password: alice.password,
        session: asked.body['session'],
      };
      expect((await alice.http.post(url, { ...others, auth })).status).toBe(200);
      const replaced = await query(bob, { [alice.userId]: [] });
      expect((replaced.body['master_keys'] as Json)[alice.userId]).toMatchObject(others.master_key);
    });
  });

  describe('cross-signing keys below the master key', () => {
    it('have to be signed by it: 400 M_INVALID_SIGNATURE', async () => {
      const alice = await (await world()).newUser();
      const keys = crossSigningKeys(alice);
      const unsigned = { ...keys, self_signing_key: { ...keys.self_signing_key, signatures: {} } };
      const refused = await alice.http.post(`${CLIENT}/keys/device_signing/upload`, unsigned);
      expect(refused).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_SIGNATURE' } });
    });
  });

  describe('messages from device to device', () => {
    it('arrive once, at the device or at all of them, and a repeated txnId sends none', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const phone = await bob.logInAgain();
      const [first, second] = [(await bob.sync()).next_batch, (await phone.sync()).next_batch];
      const send = (txnId: string, to: string, n: number): Promise<Answer<Json>> =>
        alice.http.put(path`/_matrix/client/v3/sendToDevice/org.example.test/${txnId}`, {
          messages: { [bob.userId]: { [to]: { n } } },
        });
      expect(await send('a', bob.deviceId, 1)).toMatchObject({ status: 200, body: {} });
      expect(await send('a', bob.deviceId, 1)).toMatchObject({ status: 200, body: {} });
      await send('b', '*', 2);
      await send('c', 'NO_SUCH_DEVICE', 3);
      const event = (n: number): Json => ({ type: 'org.example.test', sender: alice.userId, content: { n } });
      const received = (await bob.sync({ since: first, timeout: 5_000 })) as EncryptedSync;
      expect(received.to_device?.events).toEqual([event(1), event(2)]);
      expect(((await phone.sync({ since: second })) as EncryptedSync).to_device?.events).toEqual([event(2)]);
      // Until a sync shows that they have arrived, they come again.
      const again = (await bob.sync({ since: first })) as EncryptedSync;
      expect(again.to_device?.events).toEqual([event(1), event(2)]);
      const after = (await bob.sync({ since: again.next_batch })) as EncryptedSync;
      expect(after.to_device?.events ?? []).toEqual([]);
    });

    it('wake a sync that waits', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const { next_batch: since } = await bob.sync();
      const waiting = bob.sync({ since, timeout: 20_000 });
      await alice.http.put(path`/_matrix/client/v3/sendToDevice/org.example.test/${'t'}`, {
        messages: { [bob.userId]: { '*': { n: 1 } } },
      });
      expect(((await waiting) as EncryptedSync).to_device?.events).toHaveLength(1);
    });
  });
}

interface EncryptedSync extends SyncAnswer {
  readonly to_device?: { readonly events: readonly Json[] };
  readonly device_lists?: { readonly changed?: readonly string[] };
}

function upload(user: TestUser, body: Json): Promise<Answer<Json>> {
  return user.http.post(`${CLIENT}/keys/upload`, body);
}

function query(user: TestUser, deviceIds: Readonly<Record<string, string[]>>): Promise<Answer<Json>> {
  return user.http.post(`${CLIENT}/keys/query`, { device_keys: deviceIds });
}

/** The ids of the keys that `user` gets of the device of `of`. */
async function claim(user: TestUser, of: TestUser): Promise<string[]> {
  const body = { one_time_keys: { [of.userId]: { [of.deviceId]: CURVE } } };
  const answer = await user.http.post<{ one_time_keys: Record<string, Record<string, Json>> }>(
    `${CLIENT}/keys/claim`,
    body,
  );
  return Object.keys(answer.body.one_time_keys[of.userId]?.[of.deviceId] ?? {});
}

function deviceKeys({ userId, deviceId }: TestUser): Json {
  return {
    user_id: userId,
    device_id: deviceId,
    algorithms: ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2'],
    keys: { [`curve25519:${deviceId}`]: 'c', [`ed25519:${deviceId}`]: 'e' },
    signatures: { [userId]: { [`ed25519:${deviceId}`]: 's' } },
  };
}

/** One-time keys, whose signatures a homeserver does not check. */
function signedKeys({ userId, deviceId }: TestUser, ...ids: string[]): Json {
  const signatures = { [userId]: { [`ed25519:${deviceId}`]: 's' } };
  return Object.fromEntries(ids.map((id) => [`${CURVE}:${id}`, { key: id, signatures }]));
}

/** New keys, those below the master key signed by it, which a homeserver does check. */
function crossSigningKeys({ userId }: TestUser) {
  const master = generateKeyPairSync('ed25519');
  const masterId = `ed25519:${publicKeyOf(master.publicKey)}`;
  const keyFor = (usage: string, publicKey: KeyObject): Json => {
    const key = publicKeyOf(publicKey);
    // In the order of canonical JSON, since that is what is signed.
    return { keys: { [`ed25519:${key}`]: key }, usage: [usage], user_id: userId };
  };
  const signedKey = (usage: string): Json => {
    const key = keyFor(usage, generateKeyPairSync('ed25519').publicKey);
    const signature = unpadded(sign(null, Buffer.from(JSON.stringify(key)), master.privateKey));
    return { ...key, signatures: { [userId]: { [masterId]: signature } } };
  };
  return {
    master_key: keyFor('master', master.publicKey),
    self_signing_key: signedKey('self_signing'),
    user_signing_key: signedKey('user_signing'),
  };
}

function publicKeyOf(key: KeyObject): string {
  return unpadded(key.export({ format: 'der', type: 'spki' }).subarray(-32));
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
