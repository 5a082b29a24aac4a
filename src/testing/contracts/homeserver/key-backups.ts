import type { Answer, Json } from './raw-http.js';
import { path } from './raw-http.js';
import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';

const URL = '/_matrix/client/v3/room_keys';
const BACKUP = { algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2', auth_data: { public_key: 'p' } };

export function keyBackups({ describe, it, expect, world }: Suite): void {
  describe('key backups', () => {
    it('are none at first: 404 M_NOT_FOUND', async () => {
      const alice = await (await world()).newUser();
      const none = await alice.http.get(`${URL}/version`);
      expect(none).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
    });

    it('have versions, of which the newest takes keys', async () => {
      const alice = await (await world()).newUser();
      const first = await create(alice);
      const second = await create(alice);
      const newest = await alice.http.get(`${URL}/version`);
      expect(newest.body).toMatchObject({ ...BACKUP, version: second, count: 0 });
      const wrong = await put(alice, first, '!r:x', { s: key(0) });
      expect(wrong).toMatchObject({ status: 403, body: { errcode: 'M_WRONG_ROOM_KEYS_VERSION' } });
      expect(await put(alice, '99', '!r:x', { s: key(0) })).toMatchObject({ status: 404 });
      expect((await put(alice, second, '!r:x', { s: key(0) })).body['count']).toBe(1);
      expect((await alice.http.delete(path`/_matrix/client/v3/room_keys/version/${second}`)).status).toBe(200);
      expect((await alice.http.get(`${URL}/version`)).body['version']).toBe(first);
    });

    it('give back keys by session, by room and all, and keep the better of two', async () => {
      const alice = await (await world()).newUser();
      const version = await create(alice);
      const stored = await put(alice, version, '!r:x', { s: key(5), t: key(1) });
      expect(stored).toMatchObject({ status: 200, body: { count: 2 } });
      const worse = await put(alice, version, '!r:x', { s: key(9) });
      expect(worse.body).toEqual(stored.body);
      const better = await put(alice, version, '!r:x', { s: key(2) });
      expect(better.body['count']).toBe(2);
      const get = (url: string): Promise<Answer<Json>> => alice.http.get(url, { version });
      const session = await get(path`/_matrix/client/v3/room_keys/keys/${'!r:x'}/s`);
      expect(session.body).toMatchObject(key(2));
      const room = await get(path`/_matrix/client/v3/room_keys/keys/${'!r:x'}`);
      expect(Object.keys(room.body['sessions'] as Json).toSorted()).toEqual(['s', 't']);
      const all = await get(`${URL}/keys`);
      expect(Object.keys(all.body['rooms'] as Json)).toEqual(['!r:x']);
      const missing = await get(path`/_matrix/client/v3/room_keys/keys/${'!r:x'}/none`);
      expect(missing).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
    });
  });
}

async function create(user: TestUser): Promise<string> {
  return (await user.http.post<{ version: string }>(`${URL}/version`, BACKUP)).body.version;
}

function put(user: TestUser, version: string, roomId: string, sessions: Json): Promise<Answer<Json>> {
  return user.http.put(`${URL}/keys?version=${version}`, { rooms: { [roomId]: { sessions } } });
}

function key(firstMessageIndex: number): Json {
  return {
    first_message_index: firstMessageIndex,
    forwarded_count: 0,
    is_verified: false,
    session_data: { ciphertext: `${firstMessageIndex}` },
  };
}
