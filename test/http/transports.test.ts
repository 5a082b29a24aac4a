import { getEventListeners } from 'node:events';
import { brotliCompressSync, constants, deflateSync, gzipSync } from 'node:zlib';
import * as v from 'valibot';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { fetchTransport, globalFetch } from '../../src/http/fetch-transport.js';
import type { HttpRequest } from '../../src/http/homeserver-http.js';
import { sdkFetch } from '../../src/http/sdk-fetch.js';
import { Session } from '../../src/http/session.js';
import type { OpenTransport, Transport } from '../../src/core/ports/transport.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { undiciTransport } from '../../src/undici/index.js';
import { advanceUntil } from '../support/advance-until.js';
import { rejection } from '../support/rejection.js';
import { TransportServer } from '../support/transport-server.js';
import { testHomeserver } from '../support/context.js';

type Handler = Parameters<typeof TransportServer.plain>[0];

const MAX_BYTES = 1_000_000;
const credentials = { userId: '@a:hs', accessToken: 'syt_secret', deviceId: 'D' };
const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

const transports: [string, () => Transport][] = [
  ['the global fetch', () => fetchTransport(globalFetch)],
  ['undici', () => undiciTransport()],
  ['undici, with compressed answers', () => undiciTransport({ compression: true })],
];

/** What is the same whatever carries the requests, on real sockets. */
describe.each(transports)('over %s', (_name, make) => {
  async function serve(handler: Handler): Promise<TransportServer> {
    const server = await TransportServer.plain(handler);
    opened.push(server);
    return server;
  }

  function open(): OpenTransport {
    const connections = make().open();
    opened.push({ [Symbol.asyncDispose]: () => connections.close() });
    return connections;
  }

  async function setUp(handler: Handler, { clock = new ManualClock() }: { clock?: ManualClock } = {}) {
    const server = await serve(handler);
    const connections = open();
    const http = testHomeserver({
      homeserverUrl: server.origin,
      connections,
      clock,
      requestTimeoutMs: 10_000,
      maxResponseBytes: MAX_BYTES,
    }).http;
    const session = new Session('@a:hs', credentials);
    const send = (more: Partial<HttpRequest> = {}): Promise<unknown> =>
      http.request(v.unknown(), {
        operation: 'looking',
        method: 'GET',
        path: '/x',
        session,
        repeatable: false,
        retry: { attempts: 1 },
        ...more,
      });
    return { server, connections, clock, http, session, send };
  }

  /** The body of a request, as text. */
  async function bodyOf(request: AsyncIterable<Uint8Array>): Promise<string> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  }

  it('a request arrives whole: method, path, query, token, body, and letters of all kinds', async () => {
    const seen: unknown[] = [];
    const { send } = await setUp((request, response) => {
      const { method, url, headers } = request;
      void bodyOf(request).then((body) => {
        seen.push({ method, url, token: headers.authorization, type: headers['content-type'], body });
        response.writeHead(201, { 'content-type': 'application/json' }).end(body || '{"text":"grüße 👋 \u2028"}');
      });
    });
    const body = { text: 'naïve 👋', large: 'ß'.repeat(300_000) };
    expect(await send({ query: { a: 'b&c d', e: 1 } })).toEqual({ text: 'grüße 👋 \u2028' });
    expect(await send({ method: 'PUT', path: '/r/%21room', body })).toEqual(body);
    expect(seen).toEqual([
      { method: 'GET', url: '/x?a=b%26c%20d&e=1', token: 'Bearer syt_secret', type: undefined, body: '' },
      {
        method: 'PUT',
        url: '/r/%21room',
        token: 'Bearer syt_secret',
        type: 'application/json',
        body: JSON.stringify(body),
      },
    ]);
  });

  it('a letter that is cut in two by the network is whole again, and a mark of UTF-8 is none of the text', async () => {
    const bytes = Buffer.from('\uFEFF{"text":"👋"}');
    const { send } = await setUp((_request, response) => {
      response.write(bytes.subarray(0, 15));
      setImmediate(() => response.end(bytes.subarray(15)));
    });
    expect(await send()).toEqual({ text: '👋' });
  });

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', (text: string) => brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } })],
  ])('an answer in %s is unpacked', async (encoding, pack) => {
    const large = JSON.stringify(Array.from({ length: 50_000 }, (_, n) => n * 7919));
    for (const text of ['{"a":1}', large]) {
      const { send } = await setUp((_request, response) => {
        response.writeHead(200, { 'content-encoding': encoding }).end(pack(text));
      });
      expect(JSON.stringify(await send())).toBe(text);
    }
  });

  it('an answer that unpacks to more than is allowed is INVALID_RESPONSE', async () => {
    const { send } = await setUp((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('x'.repeat(MAX_BYTES + 1)));
    });
    const error = await rejection(send());
    expect(error.code).toBe('INVALID_RESPONSE');
    expect(error.message).toContain('maxResponseBytes');
  });

  it.each([true, false])('an answer of too many bytes is INVALID_RESPONSE (announced: %s)', async (announced) => {
    const { send } = await setUp((_request, response) => {
      if (announced) response.setHeader('content-length', MAX_BYTES + 1);
      response.write('"');
      response.end('x'.repeat(MAX_BYTES));
    });
    const error = await rejection(send());
    expect(error.code).toBe('INVALID_RESPONSE');
    expect(error.message).toContain('maxResponseBytes');
  });

  it.each([
    [200, '<html>', 'INVALID_RESPONSE'],
    [404, '<html>', 'INVALID_RESPONSE'],
    [204, '', 'INVALID_RESPONSE'],
    [404, '{"errcode":"M_NOT_FOUND","error":"no"}', 'NOT_FOUND'],
    [403, '{"errcode":"M_FORBIDDEN"}', 'FORBIDDEN'],
    [500, '', 'HOMESERVER_UNAVAILABLE'],
  ])('an answer %d %j is %s', async (status, body, code) => {
    const { send } = await setUp((_request, response) => response.writeHead(status).end(body));
    expect(await rejection(send())).toMatchObject({ code, status });
  });

  it('a 429 brings its Retry-After', async () => {
    const { send } = await setUp((_request, response) => response.writeHead(429, { 'Retry-After': '7' }).end('{}'));
    expect(await rejection(send())).toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 7_000 });
  });

  it.each([
    ['before it answers', (socket: { destroy(): unknown }) => socket.destroy()],
    [
      'in the middle of a body of known length',
      (socket: { destroy(): unknown }, write: (text: string) => void) => {
        write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"a":');
        setImmediate(() => socket.destroy());
      },
    ],
    [
      'in the middle of a chunked body',
      (socket: { destroy(): unknown }, write: (text: string) => void) => {
        write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n');
        setImmediate(() => socket.destroy());
      },
    ],
  ])('a connection that is cut %s is NETWORK, and what writes is not sent again', async (_title, cut) => {
    let requests = 0;
    const { send } = await setUp((request) => {
      requests++;
      request.socket.on('error', () => {});
      cut(request.socket, (text) => request.socket.write(text));
    });
    const error = await rejection(send({ method: 'POST', body: {}, retry: { attempts: 4 } }));
    expect(error).toMatchObject({ code: 'NETWORK' });
    expect(error.message).not.toContain('syt_secret');
    expect(requests).toBe(1);
  });

  it('a request that meets the end of a kept connection is not sent again unasked', async () => {
    const bySocket = new Map<unknown, number>();
    let requests = 0;
    const { send } = await setUp((request, response) => {
      requests++;
      const before = bySocket.get(request.socket) ?? 0;
      bySocket.set(request.socket, before + 1);
      if (before === 0) response.end('{}');
      else request.socket.destroy();
    });
    const outcomes: string[] = [];
    for (let n = 0; n < 6; n++) {
      outcomes.push(
        await send({ method: 'POST', body: {} }).then(
          () => 'ok',
          ({ code }: { code: string }) => code,
        ),
      );
    }
    expect(requests).toBe(6);
    expect(new Set(outcomes)).toEqual(new Set(['ok', 'NETWORK']));
  });

  it('a connection that is refused is NETWORK, and even what writes is sent again', async () => {
    const seen: (string | undefined)[] = [];
    const { send, server, clock, connections } = await setUp((request, response) => {
      seen.push(request.method);
      response.end('{}');
    });
    const attempts = vi.spyOn(connections, 'send');
    await server.stop();
    const refused = rejection(send({ method: 'POST', body: {} }));
    expect(await refused).toMatchObject({ code: 'NETWORK', cause: { code: 'ECONNREFUSED' } });
    const sent = send({ method: 'POST', body: {}, retry: { attempts: 2 } });
    await server.until(() => attempts.mock.settledResults[1]?.type === 'rejected');
    await server.listen();
    expect(await advanceUntil(clock, sent)).toEqual({});
    expect(seen).toEqual(['POST']);
  });

  it('a redirect inside the origin is followed with the token; to another, it is INVALID_RESPONSE', async () => {
    const seen: (string | undefined)[] = [];
    const evil = await serve((request, response) => {
      seen.push(`evil ${request.headers.authorization}`);
      response.end('{}');
    });
    const { send } = await setUp((request, response) => {
      seen.push(`${request.url} ${request.headers.authorization}`);
      if (request.url === '/new') response.end('{"new":true}');
      else response.writeHead(302, { location: request.url === '/x' ? '/new' : `${evil.origin}/new` }).end('moved');
    });
    expect(await send()).toEqual({ new: true });
    expect(await rejection(send({ path: '/away' }))).toMatchObject({ code: 'INVALID_RESPONSE', status: 302 });
    expect(seen).toEqual(['/x Bearer syt_secret', '/new Bearer syt_secret', '/away Bearer syt_secret']);
  });

  const stalls: [string, Handler][] = [
    ['nothing comes', () => {}],
    ['only headers come', (_request, response) => response.writeHead(200).flushHeaders()],
    ['half a body comes', (_request, response) => void response.write('{"a":')],
  ];

  it.each(stalls)('the deadline ends a request of which %s, and its connection', async (_title, stall) => {
    const { send, server, clock } = await setUp(stall);
    const failure = rejection(send());
    await server.until(() => server.sockets.size === 1 && clock.pendingTimers === 1);
    await clock.advance(10_000);
    expect(await failure).toMatchObject({ code: 'TIMEOUT' });
    await server.until(() => server.sockets.size === 0);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each(stalls)('an abort ends a request of which %s, and its connection', async (_title, stall) => {
    const { send, server, clock } = await setUp(stall);
    const controller = new AbortController();
    const failure = rejection(send({ signal: controller.signal }));
    await server.until(() => server.sockets.size === 1);
    controller.abort();
    expect(await failure).toMatchObject({ code: 'ABORTED' });
    await server.until(() => server.sockets.size === 0);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('an abort before sends nothing, and one after changes nothing', async () => {
    let requests = 0;
    const { send, connections, server } = await setUp((_request, response) => {
      requests++;
      response.end('{}');
    });
    const request = {
      method: 'GET',
      origin: server.origin,
      path: '/',
      headers: {},
      lane: 'call',
      maxBytes: 9,
    } as const;
    await expect(connections.send({ ...request, signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no');
    expect(requests).toBe(0);
    const controller = new AbortController();
    const answer = await connections.send({ ...request, signal: controller.signal });
    controller.abort();
    expect(answer.text).toBe('{}');
    expect(await send()).toEqual({});
    expect(requests).toBe(2);
  });

  it('200 requests, one after the other, share a connection', async () => {
    const { send, server } = await setUp((_request, response) => response.end('{}'));
    for (let n = 0; n < 200; n++) await send();
    expect(server.connections).toBeLessThanOrEqual(2);
  });

  it('100 polls that hang hold up neither a send nor an admin call', async () => {
    const { send, server, clock } = await setUp((request, response) => {
      if (request.url === '/x') response.end('{}');
    });
    const stop = new AbortController();
    const poll = { path: '/poll', priority: 'sync', signal: stop.signal } as const;
    const polls = Array.from({ length: 100 }, () => rejection(send(poll)));
    await server.until(() => server.sockets.size === 100);
    await send({ method: 'PUT', body: {}, priority: 'send' });
    await send({ admin: true });
    stop.abort();
    await Promise.all(polls);
    expect(clock.pendingTimers).toBe(0);
  });

  it('the SDK gets a response with its status, headers and body, and media as bytes', async () => {
    const { connections, server, session } = await setUp((request, response) => {
      if (request.url === '/none') response.writeHead(204).end();
      else if (request.url === '/media')
        response.writeHead(200, { 'content-type': 'image/png' }).end(Buffer.from([0, 255]));
      else if (request.method === 'POST') void bodyOf(request).then((body) => response.end(JSON.stringify({ body })));
      else
        response.writeHead(403, { 'Content-Type': 'application/json', 'X-Two': ['a', 'b'] }).end('{"errcode":"M_X"}');
    });
    const fetch = sdkFetch(testHomeserver({ connections, clock: systemClock }), session, new AbortController().signal);
    const headers = { authorization: 'Bearer x', accept: 'application/json' };
    const refused = await fetch(new URL('/x', server.origin), { headers });
    expect([refused.ok, refused.status, refused.headers.get('x-two')]).toEqual([false, 403, 'a, b']);
    expect(await refused.json()).toEqual({ errcode: 'M_X' });
    expect(await (await fetch(`${server.origin}/none`, { headers })).text()).toBe('');
    const media = await fetch(`${server.origin}/media`, { headers: { authorization: 'Bearer x' } });
    expect([...new Uint8Array(await (await media.blob()).arrayBuffer())]).toEqual([0, 255]);
    const upload = await fetch(`${server.origin}/up`, { method: 'POST', headers, body: new Blob(['bytes']) });
    expect(await upload.json()).toEqual({ body: 'bytes' });
    const buffered = await fetch(`${server.origin}/up`, { method: 'POST', headers, body: Buffer.alloc(300_000, 'x') });
    expect(await buffered.json()).toEqual({ body: 'x'.repeat(300_000) });
    const posted = await fetch(new Request(`${server.origin}/up`, { method: 'POST', headers, body: 'text' }));
    expect(await posted.json()).toEqual({ body: 'text' });
  });

  it('ends a Request object when its own signal fires', async () => {
    const server = await serve(() => {}); // answers nothing
    const { fetch } = open();
    const leaving = new AbortController();
    const ended = fetch(new Request(server.origin, { signal: leaving.signal })).catch((error: unknown) => error);
    leaving.abort();
    expect(await ended).toMatchObject({ name: 'AbortError' });
  });
});

describe.each(transports)('an upload of the SDK over %s', (_name, make) => {
  async function setUp(handler: Handler) {
    const server = await TransportServer.plain(handler);
    const connections = make().open();
    opened.push(server, { [Symbol.asyncDispose]: () => connections.close() });
    const clock = new ManualClock();
    const session = new Session('@a:hs', credentials);
    const fetch = sdkFetch(testHomeserver({ connections, clock }), session, new AbortController().signal);
    const headers = { authorization: 'Bearer x', accept: 'application/json' };
    const upload = (body: Blob | Buffer) => fetch(`${server.origin}/up`, { method: 'POST', headers, body });
    return { server, clock, upload };
  }

  it('has its length, on which homeservers insist', async () => {
    const seen: unknown[] = [];
    const { upload } = await setUp((request, response) => {
      seen.push([request.headers['content-length'], request.headers['content-type']]);
      request.resume().on('end', () => response.end('{}'));
    });
    await upload(new Blob(['bytes'], { type: 'image/png' }));
    await upload(Buffer.from('bytes'));
    expect(seen).toEqual([
      ['5', 'image/png'],
      ['5', undefined],
    ]);
  });

  it('that is refused before it is there whole ends with the refusal', async () => {
    const { upload, server } = await setUp((_request, response) => {
      response.writeHead(413, { 'content-type': 'application/json' }).end('{"errcode":"M_TOO_LARGE"}');
    });
    for (const body of [new Blob(['x'.repeat(5_000_000)]), Buffer.alloc(5_000_000)]) {
      const response = await upload(body);
      expect([response.status, await response.json()]).toEqual([413, { errcode: 'M_TOO_LARGE' }]);
    }
    await server.until(() => server.sockets.size === 0);
  });

  it('of which the homeserver takes no more is given up, with its connection', async () => {
    const held: { resume(): unknown }[] = [];
    const { upload, server, clock } = await setUp((request) => void held.push(request));
    const failure = rejection(upload(Buffer.alloc(20_000_000)));
    await server.until(() => held.length === 1 && clock.pendingTimers === 1);
    await clock.advance(30_000);
    expect(await failure).toMatchObject({ code: 'TIMEOUT' });
    held[0]?.resume(); // a server that reads nothing does not see the end of a connection either
    await server.until(() => server.sockets.size === 0);
  });
});

describe('connections of undici', () => {
  it('wait in a queue beyond callConnections, from which an abort takes a request unsent', async () => {
    const held: (() => void)[] = [];
    const server = await TransportServer.plain((_request, response) => void held.push(() => response.end('{}')));
    opened.push(server);
    const connections = undiciTransport({ callConnections: 2 }).open();
    opened.push({ [Symbol.asyncDispose]: () => connections.close() });
    const { origin } = server;
    const send = (signal: AbortSignal): Promise<unknown> =>
      connections.send({ method: 'PUT', origin, path: '/', headers: {}, body: '', lane: 'call', maxBytes: 9, signal });
    const { signal } = new AbortController();
    const sent = [send(signal), send(signal), send(signal)];
    const controller = new AbortController();
    const unsent = send(controller.signal);
    await server.until(() => held.length === 2);
    controller.abort(new Error('enough'));
    await expect(unsent).rejects.toThrow('enough');
    for (const answer of held.splice(0)) answer();
    await server.until(() => held.length === 1);
    held[0]?.();
    await Promise.all(sent);
    expect([held.length, server.connections]).toEqual([1, 2]);
  });

  it('are ended where an answer is too large to go on reading', async () => {
    const server = await TransportServer.plain((_request, response) => void response.write('x'.repeat(100)));
    opened.push(server);
    const connections = undiciTransport().open();
    opened.push({ [Symbol.asyncDispose]: () => connections.close() });
    const { signal } = new AbortController();
    const request = { method: 'GET', origin: server.origin, path: '/', headers: {}, lane: 'call', signal } as const;
    await expect(connections.send({ ...request, maxBytes: 99 })).rejects.toMatchObject({ code: 'INVALID_RESPONSE' });
    await server.until(() => server.sockets.size === 0);
  });

  it('are each manager’s own: what one closes, another goes on with', async () => {
    const server = await TransportServer.plain((_request, response) => response.end('{}'));
    opened.push(server);
    const transport = undiciTransport();
    const [first, second] = [transport.open(), transport.open()];
    const { signal } = new AbortController();
    const request = { method: 'GET', origin: server.origin, path: '/', headers: {}, maxBytes: 9, signal } as const;
    await Promise.all([first, second].map((connections) => connections.send({ ...request, lane: 'poll' })));
    await first.close();
    await expect(first.send({ ...request, lane: 'poll' })).rejects.toMatchObject({ code: 'UND_ERR_DESTROYED' });
    expect((await second.send({ ...request, lane: 'poll' })).status).toBe(200);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    await second.close();
    await server.until(() => server.sockets.size === 0);
  });
});
