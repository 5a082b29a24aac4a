import type { JsonResponse, Json } from './raw-http.js';
import { path } from './raw-http.js';
import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';

const URL = '/_matrix/client/v3/room_keys';
const BACKUP = { algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2', auth_data: { public_key: 'p' } };

export function keyBackups({ describe, it, expect, world }: Suite): void {
  describe('key backups', () => {
    it('do not exist at first: 404 M_NOT_FOUND', async () => {
      const alice = await (await world()).newUser();
      const none = await alice.http.get(`${URL}/version`);
      expect(none).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
    });

    it('have versions, of which only the newest accepts keys', async () => {
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

    it('return keys by session, by room or all, and keep the better of two keys', async () => {
      const alice = await (await world()).newUser();
      const version = await create(alice);
      const stored = await put(alice, version, '!r:x', { s: key(5), t: key(1) });
      expect(stored).toMatchObject({ status: 200, body: { count: 2 } });
      const worse = await put(alice, version, '!r:x', { s: key(9) });
      expect(worse.body).toEqual(stored.body);
      const better = await put(alice, version, '!r:x', { s: key(2) });
      expect(better.body['count']).toBe(2);
      const get = (url: string): Promise<JsonResponse<Json>> => alice.http.get(url, { version });
      const session = await get(path`/_matrix/client/v3/room_keys/keys/${'!r:x'}/s`);
      expect(session.body).toMatchObject(key(2));
      const room = await get(path`/_matrix/client/v3/room_keys/keys/${'!r:x'}`);
      expect(Object.keys(room.body['sessions'] as Json).toSorted()).toEqual(['s', 't']);
      const all = await get(`${URL}/keys`);
      expect(Object.keys(all.body['rooms'] as Json)).toEqual(['!r:x']);
      const missing = await get(path`/_matrix/client/v3/room_keys/keys/${'!r:x'}/none`);
      expect(missing).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
      expect((await get(path`/_matrix/client/v3/room_keys/keys/${'!other:x'}`)).body).toEqual({ sessions: {} });
    });

    it('prefer a verified key, an earlier one and a more direct one, in any order of uploads', async () => {
      const alice = await (await world()).newUser();
      const version = await create(alice);
      const [verified, first, forwarded] = ['is_verified', 'first_message_index', 'forwarded_count'] as const;
      const base = { ...key(5), [forwarded]: 5 };
      const better = [
        { [verified]: true, [first]: 9, [forwarded]: 9 },
        { [first]: 4, [forwarded]: 9 },
        { [forwarded]: 4 },
      ];
      const worse = [{}, { [first]: 6 }, { [forwarded]: 6 }, { [verified]: false, [first]: 5, [forwarded]: 5 }];
      for (const [n, change] of [...better, ...worse].entries()) {
        const stored = await put(alice, version, '!r:x', { [`s${n}`]: base });
        const again = await put(alice, version, '!r:x', { [`s${n}`]: { ...base, ...change } });
        const isBetter = again.body['etag'] !== stored.body['etag'];
        expect(isBetter, JSON.stringify(change)).toBe(n < better.length);
      }
      // Synapse replaces a key if any one criterion is better, so an earlier key replaces a verified one.
      await put(alice, version, '!r:x', { v: { ...base, [verified]: true } });
      await put(alice, version, '!r:x', { v: { ...base, [first]: 1 } });
      const url = path`/_matrix/client/v3/room_keys/keys/${'!r:x'}/v`;
      expect((await alice.http.get(url, { version })).body).toMatchObject({ [verified]: false, [first]: 1 });
    });

    it('accept keys by room and by session as well, and require the version', async () => {
      const alice = await (await world()).newUser();
      const version = await create(alice);
      const room = path`/_matrix/client/v3/room_keys/keys/${'!r:x'}`;
      const byRoom = await alice.http.put(`${room}?version=${version}`, { sessions: { s: key(0) } });
      expect(byRoom).toMatchObject({ status: 200, body: { count: 1 } });
      const bySession = await alice.http.put(`${room}/t?version=${version}`, key(0));
      expect(bySession).toMatchObject({ status: 200, body: { count: 2 } });
      const info = (await alice.http.get(path`/_matrix/client/v3/room_keys/version/${version}`)).body;
      expect(info).toEqual({ ...BACKUP, version, count: 2, etag: bySession.body['etag'] });
      const missing = { status: 400, body: { errcode: 'M_MISSING_PARAM' } };
      expect(await alice.http.put(`${room}/t`, key(0))).toMatchObject(missing);
      expect(await alice.http.get(room)).toMatchObject(missing);
      expect(await alice.http.delete(room)).toMatchObject(missing);
      const odd = await alice.http.put(`${room}/u?version=${version}`, { ...key(0), is_verified: 'yes' });
      expect(odd).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } });
    });

    it('delete keys by session, by room or all, with a new etag each time', async () => {
      const alice = await (await world()).newUser();
      const version = await create(alice);
      await put(alice, version, '!r:x', { s: key(0), t: key(0) });
      const stored = await put(alice, version, '!q:x', { s: key(0) });
      const etags = [stored.body['etag']];
      const all = async (): Promise<Json> => (await alice.http.get(`${URL}/keys`, { version })).body['rooms'] as Json;
      const remove = async (url: string, left: number): Promise<void> => {
        const answer = await alice.http.delete(`${url}?version=${version}`);
        expect(answer).toMatchObject({ status: 200, body: { count: left } });
        expect(etags).not.toContain(answer.body['etag']);
        etags.push(answer.body['etag']);
      };
      const room = path`/_matrix/client/v3/room_keys/keys/${'!r:x'}`;
      await remove(`${room}/s`, 2);
      await remove(`${room}/s`, 2);
      await remove(`${room}/t`, 1);
      expect(Object.keys(await all())).toEqual(['!q:x']);
      await remove(path`/_matrix/client/v3/room_keys/keys/${'!q:x'}`, 0);
      await put(alice, version, '!r:x', { s: key(0) });
      await remove(`${URL}/keys`, 0);
      expect(await all()).toEqual({});
    });

    it('keep their algorithm at an update, and are deleted with all their keys', async () => {
      const alice = await (await world()).newUser();
      const version = await create(alice);
      const url = path`/_matrix/client/v3/room_keys/version/${version}`;
      const auth_data = { public_key: 'q' };
      expect(await alice.http.put(url, { ...BACKUP, auth_data, version })).toMatchObject({ status: 200, body: {} });
      expect((await alice.http.get(url)).body).toMatchObject({ ...BACKUP, auth_data });
      const refused = { status: 400, body: { errcode: 'M_INVALID_PARAM' } };
      expect(await alice.http.put(url, { ...BACKUP, algorithm: 'other' })).toMatchObject(refused);
      expect(await alice.http.put(url, { ...BACKUP, version: '99' })).toMatchObject(refused);
      await put(alice, version, '!r:x', { s: key(0) });
      expect((await alice.http.delete(url)).status).toBe(200);
      const gone = { status: 404, body: { errcode: 'M_NOT_FOUND' } };
      expect(await alice.http.get(url)).toMatchObject(gone);
      expect(await alice.http.put(url, { ...BACKUP, version })).toMatchObject(gone);
      expect((await alice.http.delete(url)).status).toBe(200);
      expect(await alice.http.delete(`${URL}/version/99`)).toMatchObject(gone);
      expect(await alice.http.get(`${URL}/keys`, { version })).toMatchObject(gone);
      expect(await put(alice, version, '!r:x', { s: key(0) })).toMatchObject(gone);
      expect(Number(await create(alice))).toBeGreaterThan(Number(version));
    });
  });
}

async function create(user: TestUser): Promise<string> {
  return (await user.http.post<{ version: string }>(`${URL}/version`, BACKUP)).body.version;
}

function put(user: TestUser, version: string, roomId: string, sessions: Json): Promise<JsonResponse<Json>> {
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
