import { randomBytes } from 'node:crypto';
import { path } from './raw-http.js';
import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';

const MEDIA = '/_matrix/client/v1/media';

export function media({ describe, it, expect, world }: Suite): void {
  describe('media', () => {
    it('have a maximum size, which only users can read', async () => {
      const { anonymous, newUser } = await bound(world);
      const { body } = await (await newUser()).http.get(`${MEDIA}/config`);
      expect(body['m.upload.size']).toBeGreaterThan(1_000_000);
      expect((await anonymous.get(`${MEDIA}/config`)).status).toBe(401);
    });

    it('are stored unchanged, and returned to users', async () => {
      const { anonymous, newUser } = await bound(world);
      const [alice, bob] = [await newUser(), await newUser()];
      const bytes = randomBytes(1_000);
      const { content_uri: uri } = (await (await upload(alice, bytes)).json()) as { content_uri: string };
      expect(uri).toMatch(/^mxc:\/\/[^/]+\/[A-Za-z]+$/);
      const [, , server = '', mediaId = ''] = uri.split('/');
      const url = path`/_matrix/client/v1/media/download/${server}/${mediaId}`;
      const got = await raw(bob, url, {});
      expect(got.headers.get('content-type')).toBe('image/png');
      expect(got.headers.get('content-length')).toBe('1000');
      expect(Buffer.from(await got.arrayBuffer()).equals(bytes)).toBe(true);
      expect(await anonymous.get(url)).toMatchObject({ status: 401, body: { errcode: 'M_MISSING_TOKEN' } });
      const none = path`/_matrix/client/v1/media/download/${server}/${'nothing'}`;
      expect(await bob.http.get(none)).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
    });

    it('cannot be downloaded at the older paths without a token: 404 M_NOT_FOUND', async () => {
      const { anonymous, newUser } = await bound(world);
      const alice = await newUser();
      const { content_uri: uri } = (await (await upload(alice, randomBytes(10))).json()) as { content_uri: string };
      const [, , server = '', mediaId = ''] = uri.split('/');
      const old = path`/_matrix/media/v3/download/${server}/${mediaId}`;
      expect(await anonymous.get(old)).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
      expect(await alice.http.get(old)).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } });
      const { body: config } = await alice.http.get('/_matrix/media/v3/config');
      expect(config).toEqual((await alice.http.get(`${MEDIA}/config`)).body);
    });

    it('need a Content-Length', async () => {
      const alice = await (await bound(world)).newUser();
      const answer = await upload(alice, ReadableStream.from([randomBytes(10)]));
      expect(answer.status).toBe(400);
      expect(await answer.json()).toMatchObject({ error: 'Request must specify a Content-Length' });
    });
  });
}

async function bound(world: Suite['world']) {
  const ready = await world();
  return { anonymous: ready.anonymous, newUser: () => ready.newUser() };
}

function upload(user: TestUser, body: Uint8Array | ReadableStream): Promise<Response> {
  const length = body instanceof Uint8Array ? { 'content-length': String(body.byteLength) } : {};
  const headers = { 'content-type': 'image/png', ...length };
  const init = { method: 'POST', headers, body, duplex: 'half' } as RequestInit;
  return raw(user, '/_matrix/media/v3/upload', init);
}

function raw({ http }: TestUser, url: string, init: RequestInit): Promise<Response> {
  const fetch = http.target.fetch ?? globalThis.fetch;
  const headers = { ...(init.headers as Record<string, string>), authorization: `Bearer ${http.accessToken ?? ''}` };
  return fetch(http.target.baseUrl + url, { ...init, headers });
}
