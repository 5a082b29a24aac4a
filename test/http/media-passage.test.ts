import { describe, expect, it } from 'vitest';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { openGate } from '../../src/core/ports/request-gate.js';
import type { RequestGate } from '../../src/core/ports/request-gate.js';
import { MediaHttp } from '../../src/http/media-http.js';
import type { MediaResponse, MediaRequest } from '../../src/http/media-http.js';
import { Session } from '../../src/http/session.js';
import type { OpenTransport, Fetch } from '../../src/core/ports/transport.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { advanceUntil } from '../support/advance-until.js';
import { recordedDiagnostics } from '../support/recorded-diagnostics.js';
import { rejection } from '../support/rejection.js';
import { fetchFailed, hang, hangForEver, json, matrixError, ScriptedFetch } from '../support/scripted-fetch.js';
import { testHomeserver } from '../support/context.js';

const userId = '@alice:hs';
const roomId = '!r:hs';
const credentials = { userId, accessToken: 'token-1', deviceId: 'D' };
const dead = (): Response => matrixError(401, 'M_UNKNOWN_TOKEN');
const away = (to: string): Response => new Response(null, { status: 307, headers: { location: to } });

/** What a request tells a gate and the diagnostics, in order. */
function setUp(
  answers: ConstructorParameters<typeof ScriptedFetch>,
  gate: Partial<RequestGate> = {},
  own: Partial<OpenTransport> = {},
) {
  const clock = new ManualClock();
  const script = new ScriptedFetch(...answers);
  const told: unknown[] = [];
  const media = new MediaHttp(
    testHomeserver({
      homeserverUrl: 'http://hs/matrix//',
      connections: { ...script.connections, ...own },
      clock,
      requestTimeoutMs: 10_000,
      gate: { ...openGate, record: (outcome) => told.push(['recorded', outcome]), ...gate },
      diagnostics: recordedDiagnostics(told),
    }),
  );
  const leaving = new AbortController();
  const renewal = { times: 0, of: async () => ({ ...credentials, accessToken: 'token-2' }) };
  const session = new Session(userId, credentials, () => {
    renewal.times++;
    return renewal.of();
  });
  const subject = { operation: 'moving a file', userId, roomId, session, signal: leaving.signal };
  const download = (more: Partial<MediaRequest> = {}): Promise<MediaResponse> =>
    media.request({ ...subject, method: 'GET', path: '/file?width=1', ...more });
  const upload = (more: Partial<MediaRequest> = {}): Promise<MediaResponse> => {
    const body = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from('{"a":');
      yield Buffer.from('1}');
    };
    const headers = { 'content-type': 'image/png' };
    return media.request({ ...subject, method: 'POST', path: '/upload?filename=a', headers, body, ...more });
  };
  const outcome = { userId, isSync: false, sentAt: clock.now() };
  return { clock, told, download, upload, leaving, renewal, outcome, requests: script.requests, fetch: script.fetch };
}

async function textOf({ body }: MediaResponse): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** A success whose body comes by hand. */
function bodyByHand() {
  const state = { cancelled: false };
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const stream = new ReadableStream<Uint8Array>({
    start: (given) => void (controller = given),
    cancel: () => void (state.cancelled = true),
  });
  return { state, controller, response: new Response(stream, { headers: { 'content-type': 'image/png' } }) };
}

describe('a file', () => {
  it('is fetched below the path of the homeserver URL, with the token and no body', async () => {
    const { download, requests, told, outcome, clock } = setUp([new Response('bytes', { headers: { 'x-a': 'b' } })]);
    const answer = await download({ headers: { accept: 'image/*' } });
    expect(answer.headers.get('x-a')).toBe('b');
    expect(await textOf(answer)).toBe('bytes');
    expect(requests).toMatchObject([
      { method: 'GET', url: 'http://hs/matrix/file?width=1', authorization: 'Bearer token-1', body: undefined },
    ]);
    expect(told).toEqual([
      ['recorded', { ...outcome, failed: false }],
      ['ended', 'GET /file', 'ok', 200],
    ]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is sent whole, with its headers and the token', async () => {
    const { upload, requests, told, outcome, clock } = setUp([json({ content_uri: 'mxc://a/b' }, 201)]);
    expect(JSON.parse(await textOf(await upload()))).toEqual({ content_uri: 'mxc://a/b' });
    expect(requests).toMatchObject([
      { method: 'POST', url: 'http://hs/matrix/upload?filename=a', authorization: 'Bearer token-1', body: { a: 1 } },
    ]);
    expect(told).toEqual([
      ['recorded', { ...outcome, failed: false }],
      ['ended', 'POST /upload', 'ok', 201],
    ]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('tells of its repetition', async () => {
    const { download, told, outcome, clock } = setUp([matrixError(500, 'M_X'), new Response('bytes')]);
    await advanceUntil(clock, download());
    expect(told).toEqual([
      ['recorded', { ...outcome, failed: true }],
      ['ended', 'GET /file', 'transient', 500],
      ['repeated', 'GET', '/file'],
      ['recorded', { ...outcome, sentAt: expect.any(Number), failed: false }],
      ['ended', 'GET /file', 'ok', 200],
    ]);
  });

  it('is asked for with the headers of its caller', async () => {
    const sent: unknown[] = [];
    const fetch: Fetch = async (_input, init) => {
      sent.push(init?.headers);
      return new Response('bytes');
    };
    const { download } = setUp([], {}, { fetch });
    await download({ headers: { accept: 'image/*' } });
    await download();
    expect(sent).toEqual([{ accept: 'image/*', authorization: 'Bearer token-1' }, { authorization: 'Bearer token-1' }]);
  });

  it('without a body is empty', async () => {
    const { download } = setUp([new Response(null)]);
    expect(await textOf(await download())).toBe('');
  });

  it.each([
    [500, true],
    [499, false],
    [404, false],
  ])('that is refused with %d counts as a failure of the homeserver: %s', async (status, failed) => {
    const { download, told, outcome, requests, clock } = setUp(
      Array.from({ length: 4 }, () => matrixError(status, 'M_X')),
    );
    const error = await rejection(advanceUntil(clock, download()));
    expect(error).toMatchObject({ status, errcode: 'M_X', userId, roomId });
    expect(told).toContainEqual(['recorded', { ...outcome, failed }]);
    expect(requests.every(({ signal }) => signal.aborted)).toBe(true); // nothing more of it is taken
    expect(clock.pendingTimers).toBe(0);
  });

  it('says at the gate what it is and whose, and is not sent when the gate refuses it', async () => {
    const down = new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', 'down');
    const passengers: unknown[] = [];
    const { download, told, leaving, requests, clock } = setUp([], {
      enter: (passenger) => {
        passengers.push(passenger);
        return Promise.reject(down);
      },
    });
    await expect(download()).rejects.toBe(down);
    expect(passengers).toEqual([{ operation: 'moving a file', userId, roomId, signal: leaving.signal }]);
    expect(told).toEqual([['not sent', 'GET /file', 'unavailable', undefined]]);
    expect([requests.length, clock.pendingTimers]).toEqual([0, 0]);
  });

  it('that comes as a stream and was not begun keeps the error of the gate', async () => {
    const down = new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', 'down');
    const { upload } = setUp([], { enter: () => Promise.reject(down) });
    await expect(upload({ repeatable: false })).rejects.toBe(down);
  });
});

describe('a file whose caller leaves', () => {
  it('is not asked for', async () => {
    const { download, leaving, told } = setUp([]);
    leaving.abort();
    expect(await rejection(download())).toMatchObject({ code: 'ABORTED', message: 'moving a file was aborted' });
    expect(told).toEqual([]);
    let logins = 0;
    const session = new Session(userId, undefined, async () => {
      logins++;
      return credentials;
    });
    expect(await rejection(download({ session }))).toMatchObject({ code: 'ABORTED' });
    expect(logins).toBe(0);
  });

  it.each([
    ['nothing answers', hang],
    ['a fetch that knows no signals waits', hangForEver],
  ])('ends at once while %s, and blames nobody', async (_title, answer) => {
    for (const way of ['download', 'upload'] as const) {
      const all = setUp([answer]);
      const failure = rejection(all[way]());
      await all.clock.advance(0);
      expect(all.requests).toHaveLength(1);
      all.leaving.abort();
      expect(await failure).toMatchObject({ code: 'ABORTED', message: 'moving a file was aborted' });
      expect(all.told).toEqual([['ended', expect.any(String), 'aborted', undefined]]);
      expect(all.requests[0]?.signal.aborted).toBe(true);
      expect(all.clock.pendingTimers).toBe(0);
    }
  });

  it('ends while it flows', async () => {
    const { response, controller } = bodyByHand();
    const { download, leaving, clock, requests } = setUp([response]);
    const { body } = await download();
    const reading = rejection(textOf({ body } as MediaResponse));
    controller.enqueue(Buffer.from('half'));
    await clock.advance(0);
    leaving.abort();
    expect(requests[0]?.signal.aborted).toBe(true);
    controller.error(requests[0]?.signal.reason); // as fetch does
    expect(await reading).toMatchObject({ code: 'ABORTED' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('ends while the token is looked for, or renewed', async () => {
    const { download, leaving, renewal, clock, told } = setUp([dead()]);
    renewal.of = () => new Promise(() => {});
    const failure = rejection(download());
    await clock.advance(0);
    leaving.abort();
    expect(await failure).toMatchObject({ code: 'ABORTED' });
    expect(told.at(-1)).toEqual(['ended', 'GET /file', 'unauthorised', 401]);
    const { download: other, leaving: left } = setUp([]);
    const unknown = new Session(userId, undefined, () => new Promise(() => {}));
    const waiting = rejection(other({ session: unknown }));
    left.abort();
    expect(await waiting).toMatchObject({ code: 'ABORTED', message: 'moving a file was aborted' });
  });
});

describe('a file that does not flow', () => {
  it.each(['download', 'upload'] as const)('is given up in time, as a failure of the homeserver: %s', async (way) => {
    const all = setUp(Array.from({ length: 4 }, () => hang));
    const error = await rejection(advanceUntil(all.clock, all[way]()));
    expect(error).toMatchObject({ code: 'TIMEOUT', userId, roomId });
    expect(error.message).toBe('moving a file timed out: no data was transferred for 10000 ms');
    expect(all.told.slice(0, 2)).toEqual([
      ['recorded', { ...all.outcome, failed: true }],
      ['ended', expect.any(String), 'transient', undefined],
    ]);
    expect([all.requests.length, all.clock.pendingTimers]).toEqual([4, 0]);
  });

  it('any more is given up where it stands, and not while its reader is busy', async () => {
    const { response, controller } = bodyByHand();
    const { download, clock, requests } = setUp([response]);
    const answer = await download();
    await clock.advance(60_000); // nobody has begun to read
    const reading = answer.body[Symbol.asyncIterator]();
    controller.enqueue(Buffer.from('half'));
    expect(await reading.next()).toMatchObject({ done: false });
    await clock.advance(60_000);
    const failure = rejection(reading.next());
    await clock.advance(9_999);
    expect(requests[0]?.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(requests[0]?.signal.aborted).toBe(true);
    controller.error(requests[0]?.signal.reason); // as fetch does
    expect(await failure).toMatchObject({ code: 'TIMEOUT', userId, roomId });
    expect([requests.length, clock.pendingTimers]).toEqual([1, 0]);
  });

  it('since its connection broke fails with NETWORK where it stands', async () => {
    const { response, controller } = bodyByHand();
    const { download, requests, clock } = setUp([response]);
    const reading = rejection(download().then(textOf));
    controller.enqueue(Buffer.from('half'));
    await clock.advance(0);
    controller.error(fetchFailed('ECONNRESET', 'read'));
    const error = await reading;
    expect(error).toMatchObject({ code: 'NETWORK', userId, roomId });
    expect(error.message).toBe('moving a file failed: the connection to http://hs/matrix broke (ECONNRESET)');
    expect([requests.length, clock.pendingTimers]).toEqual([1, 0]);
  });

  it('to a caller that cancels it ends, read or not', async () => {
    for (const read of [false, true]) {
      const { response } = bodyByHand();
      const { download, requests, clock } = setUp([response]);
      const { body, cancel } = await download();
      if (read) void textOf({ body } as MediaResponse);
      await clock.advance(0);
      cancel();
      expect(requests[0]?.signal.aborted).toBe(true);
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it('as a fetch does not begin to read it is given up in time', async () => {
    const { upload, clock } = setUp([], {}, { fetch: () => new Promise(() => {}) });
    const failure = rejection(upload({ repeatable: false }));
    await clock.advance(10_000);
    expect(clock.pendingTimers).toBeLessThanOrEqual(1); // the pause before the next attempt
    await clock.advance(100_000);
    expect(await failure).toMatchObject({ code: 'TIMEOUT' });
  });

  it('as its refusal trickles is given up in time, however much of it is still taken', async () => {
    const chunks: ReadableStreamDefaultReader<Uint8Array>[] = [];
    const fetch: Fetch = async (_input, init = {}) => {
      const reader = (init.body as ReadableStream<Uint8Array>).getReader();
      await reader.read();
      chunks.push(reader);
      return new Response(new ReadableStream(), { status: 403 });
    };
    const { upload, clock } = setUp([], {}, { fetch });
    const body = async function* (): AsyncGenerator<Uint8Array> {
      for (;;) yield Buffer.from('x');
    };
    const failure = rejection(upload({ body, repeatable: false }));
    await clock.advance(0);
    for (let n = 0; n < 2; n++) {
      await clock.advance(4_000);
      await chunks[0]?.read();
    }
    await clock.advance(2_000);
    expect(await failure).toMatchObject({ code: 'TIMEOUT' });
  });

  it('as its refusal trickles is given up in time', async () => {
    const { response, controller } = bodyByHand();
    const trickling = new Response(response.body, { status: 404 });
    const { download, clock, requests } = setUp([trickling, matrixError(404, 'M_NOT_FOUND')]);
    const failure = rejection(advanceUntil(clock, download()));
    controller.enqueue(Buffer.from('{'));
    expect(await failure).toMatchObject({ code: 'NOT_FOUND' });
    expect(requests).toHaveLength(2);
    expect(requests[0]?.signal.aborted).toBe(true);
  });
});

describe('a dead token of a file', () => {
  it.each(['download', 'upload'] as const)('is renewed unseen: %s', async (way) => {
    const all = setUp([dead(), json({ a: 2 })]);
    expect(JSON.parse(await textOf(await all[way]()))).toEqual({ a: 2 });
    expect(all.requests.map(({ authorization }) => authorization)).toEqual(['Bearer token-1', 'Bearer token-2']);
    expect([all.renewal.times, all.clock.pendingTimers]).toEqual([1, 0]);
  });

  it('that comes as a stream is renewed for the next one, and the error says what to do', async () => {
    const { upload, renewal, requests } = setUp([dead()]);
    const error = await rejection(upload({ repeatable: false }));
    expect(error).toMatchObject({ code: 'UNKNOWN_TOKEN', errcode: 'M_UNKNOWN_TOKEN', status: 401, userId, roomId });
    expect(error.message).toContain('the file was given as a stream');
    expect([renewal.times, requests.length]).toEqual([1, 1]);
  });

  it('is told where it cannot be renewed', async () => {
    const { download, renewal } = setUp([dead()]);
    const failure = new MatrixClientManagerError('USER_DEACTIVATED', 'gone');
    renewal.of = () => Promise.reject(failure);
    await expect(download()).rejects.toBe(failure);
  });

  it('is no matter of another refusal', async () => {
    const { download, renewal } = setUp([matrixError(403, 'M_FORBIDDEN')]);
    expect(await rejection(download())).toMatchObject({ code: 'FORBIDDEN' });
    expect(renewal.times).toBe(0);
  });
});

describe('a stream that cannot be read twice', () => {
  it('keeps what its error says when it was begun', async () => {
    const limited = json({ errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 5_000 }, 429);
    const { upload } = setUp([limited]);
    const expected = { code: 'RATE_LIMITED', errcode: 'M_LIMIT_EXCEEDED', status: 429, retryAfterMs: 5_000 };
    expect(await rejection(upload({ repeatable: false }))).toMatchObject({ ...expected, userId, roomId });
    const broken = setUp([fetchFailed('ECONNRESET', 'read')]);
    const error = await rejection(broken.upload({ repeatable: false }));
    expect(error).toMatchObject({ code: 'NETWORK', cause: { code: 'ECONNRESET' }, userId, roomId });
    expect(error.message).toContain(
      'the connection to http://hs/matrix broke (ECONNRESET); the file was given as a stream',
    );
  });

  it('has no remedy told where another stream would be refused as well', async () => {
    const { upload } = setUp([matrixError(403, 'M_FORBIDDEN')]);
    const error = await rejection(upload({ repeatable: false }));
    expect(error.code).toBe('FORBIDDEN');
    expect(error.message).not.toContain('stream');
  });

  it('fails with what it fails with itself, which is no fault of the homeserver', async () => {
    const own = new MatrixClientManagerError('FILE_DAMAGED', 'the disk is gone');
    const body = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from('{');
      throw own;
    };
    const { upload, told, clock } = setUp([json({})]);
    expect(await rejection(upload({ body }))).toMatchObject({ code: 'FILE_DAMAGED', userId, roomId });
    expect(told.some((entry) => Array.isArray(entry) && entry[0] === 'recorded')).toBe(false);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is a redirect that is not followed, and no other failure', async () => {
    const redirected = new TypeError('fetch failed', { cause: new Error('unexpected redirect') });
    const { upload, requests } = setUp([redirected]);
    const error = await rejection(upload({ repeatable: false }));
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', userId, roomId });
    expect(error.message).toContain('redirects an upload');
    expect(requests).toHaveLength(1);
    for (const failure of [new TypeError('fetch failed'), new TypeError('fetch failed', { cause: new Error('odd') })]) {
      const other = setUp([failure]);
      expect(await rejection(other.upload({ repeatable: false }))).toMatchObject({ code: 'NETWORK' });
    }
  });
});

describe('a file on another host', () => {
  it('shows a homeserver at work once, and its failures are not those of the homeserver', async () => {
    const hops = () => [away('http://store/1'), away('http://store/2'), fetchFailed('ECONNRESET', 'read')];
    const { download, told, outcome, clock, requests } = setUp([...hops(), away('http://store/1'), new Response('x')]);
    expect(await advanceUntil(clock, download().then(textOf))).toBe('x');
    const recorded = told.filter((entry) => Array.isArray(entry) && entry[0] === 'recorded');
    const working = ['recorded', { ...outcome, sentAt: expect.any(Number), failed: false }];
    expect(recorded).toEqual([working, working]);
    expect(requests.map(({ authorization }) => authorization)).toEqual([
      'Bearer token-1',
      null,
      null,
      'Bearer token-1',
      null,
    ]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('has the time of its own with each hop', async () => {
    const slow = (clock: () => ManualClock, response: Response) => async (): Promise<Response> => {
      void clock().advance(9_000);
      await new Promise<void>((resolve) => clock().setTimeout(resolve, 9_000));
      return response;
    };
    const all: ReturnType<typeof setUp> = setUp([
      slow(() => all.clock, away('/other')),
      slow(() => all.clock, away('http://store/1')),
      slow(() => all.clock, new Response('x')),
    ]);
    expect(await textOf(await all.download())).toBe('x');
    const urls = all.requests.map(({ url }) => url);
    expect(urls).toEqual(['http://hs/matrix/file?width=1', 'http://hs/other', 'http://store/1']); // in one attempt
  });

  it('that refuses it is named, with how long it asks to wait', async () => {
    const refusal = () => new Response('<Error>', { status: 403, headers: { 'retry-after': '3600' } });
    const { download, requests } = setUp([away('http://store/1'), refusal()]);
    const error = await rejection(download());
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', status: 403, retryAfterMs: 3_600_000, userId, roomId });
    expect(error.message).toContain('http://store, to which the homeserver redirects, answered with HTTP status 403');
    expect(requests).toHaveLength(2);
  });

  it('that breaks is named; the homeserver, where it broke', async () => {
    const failing = fetchFailed('ECONNRESET', 'read');
    const { download, clock } = setUp([away('http://store/1'), failing, failing, failing, failing].concat());
    const error = await rejection(advanceUntil(clock, download()));
    expect(error.message).toBe('moving a file failed: the connection to http://hs/matrix broke (ECONNRESET)');
    const hops = Array.from({ length: 4 }, () => [away('http://store/1'), failing]).flat();
    const other = setUp(hops);
    const foreign = await rejection(advanceUntil(other.clock, other.download()));
    expect(foreign.message).toBe('moving a file failed: the connection to http://store broke (ECONNRESET)');
  });
});
