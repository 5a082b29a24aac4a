import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';
import type { FakeHomeserverOptions } from '../../src/testing/index.js';
import { allTextOf } from '../support/all-text-of.js';
import { advanceUntil } from '../support/advance-until.js';
import { rejection } from '../support/rejection.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

const UPLOAD = '/_matrix/media/v3/upload';
const DOWNLOAD = '/_matrix/client/v1/media/download/{serverName}/{mediaId}';
const OLD_DOWNLOAD = '/_matrix/media/v3/download/{serverName}/{mediaId}';

async function setUp(options: FakeHomeserverOptions = {}) {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock, ...options });
  const manager = new MatrixClientManager({ homeserverUrl: fake.baseUrl, fetch: fake.fetch, clock });
  open.push(fake, manager);
  const alice = fake.createUser({ username: 'alice' });
  const roomId = fake.createRoom({ creator: alice.userId });
  await manager.startClient(alice);
  const { userId } = alice;
  const body = randomBytes(100_000);
  const send = (file: object = {}, signal?: AbortSignal) =>
    manager.sendFile({ userId, roomId, file: { body, name: 'f', ...file }, ...(signal && { signal }) });
  const messages = (): unknown[] => fake.events(roomId).filter(({ type }) => type === 'm.room.message');
  return { clock, fake, manager, userId, body, send, messages };
}

function throwing(error: Error): PropertyDescriptor {
  return {
    enumerable: true,
    get: () => {
      throw error;
    },
  };
}

async function* streamOf(body: Uint8Array): AsyncGenerator<Uint8Array> {
  yield body;
}

describe('a file', () => {
  it('is read at the old address on a homeserver that speaks no v1.11', async () => {
    const { fake, manager, userId, body, send } = await setUp({ authenticatedMedia: false });
    const { contentUri } = await send();
    const got = await manager.downloadFile({ userId, content: { url: contentUri } });
    expect(body.equals(await got.buffer())).toBe(true);
    expect([fake.countRequests(UPLOAD), fake.countRequests(OLD_DOWNLOAD)]).toEqual([1, 1]);
    expect(fake.countRequests('/_matrix/media/v3/config')).toBe(1);
  });

  it('is uploaded again when the homeserver says, and stands in one message', async () => {
    const { clock, fake, manager, userId, body, send, messages } = await setUp();
    fake.faults.rateLimit({ endpoint: UPLOAD, times: 1 }, { retryAfterMs: 7_000 });
    fake.faults.drop({ endpoint: UPLOAD, after: 1, times: 1 });
    fake.faults.dropAfter({ endpoint: UPLOAD, after: 2, times: 1 });
    const start = clock.now();
    const { contentUri } = await advanceUntil(clock, send());
    expect(clock.now() - start).toBeGreaterThanOrEqual(7_000);
    expect([fake.countRequests(UPLOAD), messages().length]).toEqual([4, 1]);
    const got = await manager.downloadFile({ userId, content: { url: contentUri } });
    expect(body.equals(await got.buffer())).toBe(true);
  });

  it.each([
    ['\u0444\u0430\u0439\u043b \ud83d\udcc4 & "100%" #1?.txt', 'text/plain; charset=utf-8'],
    ['a\\b/c', 'application/vnd.oasis.opendocument.text'],
    ['x', 'multipart/form-data; boundary="a b"; x=y'],
    ['..', 'image/svg+xml'],
  ])('of the name %j and the type %j keeps both', async (name, mimeType) => {
    const { fake, manager, userId, body, send, messages } = await setUp();
    await send({ name, mimeType });
    const upload = fake.requests.find(({ endpoint }) => endpoint === UPLOAD);
    expect(upload?.query['filename']).toBe(name);
    const [message] = messages() as { content: Record<string, unknown> }[];
    const got = await manager.downloadFile({ userId, content: message?.content ?? {} });
    expect([got.name, got.mimeType, body.equals(await got.buffer())]).toEqual([name, mimeType, true]);
  });

  it.each<[string, object]>([
    ['half an emoji in the name', { name: 'a\ud83d.txt' }],
    ['a line break in the name', { name: 'a\nb' }],
    ['a NUL in the name', { name: 'a\u0000b' }],
    ['a C1 control character in the name', { name: 'a\u0085b' }],
    ['no name', { name: '' }],
    ['a type without a half', { mimeType: 'image' }],
    ['a type with a line break', { mimeType: 'text/plain\r\nx-evil: 1' }],
    ['a type that is not Latin', { mimeType: 'text/\u0444\u0430\u0439\u043b' }],
    ['a type in Latin-1', { mimeType: 'text/\u00fc' }],
    ['half an emoji in the type', { mimeType: 'text/\ud83d' }],
    ['a type with an open quotation', { mimeType: 'text/plain; a="b' }],
    ['a type without end', { mimeType: `a/${'b'.repeat(300)}` }],
    ['an empty type', { mimeType: '' }],
  ])('with %s is INVALID_OPTIONS before any request', async (_what, file) => {
    const { fake, send } = await setUp();
    fake.clearRequests();
    expect(await rejection(send(file))).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(fake.requests.filter(({ endpoint }) => endpoint !== '/sync')).toEqual([]);
  });

  it('whose description is null beside an address is the file at the address', async () => {
    const { manager, userId, body, send } = await setUp();
    const { contentUri } = await send();
    const got = await manager.downloadFile({ userId, content: { url: contentUri, file: null, info: null } });
    expect(body.equals(await got.buffer())).toBe(true);
    const neither = manager.downloadFile({ userId, content: { url: null, file: null } });
    expect(await rejection(neither)).toMatchObject({ code: 'FILE_DAMAGED' });
  });

  it('that comes as a stream is uploaded once, and its error says why', async () => {
    const { fake, body, send, messages } = await setUp();
    fake.faults.rateLimit({ endpoint: UPLOAD, times: 1 }, { retryAfterMs: 7_000 });
    const error = await rejection(send({ body: streamOf(body), size: body.byteLength }));
    expect(error).toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 7_000, errcode: 'M_LIMIT_EXCEEDED' });
    expect(error.message).toContain('the file was given as a stream');
    expect([fake.countRequests(UPLOAD), messages().length]).toEqual([1, 0]);
  });

  it('that is read into memory first is uploaded again', async () => {
    const { clock, fake, body, send } = await setUp();
    fake.faults.rateLimit({ endpoint: UPLOAD, times: 1 }, { retryAfterMs: 1_000 });
    await advanceUntil(clock, send({ body: streamOf(body) }));
    expect(fake.countRequests(UPLOAD)).toBe(2);
  });

  it.each([
    ['flows', { size: 100_000 }],
    ['is read into memory', {}],
  ])('whose stream fails is INVALID_OPTIONS with the cause, where it %s', async (_how, size) => {
    const { fake, send } = await setUp();
    const cause = new Error('ENOENT: no such file');
    const failing = async function* (): AsyncGenerator<Uint8Array> {
      yield randomBytes(10);
      throw cause;
    };
    const error = await rejection(send({ body: failing(), ...size }));
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS', cause });
    expect(error.message).toContain('`file.body` could not be read: ENOENT: no such file');
    expect(fake.countRequests(UPLOAD)).toBeLessThan(2);
  });

  it.each([5, null, 'secret text', {}, [1]])('whose body is %j is refused before any request', async (bad) => {
    const { fake, send } = await setUp();
    const before = new Set(fake.requests);
    const error = await rejection(send({ body: bad }));
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(error.message).toMatch(/^expected `file.body` of sendFile\(\) to be a Uint8Array, a stream or/);
    expect(error.message).not.toContain('secret');
    const own = fake.requests.filter((request) => !before.has(request) && !request.endpoint?.endsWith('/sync'));
    expect(own).toEqual([]);
  });

  it.each([
    ['file', (cause: Error) => Object.defineProperty({}, 'file', throwing(cause))],
    ['body', (cause: Error) => ({ file: Object.defineProperty({ name: 'f' }, 'body', throwing(cause)) })],
  ])('whose option `%s` throws when it is read is refused with the cause', async (_name, options) => {
    const { manager, userId } = await setUp();
    const cause = new Error('no such row');
    const sending = manager.sendFile(Object.assign(options(cause), { userId, roomId: '!r:x' }) as never);
    expect(await rejection(sending)).toMatchObject({ code: 'INVALID_OPTIONS', cause });
  });

  it('whose stream yields text is refused with an error that does not contain the text', async () => {
    const { send } = await setUp();
    const error = await rejection(send({ body: Readable.from(['secret text']) }));
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(error.message).toContain('expected chunks of bytes');
    expect(allTextOf(error)).not.toContain('secret text');
  });

  it('whose body throws when it is read is refused with the cause', async () => {
    const { send } = await setUp();
    const cause = new Error('no such property');
    const hostile = new Proxy(
      {},
      {
        get: () => {
          throw cause;
        },
      },
    );
    expect(await rejection(send({ body: hostile }))).toMatchObject({ code: 'INVALID_OPTIONS', cause });
  });

  it.each<[string, string, (made: Awaited<ReturnType<typeof setUp>>) => object]>([
    ['is too large', 'FILE_TOO_LARGE', () => ({ size: 1_000_000_000 })],
    ['has a bad name', 'INVALID_OPTIONS', () => ({ name: '' })],
    [
      'is refused',
      'FORBIDDEN',
      ({ fake }) => {
        fake.faults.status({ endpoint: '/_matrix/client/v1/media/config' }, { status: 403, errcode: 'M_FORBIDDEN' });
        return { size: 5 };
      },
    ],
    ['breaks off', 'INVALID_OPTIONS', () => ({ size: 5 })],
    [
      'comes after the shutdown',
      'MANAGER_CLOSED',
      ({ manager }) => {
        void manager.shutdown();
        return {};
      },
    ],
  ])('that %s leaves no stream open, whatever kind it is', async (_how, code, prepare) => {
    const { clock, send, ...rest } = await setUp();
    const file = prepare({ clock, send, ...rest });
    const closed: string[] = [];
    const web = new ReadableStream({
      pull: (controller) => controller.enqueue(randomBytes(10)),
      cancel: () => void closed.push('web'),
    });
    const node = new Readable({ read: () => node.push(randomBytes(10)) });
    node.once('close', () => closed.push('node'));
    const generator: AsyncIterable<Uint8Array> & { return: () => never } = {
      async *[Symbol.asyncIterator]() {
        yield randomBytes(10);
      },
      return: () => {
        closed.push('generator');
        throw new Error('is contained');
      },
    };
    for (const body of [web, node, generator]) {
      expect(await rejection(advanceUntil(clock, send({ body, ...file })))).toMatchObject({ code });
    }
    await new Promise((resolve) => setImmediate(resolve));
    expect(closed.toSorted()).toEqual(['generator', 'node', 'web']);
  });

  it('is not waited for by who has left', async () => {
    const { clock, fake, send, messages } = await setUp();
    fake.faults.rateLimit({ endpoint: UPLOAD }, { retryAfterMs: 30_000 });
    const leaving = new AbortController();
    const sending = rejection(send({}, leaving.signal));
    await clock.advance(1_000);
    leaving.abort();
    expect(await sending).toMatchObject({ code: 'ABORTED' });
    await clock.advance(60_000);
    expect([fake.countRequests(UPLOAD), messages()]).toEqual([1, []]);
  });

  it('is asked for again when the homeserver is busy, and fails with NETWORK when it breaks off', async () => {
    const { clock, fake, manager, userId, body, send } = await setUp();
    const { contentUri } = await send();
    const download = () => manager.downloadFile({ userId, content: { url: contentUri } });
    fake.faults.rateLimit({ endpoint: DOWNLOAD, times: 1 }, { retryAfterMs: 2_000 });
    const got = await advanceUntil(clock, download());
    expect(body.equals(await got.buffer())).toBe(true);
    expect(fake.countRequests(DOWNLOAD)).toBe(2);
    fake.faults.cutBody({ endpoint: DOWNLOAD });
    expect(await rejection((await download()).buffer())).toMatchObject({ code: 'NETWORK', userId });
  });
});
