import { describe, expect, it } from 'vitest';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import { Attachments } from '../../src/files/attachments.js';
import type { OutgoingFile } from '../../src/files/file-options.js';
import { ManagerLifecycle } from '../../src/core/lifecycle.js';
import type { EventContent } from '../../src/core/raw-event.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { advanceUntil } from '../support/advance-until.js';
import { rejection } from '../support/rejection.js';
import { json, matrixError } from '../support/scripted-fetch.js';
import { alice, room, sessionOf } from '../messages/support/http-on-script.js';
import { testHomeserver } from '../support/context.js';

const contentUri = 'mxc://hs.test/uploaded';

interface Answers {
  readonly config?: () => Response;
  readonly upload?: () => Response;
}

/** Uploads to a homeserver that answers so; an upload is kept with the bytes that came. */
function setUp({ config = () => json({}), upload = () => json({ content_uri: contentUri }) }: Answers = {}) {
  const clock = new ManualClock();
  const uploads: { url: URL; method: string; headers: Headers; bytes: Buffer }[] = [];
  let configs = 0;
  const connections = fetchTransport(async (input, init) => {
    const request = new Request(input, init);
    const url = new URL(request.url);
    if (url.pathname === '/_matrix/client/versions') return json({ versions: ['v1.11'] });
    if (url.pathname === '/_matrix/client/v1/media/config') {
      configs++;
      return config();
    }
    const bytes = Buffer.from(await request.arrayBuffer());
    uploads.push({ url, method: request.method, headers: request.headers, bytes });
    return upload();
  }).open();
  const options = { homeserverUrl: 'https://hs.test', connections, clock, requestTimeoutMs: 10_000 };
  const { signal } = new AbortController();
  const sent: EventContent[] = [];
  const how = { encrypted: false, maxFileBytes: 1_000_000 };
  const attachments = new Attachments(testHomeserver(options), {
    get maxFileBytes() {
      return how.maxFileBytes;
    },
    lifecycle: new ManagerLifecycle(),
    isEncrypted: async () => how.encrypted,
    wasSeenEncrypted: async () => false,
    sendMessage: async ({ content }) => {
      sent.push(content);
      return { eventId: '$sent' };
    },
  });
  const send = async (
    part: Partial<OutgoingFile>,
    {
      encrypted = false,
      maxBytes = 1_000_000,
      msgtype,
    }: { encrypted?: boolean; maxBytes?: number; msgtype?: string } = {},
  ) => {
    Object.assign(how, { encrypted, maxFileBytes: maxBytes });
    const file = { body: Buffer.from('hello'), name: 'f', ...part };
    const message = { userId: alice, roomId: room, file, msgtype };
    const { contentUri } = await advanceUntil(clock, attachments.send({ session: sessionOf(alice) }, message, signal));
    return { content: sent.at(-1) ?? {}, contentUri };
  };
  return { send, uploads, configs: () => configs };
}

async function* streamOf(...chunks: string[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

/** Each form of a body, with and without its size where that may be left out. */
const forms: [string, (text: string) => Partial<OutgoingFile>][] = [
  ['bytes', (text) => ({ body: Buffer.from(text) })],
  ['bytes with their size', (text) => ({ body: Buffer.from(text), size: text.length })],
  ['a stream', (text) => ({ body: streamOf(text.slice(0, 2), text.slice(2)) })],
  ['a stream with its size', (text) => ({ body: streamOf(text.slice(0, 2), text.slice(2)), size: text.length })],
];

describe.each(forms)('a file that is %s', (form, file) => {
  it('is uploaded whole up to the limit, and is FILE_TOO_LARGE beyond it with nothing uploaded', async () => {
    const { send, uploads } = setUp();
    const { content } = await send(file('hello'), { maxBytes: 5 });
    expect(content).toMatchObject({ info: { size: 5, mimetype: 'application/octet-stream' }, url: contentUri });
    expect(uploads.map(({ bytes }) => bytes.toString())).toEqual(['hello']);
    expect(uploads[0]?.headers.get('content-length')).toBe('5');
    expect(await rejection(send(file('hello!'), { maxBytes: 5 }))).toMatchObject({ code: 'FILE_TOO_LARGE' });
    expect(uploads).toHaveLength(1);
  });

  it('may be empty', async () => {
    const { send, uploads } = setUp();
    expect((await send(file(''))).content).toMatchObject({ info: { size: 0 } });
    expect(uploads[0]?.bytes).toHaveLength(0);
  });

  it('is held to the smaller one of the limits of homeserver and caller', async () => {
    const { send, uploads } = setUp({ config: () => json({ 'm.upload.size': 4 }) });
    expect(await rejection(send(file('hello'), { maxBytes: 5 }))).toMatchObject({ code: 'FILE_TOO_LARGE' });
    expect(await rejection(send(file('four'), { maxBytes: 3 }))).toMatchObject({ code: 'FILE_TOO_LARGE' });
    expect(uploads).toEqual([]);
    await send(file('four'), { maxBytes: 5 });
    expect(uploads).toHaveLength(1);
  });

  it('is uploaded in the clear or encrypted, and only in the clear with its name and type', async () => {
    const { send, uploads } = setUp();
    const described = { ...file('hello'), name: 'a b', mimeType: 'text/plain' };
    const clear = await send(described);
    const sealed = await send({ ...file('hello'), name: 'a b', mimeType: 'text/plain' }, { encrypted: true });
    expect(uploads.map(({ method, url, headers }) => [method, url.href, headers.get('content-type')])).toEqual([
      ['POST', 'https://hs.test/_matrix/media/v3/upload?filename=a%20b', 'text/plain'],
      ['POST', 'https://hs.test/_matrix/media/v3/upload', 'application/octet-stream'],
    ]);
    expect(uploads[1]?.bytes).toHaveLength(5);
    expect(uploads[1]?.bytes.toString()).not.toBe('hello');
    const told = { body: 'a b', filename: 'a b', msgtype: 'm.file', info: { mimetype: 'text/plain', size: 5 } };
    expect(clear).toEqual({ content: { ...told, url: contentUri }, contentUri });
    expect(sealed.content).toEqual({ ...told, file: expect.objectContaining({ url: contentUri, v: 'v2' }) });
    // As other clients check it before they import the key.
    expect(sealed.content['file']).toMatchObject({ key: { key_ops: ['encrypt', 'decrypt'], ext: true } });
  });
});

describe('a file to be uploaded', () => {
  it.each([
    ['bytes, which are fewer', { body: Buffer.from('hello'), size: 6 }, 0],
    ['bytes, which are more', { body: Buffer.from('hello'), size: 4 }, 0],
    ['a stream, which is shorter', { body: streamOf('hel', 'lo'), size: 6 }, 1],
    ['a stream, which is longer', { body: streamOf('hel', 'lo'), size: 4 }, 1],
  ])('with another size than that of %s, is INVALID_OPTIONS', async (_form, file, begun) => {
    const { send, uploads } = setUp();
    expect(await rejection(send(file))).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(uploads.length).toBeLessThanOrEqual(begun);
  });

  it('that does not end is read no further than its size', async () => {
    let read = 0;
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      for (; read < 1_000; read++) yield Buffer.from('x');
    };
    const { send } = setUp();
    expect(await rejection(send({ body: endless(), size: 4 }))).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(read).toBeLessThan(10);
  });

  it.each([undefined, null, 'text', 7, {}, [1], new ArrayBuffer(3)])(
    'with the body %s is INVALID_OPTIONS',
    async (body) => {
      const { send, uploads } = setUp();
      expect(await rejection(send({ body: body as never }))).toMatchObject({ code: 'INVALID_OPTIONS' });
      expect(uploads).toEqual([]);
    },
  );

  it.each([
    ['image/png', 'm.image'],
    ['video/mp4', 'm.video'],
    ['audio/ogg; codecs=opus', 'm.audio'],
    ['text/plain', 'm.file'],
    ['imagery/x', 'm.file'],
  ])('of the type %s is an %s, unless the caller says what', async (mimeType, msgtype) => {
    const { send } = setUp();
    expect((await send({ mimeType })).content).toMatchObject({ msgtype });
    expect((await send({ mimeType }, { msgtype: 'm.sticker' })).content).toMatchObject({ msgtype: 'm.sticker' });
  });

  it('says of itself what the caller adds, and its size and type as they are', async () => {
    const { send } = setUp();
    const { content } = await send({ info: { w: 3, size: 99, mimetype: 'x/y' }, mimeType: 'image/png' });
    expect(content['info']).toEqual({ w: 3, size: 5, mimetype: 'image/png' });
  });

  it.each([{}, { content_uri: 'http://hs.test/x' }, { content_uri: 7 }, 'text', null])(
    'is INVALID_RESPONSE where the homeserver answers %j',
    async (answer) => {
      const { send } = setUp({ upload: () => json(answer) });
      const error = await rejection(send({}));
      expect(error).toMatchObject({ code: 'INVALID_RESPONSE', status: 200 });
      expect(error.message).toContain('uploading a file');
    },
  );

  it('is INVALID_RESPONSE where the answer is no JSON', async () => {
    const { send } = setUp({ upload: () => new Response('<html>') });
    expect(await rejection(send({}))).toMatchObject({ code: 'INVALID_RESPONSE' });
  });
});

describe('the upload limit of a homeserver', () => {
  it.each([{ 'm.upload.size': 1_000 }, {}, { 'm.upload.size': null }, { 'm.upload.size': 'much' }])(
    'is asked for once, where it says %j',
    async (says) => {
      const { send, uploads, configs } = setUp({ config: () => json(says) });
      await send({});
      await send({});
      expect([uploads.length, configs()]).toEqual([2, 1]);
    },
  );

  it.each([
    ['is not served', () => matrixError(404, 'M_NOT_FOUND')],
    ['is not known', () => matrixError(404, 'M_UNRECOGNIZED')],
    ['comes as something else', () => json(['no object'])],
  ])('that %s keeps nothing from being uploaded, and is asked for again', async (_how, config) => {
    const { send, uploads, configs } = setUp({ config });
    await send({});
    const asked = configs();
    await send({});
    expect(uploads).toHaveLength(2);
    expect(configs()).toBeGreaterThan(asked);
  });

  it('is asked for again when it fails for a moment', async () => {
    let asked = 0;
    const config = (): Response => (asked++ === 0 ? matrixError(502, 'M_UNKNOWN') : json({ 'm.upload.size': 4 }));
    const { send, uploads } = setUp({ config });
    expect(await rejection(send({}))).toMatchObject({ code: 'FILE_TOO_LARGE' });
    expect([asked, uploads.length]).toEqual([2, 0]);
  });

  it('that the user may not ask for is the error of the call', async () => {
    const { send, uploads } = setUp({ config: () => matrixError(403, 'M_FORBIDDEN') });
    expect(await rejection(send({}))).toMatchObject({ code: 'FORBIDDEN' });
    expect(uploads).toEqual([]);
  });
});
