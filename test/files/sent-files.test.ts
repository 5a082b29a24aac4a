import { describe, expect, it } from 'vitest';
import { ManagerLifecycle } from '../../src/core/lifecycle.js';
import type { EventContent } from '../../src/core/raw-event.js';
import { Attachments } from '../../src/files/attachments.js';
import type { FileMessage } from '../../src/files/attachments.js';
import type { SendFileOptions } from '../../src/files/file-options.js';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import { alice, room, sessionOf } from '../messages/support/http-on-script.js';
import { testHomeserver } from '../support/context.js';
import { rejection } from '../support/rejection.js';
import { json } from '../support/scripted-fetch.js';

const { signal } = new AbortController();
const bytes = Buffer.from('the bytes of a file');
const file = { body: bytes, name: 'plan.txt', mimeType: 'text/plain' };

interface Options {
  readonly isEncrypted?: () => Promise<boolean>;
  readonly wasSeenEncrypted?: () => Promise<boolean>;
  /** How many messages are not sent because the room has become encrypted. */
  readonly refused?: number;
}

function setUp({ isEncrypted = async () => false, wasSeenEncrypted = async () => false, refused = 0 }: Options = {}) {
  const lifecycle = new ManagerLifecycle();
  const uploads: Buffer[] = [];
  const paths: string[] = [];
  const held = { upload: Promise.resolve() };
  const connections = fetchTransport(async (input, init) => {
    const request = new Request(input, init);
    const { pathname } = new URL(request.url);
    paths.push(pathname);
    if (pathname.endsWith('/versions')) return json({ versions: ['v1.11'] });
    if (pathname.endsWith('/config')) return json({});
    if (request.method === 'GET') return new Response(bytes, { headers: { 'content-length': String(bytes.length) } });
    uploads.push(Buffer.from(await request.arrayBuffer()));
    await held.upload;
    return json({ content_uri: 'mxc://hs.test/media' });
  }).open();
  const sent: FileMessage[] = [];
  const asked: unknown[] = [];
  const decisions: boolean[] = [];
  const files = new Attachments(testHomeserver({ connections }), {
    maxFileBytes: 100,
    lifecycle,
    isEncrypted: (...question) => {
      asked.push(question);
      return isEncrypted();
    },
    wasSeenEncrypted,
    sendMessage: async (message, encrypted) => {
      decisions.push(encrypted);
      if (decisions.length <= refused) return undefined;
      sent.push(message);
      return { eventId: '$sent' };
    },
  });
  const caller = { session: sessionOf() };
  const send = (more: Partial<SendFileOptions> = {}) =>
    files.send(caller, { userId: alice, roomId: room, file, ...more }, signal);
  return { files, caller, send, sent, decisions, asked, uploads, paths, held, lifecycle };
}

describe('a file', () => {
  it('is uploaded, and its message sent with the txnId and the signal of the call', async () => {
    const { send, sent, asked, uploads, caller } = setUp();
    const controller = new AbortController();
    const outcome = await send({ txnId: 'txn', signal: controller.signal });
    expect(outcome).toEqual({ eventId: '$sent', contentUri: 'mxc://hs.test/media' });
    expect(uploads).toEqual([bytes]);
    expect(asked).toEqual([[caller, room, signal]]);
    expect(sent).toEqual([
      {
        userId: alice,
        roomId: room,
        txnId: 'txn',
        signal: controller.signal,
        content: expect.objectContaining({ msgtype: 'm.file', body: 'plan.txt', url: 'mxc://hs.test/media' }) as object,
      },
    ]);
  });

  it('has the msgtype that the call gives it', async () => {
    const { send, sent } = setUp();
    await send({ msgtype: 'm.audio' });
    expect(sent).toMatchObject([{ content: { msgtype: 'm.audio' } }]);
  });

  it('for an encrypted room is uploaded encrypted, and comes back as it was', async () => {
    const { send, sent, uploads } = setUp({ isEncrypted: async () => true });
    await send();
    expect(uploads[0]).toHaveLength(bytes.length);
    expect(uploads[0]?.equals(bytes)).toBe(false);
    expect(sent).toMatchObject([{ content: { file: { url: 'mxc://hs.test/media', v: 'v2' } } }]);
    expect(sent[0]?.content).not.toHaveProperty('url');
  });

  it('whose room becomes encrypted during the upload is uploaded again, encrypted', async () => {
    const answers = [false, true];
    const { send, sent, uploads, decisions } = setUp({ isEncrypted: async () => answers.shift() === true, refused: 1 });
    await send();
    expect(decisions).toEqual([false, true]);
    expect(uploads.map((upload) => upload.equals(bytes))).toEqual([true, false]);
    expect(sent).toMatchObject([{ content: { file: { v: 'v2' } } }]);
    expect(sent[0]?.content).not.toHaveProperty('url');
  });

  it('whose room is seen encrypted before an attempt to upload it is uploaded encrypted only', async () => {
    const answers = [false, true];
    const isEncrypted = async () => answers.shift() === true;
    const { send, sent, uploads, decisions } = setUp({ isEncrypted, wasSeenEncrypted: async () => true });
    await send();
    expect(decisions).toEqual([true]);
    expect(uploads.map((upload) => upload.equals(bytes))).toEqual([false]);
    expect(sent).toMatchObject([{ content: { file: { v: 'v2' } } }]);
  });

  it('that is a stream is uploaded encrypted if its room is seen encrypted before it is read', async () => {
    const answers = [false, true];
    const isEncrypted = async () => answers.shift() === true;
    const { send, sent, uploads } = setUp({ isEncrypted, wasSeenEncrypted: async () => true });
    const body = (async function* () {
      yield bytes;
    })();
    await send({ file: { ...file, body, size: bytes.length } });
    expect(uploads.map((upload) => upload.equals(bytes))).toEqual([false]);
    expect(sent).toMatchObject([{ content: { file: { v: 'v2' } } }]);
  });

  it('that is a stream cannot be uploaded again when its room becomes encrypted, and says so', async () => {
    const answers = [false, true];
    const { send, sent, uploads } = setUp({ isEncrypted: async () => answers.shift() === true, refused: 1 });
    const body = (async function* () {
      yield bytes;
    })();
    const failure = rejection(send({ file: { ...file, body, size: bytes.length } }));
    expect(await failure).toMatchObject({ code: 'ENCRYPTION_FAILED', userId: alice, roomId: room });
    expect((await failure).message).toContain('became encrypted during the upload');
    expect([sent, uploads]).toEqual([[], [bytes]]);
  });

  it('is not uploaded when its room cannot be sent to', async () => {
    const { send, sent, uploads } = setUp({ isEncrypted: () => Promise.reject(new Error('no encryption')) });
    await expect(send()).rejects.toThrow('no encryption');
    expect([sent, uploads]).toEqual([[], []]);
  });

  it('above maxFileBytes is not uploaded', async () => {
    const { send, sent, uploads } = setUp();
    const failure = rejection(send({ file: { ...file, body: Buffer.alloc(101) } }));
    expect(await failure).toMatchObject({ code: 'FILE_TOO_LARGE' });
    expect([sent, uploads]).toEqual([[], []]);
  });

  it('whose upload ends after the shutdown has begun is not sent', async () => {
    const { send, sent, held, lifecycle } = setUp();
    const { promise, resolve } = Promise.withResolvers<void>();
    held.upload = promise;
    const failure = rejection(send());
    lifecycle.beginShutdown();
    resolve();
    expect(await failure).toMatchObject({ code: 'MANAGER_CLOSED' });
    expect(sent).toEqual([]);
  });
});

describe('a download', () => {
  const content: EventContent = {
    msgtype: 'm.image',
    body: 'plan.png',
    url: 'mxc://hs.test/whole',
    info: { thumbnail_url: 'mxc://hs.test/small' },
  };

  it.each([
    [{}, 'whole'],
    [{ thumbnail: true }, 'small'],
  ])('with %j is the %s file', async (options, mediaId) => {
    const { files, caller, paths } = setUp();
    const downloaded = await files.download(caller.session, { userId: alice, content, ...options }, signal);
    expect(await downloaded.buffer()).toEqual(bytes);
    expect(paths.at(-1)).toBe(`/_matrix/client/v1/media/download/hs.test/${mediaId}`);
  });

  it('is bounded by maxBytes of the call, else by maxFileBytes', async () => {
    const { files, caller } = setUp();
    const download = (more: object = {}) => files.download(caller.session, { userId: alice, content, ...more }, signal);
    expect(await rejection(download({ maxBytes: bytes.length - 1, roomId: room }))).toMatchObject({
      code: 'FILE_TOO_LARGE',
      message: expect.stringContaining(`${bytes.length - 1} bytes`) as string,
    });
    expect((await download()).size).toBe(bytes.length);
  });
});
