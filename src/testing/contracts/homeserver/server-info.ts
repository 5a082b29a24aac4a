import { path, RawHttp } from './raw-http.js';
import type { Suite } from './test-api.js';

export function serverInfo({ describe, it, expect, world }: Suite): void {
  describe('server information', () => {
    it('names its versions to anyone', async () => {
      const { anonymous } = await world();
      const answer = await anonymous.get<{ versions: string[] }>('/_matrix/client/versions');
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
      for (const version of ['v1.1', 'v1.4', 'v1.11']) expect(answer.body.versions).toContain(version);
    });

    it('offers login with a password', async () => {
      const { anonymous } = await world();
      const { body } = await anonymous.get<{ flows: object[] }>('/_matrix/client/v3/login');
      expect(body.flows).toContainEqual({ type: 'm.login.password' });
    });

    it('tells its capabilities to users only', async () => {
      const { anonymous } = await world();
      const user = await (await world()).newUser();
      const answer = await user.http.get<{ capabilities: object }>('/_matrix/client/v3/capabilities');
      expect(answer.status).toBe(200);
      expect(answer.body.capabilities).toMatchObject({ 'm.change_password': {}, 'm.room_versions': {} });
      expect((await anonymous.get('/_matrix/client/v3/capabilities')).status).toBe(401);
    });

    it('has push rules for a new user', async () => {
      const user = await (await world()).newUser();
      const answer = await user.http.get<{ global: object }>('/_matrix/client/v3/pushrules/');
      expect(answer.status).toBe(200);
      for (const kind of ['content', 'override', 'room', 'sender', 'underride']) {
        expect(Object.keys(answer.body.global)).toContain(kind);
      }
    });

    it('answers 404 M_UNRECOGNIZED to a path that it does not serve', async () => {
      const { anonymous, admin } = await world();
      const unknown = [
        '/_matrix/client/v3/no_such_thing',
        '/_matrix/client/v1/auth_metadata',
        '/_synapse/admin/v2/no_such_thing',
      ];
      for (const url of unknown) {
        for (const http of [anonymous, admin]) {
          expect(await http.get(url), url).toMatchObject({ status: 404, body: { errcode: 'M_UNRECOGNIZED' } });
        }
      }
    });

    it('answers 405 M_UNRECOGNIZED to a known path with another method', async () => {
      const { admin } = await world();
      const answer = await admin.put('/_matrix/client/v3/sync');
      expect(answer).toMatchObject({ status: 405, body: { errcode: 'M_UNRECOGNIZED' } });
    });
  });

  describe('tokens', () => {
    const urls = [
      '/_matrix/client/v3/sync',
      '/_matrix/client/v3/account/whoami',
      path`/_synapse/admin/v2/users/${'@a:b'}`,
      '/_synapse/admin/v2/users',
    ];

    it('refuses a request without a token: 401 M_MISSING_TOKEN', async () => {
      const { anonymous } = await world();
      for (const url of urls) {
        expect(await anonymous.get(url), url).toMatchObject({ status: 401, body: { errcode: 'M_MISSING_TOKEN' } });
      }
    });

    it('refuses an unknown token: 401 M_UNKNOWN_TOKEN, soft_logout false', async () => {
      const impostor = new RawHttp((await world()).target, 'syt_unknown');
      for (const url of urls) {
        const answer = await impostor.get(url);
        expect(answer, url).toMatchObject({ status: 401, body: { errcode: 'M_UNKNOWN_TOKEN', soft_logout: false } });
      }
    });
  });
}
