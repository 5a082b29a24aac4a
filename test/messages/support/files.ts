import { createHash, randomBytes } from 'node:crypto';
import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import { undiciTransport } from '../../../src/undici/index.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { path } from '../../../src/testing/contracts/homeserver/raw-http.js';
import { Deployment, encryptedRoom } from '../../encryption/support/encrypted-chats.js';

const MIB = 1_048_576;

/** A file of pseudo-random pieces, made as it is read. */
async function* pieces(size: number): AsyncGenerator<Uint8Array> {
  const block = randomBytes(65_536);
  for (let left = size; left > 0; left -= block.byteLength) yield block.subarray(0, Math.min(left, block.byteLength));
}

/** Files between the users of one manager: on a fake homeserver, and a real one. */
export function files(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
  overUndici: boolean,
): void {
  async function setUp() {
    const deployment = new Deployment(await target());
    // undici needs a port: the fake homeserver of these tests has one.
    const manager = deployment.start(overUndici ? { transport: undiciTransport() } : {});
    const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
    return { manager, alice, bob, world: deployment.world };
  }

  it.each(['clear', 'encrypted'])('arrive as they were sent, in a room that is %s', async (kind) => {
    const { manager, alice, bob } = await setUp();
    const roomId =
      kind === 'encrypted'
        ? await encryptedRoom(manager, [alice, bob])
        : await manager.withClient(alice, async (client) => (await client.createRoom({ invite: [bob] })).room_id);
    if (kind === 'clear') await manager.withClient(bob, (client) => client.joinRoom(roomId));
    const body = randomBytes(200_001);
    const file = { body, name: 'a photo é.png', mimeType: 'image/png', info: { w: 3, h: 4 } };
    const { eventId, contentUri } = await manager.sendFile({ userId: alice, roomId, file });
    expect(contentUri).toMatch(/^mxc:/);
    const message = async () =>
      (await manager.getRoomMessages({ userId: bob, roomId })).messages.find((one) => one.eventId === eventId)?.content;
    await expect.poll(message, { timeout: 15_000 }).toMatchObject({
      msgtype: 'm.image',
      body: 'a photo é.png',
      info: { w: 3, h: 4, mimetype: 'image/png', size: body.byteLength },
    });
    const content = (await message()) ?? {};
    expect('file' in content).toBe(kind === 'encrypted');
    expect('url' in content).toBe(kind === 'clear');
    const got = await manager.downloadFile({ userId: bob, roomId, content });
    expect(got).toMatchObject({ name: 'a photo é.png', mimeType: 'image/png', size: body.byteLength });
    expect((await got.buffer()).equals(body)).toBe(true);
    const again = await manager.downloadFile({ userId: bob, content });
    const chunks: Uint8Array[] = [];
    for await (const chunk of again.stream) chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(body)).toBe(true);
    if (kind === 'clear') return;
    const { url } = content['file'] as { url: string };
    const raw = await manager.downloadFile({ userId: bob, content: { url } });
    const sealed = await raw.buffer();
    expect(sealed.byteLength).toBe(body.byteLength);
    expect(sealed.equals(body)).toBe(false);
    const hashes = { sha256: createHash('sha256').update('another').digest('base64') };
    const altered = { ...content, file: { ...(content['file'] as object), hashes } };
    const damaged = await manager.downloadFile({ userId: bob, content: altered });
    await expect(damaged.buffer()).rejects.toMatchObject({ code: 'FILE_DAMAGED' });
    const withThumbnail = { info: { thumbnail_file: content['file'], thumbnail_info: { mimetype: 'image/jpeg' } } };
    const small = await manager.downloadFile({ userId: bob, content: withThumbnail, thumbnail: true });
    expect(small.mimeType).toBe('image/jpeg');
    expect((await small.buffer()).equals(body)).toBe(true);
  });

  it('can be uploaded by the SDK', async () => {
    const { manager, alice } = await setUp();
    const bytes = randomBytes(200_001);
    for (const body of [bytes, new Blob([bytes], { type: 'image/png' })]) {
      const upload = manager.withClient(alice, (client) => client.uploadContent(body as never, { type: 'image/png' }));
      const content = { url: (await upload).content_uri };
      const got = await manager.downloadFile({ userId: alice, content });
      expect((await got.buffer()).equals(bytes)).toBe(true);
    }
  });

  it('flow where their size is given', async () => {
    const { manager, alice } = await setUp();
    const roomId = await encryptedRoom(manager, [alice]);
    const size = 40 * MIB;
    const file = { body: pieces(size), size, name: 'large' };
    const { eventId } = await manager.sendFile({ userId: alice, roomId, file });
    expect(eventId).toMatch(/^\$/);
  });

  it('are refused before anything is uploaded when they are too large', async () => {
    const { manager, alice, world } = await setUp();
    const roomId = await manager.withClient(alice, async (client) => (await client.createRoom({})).room_id);
    const { body } = await world.admin.get('/_matrix/client/v1/media/config');
    const limit = body['m.upload.size'] as number;
    const untouched = async function* (): AsyncGenerator<Uint8Array> {
      yield Promise.reject(new Error('it was read')) as never;
    };
    const tooLarge = { body: untouched(), size: limit + 1, name: 'f' };
    await expect(manager.sendFile({ userId: alice, roomId, file: tooLarge })).rejects.toMatchObject({
      code: 'FILE_TOO_LARGE',
    });
    const lying = { body: pieces(10), size: 20, name: 'f' };
    await expect(manager.sendFile({ userId: alice, roomId, file: lying })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
    });
    const file = { body: pieces(1_000), name: 'f' };
    const { contentUri } = await manager.sendFile({ userId: alice, roomId, file });
    const content = { url: contentUri };
    const small = manager.downloadFile({ userId: alice, content, maxBytes: 999 });
    await expect(small).rejects.toMatchObject({ code: 'FILE_TOO_LARGE' });
    const nothing = manager.downloadFile({ userId: alice, content: { url: 'mxc://hs.test/nothing' } });
    await expect(nothing).rejects.toMatchObject({ code: expect.stringMatching(/NOT_FOUND|HOMESERVER_UNAVAILABLE/) });
    const none = manager.downloadFile({ userId: alice, content: { body: 'no file' } });
    await expect(none).rejects.toMatchObject({ code: 'FILE_DAMAGED' });
    const [, , server = '', mediaId = ''] = contentUri.split('/');
    const url = path`/_matrix/client/v1/media/download/${server}/${mediaId}`;
    expect(await world.anonymous.get(url)).toMatchObject({ status: 401, body: { errcode: 'M_MISSING_TOKEN' } });
  });

  it('end when their caller leaves', async () => {
    const { manager, alice } = await setUp();
    const roomId = await manager.withClient(alice, async (client) => (await client.createRoom({})).room_id);
    const leaving = new AbortController();
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      yield randomBytes(10);
      leaving.abort();
      await new Promise(() => {});
    };
    const file = { body: endless(), size: 1_000, name: 'f' };
    const sending = manager.sendFile({ userId: alice, roomId, file, signal: leaving.signal });
    await expect(sending).rejects.toMatchObject({ code: 'ABORTED' });
    const sent = await manager.sendFile({ userId: alice, roomId, file: { body: pieces(5 * MIB), name: 'f' } });
    const got = await manager.downloadFile({ userId: alice, content: { url: sent.contentUri } });
    await got.stream.cancel();
    const signal = AbortSignal.abort();
    const never = manager.downloadFile({ userId: alice, content: { url: sent.contentUri }, signal });
    await expect(never).rejects.toMatchObject({ code: 'ABORTED' });
  });
}
