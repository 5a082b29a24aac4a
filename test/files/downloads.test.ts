import { createHash, randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import type { EventContent } from '../../src/core/raw-event.js';
import { fetchTransport, globalFetch } from '../../src/http/fetch-transport.js';
import { Session } from '../../src/http/session.js';
import type { Transport } from '../../src/core/ports/transport.js';
import { Attachments } from '../../src/files/attachments.js';
import type { AttachmentsOptions } from '../../src/files/attachments.js';
import { encryptFile } from '../../src/files/encrypted-file.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { undiciTransport } from '../../src/undici/index.js';
import { rejection } from '../support/rejection.js';
import { TransportServer } from '../support/transport-server.js';
import { testHomeserver } from '../support/context.js';

const clear = randomBytes(100_000);
const url = 'mxc://hs.test/file';

async function sealed(): Promise<{ bytes: Buffer; file: EventContent }> {
  const encryption = encryptFile();
  const chunks: Uint8Array[] = [];
  const body = async function* (): AsyncGenerator<Uint8Array> {
    yield clear;
  };
  for await (const chunk of encryption.encrypt(body())) chunks.push(chunk);
  return { bytes: Buffer.concat(chunks), file: { ...encryption.description(url) } };
}

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

interface Says {
  readonly versions?: readonly string[];
  readonly unstable_features?: Readonly<Record<string, boolean>>;
}

/** Downloads from a server that answers every download by `answer`. */
async function setUp(transport: Transport, answer: (response: ServerResponse) => void, says: Says = {}) {
  const asked: string[] = [];
  let ended = false;
  const server = await TransportServer.plain((request, response) => {
    if (request.url === '/_matrix/client/versions') {
      response.end(JSON.stringify({ versions: ['v1.11'], ...says }));
      return;
    }
    asked.push(request.url ?? '');
    response.on('close', () => (ended = true));
    answer(response);
  });
  const connections = transport.open();
  cleanups.push(
    () => server[Symbol.asyncDispose](),
    () => connections.close(),
  );
  const clock = new ManualClock();
  const options = { homeserverUrl: server.origin, connections, clock, requestTimeoutMs: 10_000 };
  const attachments = new Attachments(testHomeserver(options), { maxFileBytes: 1 } as AttachmentsOptions<{
    session: Session;
  }>);
  const credentials = { userId: '@a:x', deviceId: 'D', accessToken: 't' };
  const session = new Session('@a:x', credentials, async () => credentials);
  const download = (content: EventContent, { maxBytes = 1_000_000, thumbnail = false } = {}) =>
    attachments.download(session, { userId: '@a:x', content, maxBytes, thumbnail }, new AbortController().signal);
  return { clock, asked, download, ended: () => server.until(() => ended) };
}

describe.each([
  ['the global fetch', () => fetchTransport(globalFetch)],
  ['undici', () => undiciTransport()],
])('a download over %s', (_name, transport) => {
  it('fails with NETWORK when the connection is cut in the middle, or less comes than was told', async () => {
    const cuts: ((response: ServerResponse) => void)[] = [
      (response) =>
        response.writeHead(200, { 'content-length': '1000' }).write(clear.subarray(0, 500), () => response.destroy()),
      (response) => response.write(clear.subarray(0, 500), () => response.destroy()),
    ];
    for (const cut of cuts) {
      const { download, clock } = await setUp(transport(), cut);
      const error = await rejection((await download({ url })).buffer());
      expect(error).toMatchObject({ code: 'NETWORK', userId: '@a:x' });
      const { stream } = await download({ url });
      expect(await rejection(stream.pipeTo(new WritableStream()))).toMatchObject({ code: 'NETWORK' });
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it('fails with TIMEOUT when nothing flows any more', async () => {
    const { download, clock } = await setUp(transport(), (response) => void response.write('half'));
    const { stream } = await download({ url });
    const reader = stream.getReader();
    expect((await reader.read()).value).toHaveLength(4);
    const rest = rejection(reader.read());
    await clock.advance(10_000);
    expect(await rest).toMatchObject({ code: 'TIMEOUT' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('fails with FILE_TOO_LARGE at once where that is told, else when it is seen, and ends the request', async () => {
    const told = await setUp(transport(), (response) =>
      response.writeHead(200, { 'content-length': '2000' }).write('x'),
    );
    expect(await rejection(told.download({ url }, { maxBytes: 1_999 }))).toMatchObject({ code: 'FILE_TOO_LARGE' });
    await told.ended();
    const untold = await setUp(transport(), (response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(clear));
      };
      response.on('drain', more);
      more();
    });
    const endless = await untold.download({ url }, { maxBytes: 1_999 });
    expect(endless.size).toBeUndefined();
    expect(await rejection(endless.buffer())).toMatchObject({ code: 'FILE_TOO_LARGE' });
    await untold.ended();
    expect(untold.clock.pendingTimers).toBe(0);
  });

  it('counts what a compressed answer unfolds to', async () => {
    const zipped = gzipSync(Buffer.alloc(500_000));
    const headers = { 'content-encoding': 'gzip', 'content-length': `${zipped.byteLength}` };
    const { download } = await setUp(transport(), (response) => response.writeHead(200, headers).end(zipped));
    const got = await download({ url, info: { size: 500_000 } });
    expect(got.size).toBe(500_000);
    expect(await got.buffer()).toHaveLength(500_000);
    const bomb = await download({ url }, { maxBytes: 400_000 });
    expect(await rejection(bomb.buffer())).toMatchObject({ code: 'FILE_TOO_LARGE' });
  });

  it('of an encrypted file fails with FILE_DAMAGED when it was altered, cut, prolonged or emptied', async () => {
    const { bytes, file } = await sealed();
    const altered = Buffer.from(bytes);
    altered[50_000] = (altered[50_000] ?? 0) ^ 1;
    const odd = [altered, bytes.subarray(0, -1), Buffer.concat([bytes, Buffer.from('x')]), Buffer.alloc(0)];
    const good = await setUp(transport(), (response) => response.end(bytes));
    expect(clear.equals(await (await good.download({ file })).buffer())).toBe(true);
    for (const body of odd) {
      const { download } = await setUp(transport(), (response) => response.end(body));
      expect(await rejection((await download({ file })).buffer())).toMatchObject({ code: 'FILE_DAMAGED' });
      const { stream } = await download({ file });
      expect(await rejection(stream.pipeTo(new WritableStream()))).toMatchObject({ code: 'FILE_DAMAGED' });
    }
  });
});

describe('a download', () => {
  const ok = (response: ServerResponse): void => void response.end(clear);

  it.each([
    [{ versions: ['v1.10'] }, '/_matrix/media/v3'],
    [{ versions: ['r0.6.1'] }, '/_matrix/media/v3'],
    [{ versions: ['v1.12-draft', 'rv1.12'] }, '/_matrix/media/v3'],
    [{ versions: ['v1.10', 'v1.11'] }, '/_matrix/client/v1/media'],
    [{ versions: ['v1.16'] }, '/_matrix/client/v1/media'],
    [{ versions: ['v1.10'], unstable_features: { 'org.matrix.msc3916.stable': true } }, '/_matrix/client/v1/media'],
    [{ versions: ['v1.10'], unstable_features: { 'org.matrix.msc3916.stable': false } }, '/_matrix/media/v3'],
  ])('from a homeserver that says %j goes to %s', async (says, prefix) => {
    const { download, asked } = await setUp(fetchTransport(globalFetch), ok, says);
    await (await download({ url })).buffer();
    expect(asked).toEqual([`${prefix}/download/hs.test/file`]);
  });

  it('of a thumbnail takes what the info says of it', async () => {
    const { bytes, file } = await sealed();
    const { download, asked } = await setUp(fetchTransport(globalFetch), (response) => response.end(bytes));
    const content = {
      body: 'photo.png',
      url: 'mxc://hs.test/whole',
      info: { mimetype: 'image/png', thumbnail_file: file, thumbnail_info: { mimetype: 'image/jpeg' } },
    };
    const got = await download(content, { thumbnail: true });
    expect(got).toMatchObject({ name: 'photo.png', mimeType: 'image/jpeg' });
    expect(clear.equals(await got.buffer())).toBe(true);
    const both = { url, info: { thumbnail_url: 'mxc://hs.test/small', thumbnail_file: null, thumbnail_info: null } };
    await (await download(both, { thumbnail: true })).buffer();
    const inTheClear = { info: { thumbnail_url: 'mxc://hs.test/small' } };
    await (await download(inTheClear, { thumbnail: true })).buffer();
    expect(asked).toEqual(['file', 'small', 'small'].map((id) => `/_matrix/client/v1/media/download/hs.test/${id}`));
    for (const none of [{ url }, { url, info: null }, { url, info: { thumbnail_file: {} } }]) {
      expect(await rejection(download(none, { thumbnail: true }))).toMatchObject({ code: 'FILE_DAMAGED' });
    }
  });

  it('may be as large as the limit', async () => {
    const headers = { 'content-length': `${clear.byteLength}` };
    const { download } = await setUp(fetchTransport(globalFetch), (response) =>
      response.writeHead(200, headers).end(clear),
    );
    const limit = { maxBytes: clear.byteLength };
    expect(clear.equals(await (await download({ url }, limit)).buffer())).toBe(true);
    expect((await download({ url }, limit)).size).toBe(clear.byteLength);
  });

  it('flows to its end', async () => {
    const { download } = await setUp(fetchTransport(globalFetch), ok);
    const { stream } = await download({ url });
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(clear.equals(Buffer.concat(chunks))).toBe(true);
  });

  it('has the type that the homeserver says, else the one that the sender says', async () => {
    const info = { mimetype: 'image/gif' };
    const typed = await setUp(fetchTransport(globalFetch), (response) =>
      response.writeHead(200, { 'content-type': 'image/png' }).end(clear),
    );
    expect(await typed.download({ url, info })).toMatchObject({ mimeType: 'image/png' });
    expect(await typed.download({ url })).toMatchObject({ mimeType: 'image/png' });
    const { file } = await sealed();
    expect(await typed.download({ file, info })).toMatchObject({ mimeType: 'image/gif' });
    const untyped = await setUp(fetchTransport(globalFetch), ok);
    expect(await untyped.download({ url, info })).toMatchObject({ mimeType: 'image/gif' });
  });

  it('takes what senders say oddly for not said', async () => {
    const { download } = await setUp(fetchTransport(globalFetch), ok);
    for (const info of [null, 'none', [], { mimetype: 7, size: '12' }]) {
      const got = await download({ url, body: { not: 'text' }, filename: 7, info });
      expect(got).toMatchObject({ name: 'file', mimeType: 'application/octet-stream' });
      await got.stream.cancel();
    }
  });

  it.each([
    '',
    'http://hs.test/file',
    'mxc://',
    'mxc://hs.test',
    'mxc://../file',
    'mxc://./file',
    'mxc://hs.test/..',
    'mxc://a b/file',
    'mxc://a%2fb/file',
    'mxc://hs.test/a/b',
    'mxc://hs.test/f?x=1',
    7,
    null,
    {},
  ])('asks for nothing at the address %j', async (odd) => {
    const { download, asked } = await setUp(fetchTransport(globalFetch), ok);
    expect(await rejection(download({ url: odd }))).toMatchObject({ code: 'FILE_DAMAGED' });
    expect(asked).toEqual([]);
  });

  it('asks for nothing with a description that describes no encrypted file', async () => {
    const { file } = await sealed();
    const { key, ...keyless } = file as { key: EventContent };
    const odd: unknown[] = [
      'file',
      [],
      {},
      keyless,
      { ...file, url: undefined },
      { ...file, url: 'http://hs.test/file' },
      { ...file, v: undefined },
      { ...file, v: 'v1' },
      { ...file, v: 2 },
      { ...file, iv: undefined },
      { ...file, iv: 'AAAA' },
      { ...file, iv: randomBytes(17).toString('base64') },
      { ...file, hashes: undefined },
      { ...file, hashes: {} },
      { ...file, hashes: { sha512: createHash('sha512').digest('base64') } },
      { ...file, hashes: { sha256: 'AAAA' } },
      { ...file, key: { ...key, k: undefined } },
      { ...file, key: { ...key, k: randomBytes(16).toString('base64url') } },
      { ...file, key: { ...key, k: randomBytes(33).toString('base64url') } },
      { ...file, key: { ...key, k: `${String(key['k']).slice(0, -1)} ` } },
      { ...file, key: { ...key, k: `${String(key['k'])} ` } },
      { ...file, key: { ...key, k: ` ${String(key['k'])}` } },
      { ...file, key: { ...key, kty: 'RSA' } },
      { ...file, key: { ...key, alg: 'A128CTR' } },
    ];
    const { download, asked } = await setUp(fetchTransport(globalFetch), ok);
    for (const described of odd) {
      const error = await rejection(download({ file: described, url }));
      expect(error).toMatchObject({ code: 'FILE_DAMAGED' });
      expect(error.message).not.toContain(String(key['k']));
    }
    expect(asked).toEqual([]);
  });

  it('is described without padding, as the specification wants it', async () => {
    const { file } = await sealed();
    const { key, iv, hashes } = file as { key: { k: string }; iv: string; hashes: { sha256: string } };
    expect(key.k).toMatch(/^[\w-]{43}$/);
    expect(iv).toMatch(/^[A-Za-z0-9+/]{22}$/);
    expect(hashes.sha256).toMatch(/^[A-Za-z0-9+/]{43}$/);
  });

  it('reads what other clients pad, or write in the other alphabet', async () => {
    const { bytes, file } = await sealed();
    const { key, iv, hashes } = file as { key: { k: string }; iv: string; hashes: { sha256: string } };
    const padded = (text: string): string => Buffer.from(text, 'base64').toString('base64');
    const described = {
      ...file,
      key: { ...key, k: padded(key.k) },
      iv: padded(iv),
      hashes: { sha256: padded(hashes.sha256) },
    };
    const { download } = await setUp(fetchTransport(globalFetch), (response) => response.end(bytes));
    expect(clear.equals(await (await download({ file: described })).buffer())).toBe(true);
  });
});
