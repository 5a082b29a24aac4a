import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import * as v from 'valibot';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import type { Clock } from '../../src/core/clock.js';
import { fetchTransport, globalFetch } from '../../src/http/fetch-transport.js';
import { MediaHttp } from '../../src/http/media-http.js';
import { sdkFetch } from '../../src/http/sdk-fetch.js';
import { Session } from '../../src/http/session.js';
import type { Transport } from '../../src/core/ports/transport.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { undiciTransport } from '../../src/undici/index.js';
import { rejection } from '../support/rejection.js';
import { TransportServer } from '../support/transport-server.js';
import { testHomeserver } from '../support/context.js';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const TIMEOUT_MS = 30_000;
const subject = { operation: 'looking', userId: '@a:hs' };
const credentials = { userId: '@a:hs', accessToken: 'syt_secret', deviceId: 'D' };
const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

/** Waits between attempts are not waited for. */
const impatient: Clock = {
  ...systemClock,
  setTimeout: (fire, ms) => systemClock.setTimeout(fire, ms === TIMEOUT_MS ? ms : 0),
};

/** A body without end, as fast as it is taken. */
function endless(response: ServerResponse): void {
  const block = Buffer.alloc(65_536, ' ');
  const write = (): void => {
    while (!response.destroyed && response.write(block));
  };
  response.on('drain', write);
  write();
}

/** Each way by which requests go out; what each comes to. */
const ways = [
  'a request',
  'a download',
  'an upload',
  'a read of the SDK',
  'a write of the SDK',
  'an SDK upload',
] as const;

async function setUp(make: () => Transport, handler: Handler, clock: Clock) {
  let requests = 0;
  const server = await TransportServer.plain((request, response) => {
    requests++;
    handler(request as IncomingMessage, response);
  });
  const connections = make().open();
  opened.push(server, { [Symbol.asyncDispose]: () => connections.close() });
  const options = { homeserverUrl: server.origin, connections, clock, requestTimeoutMs: TIMEOUT_MS };
  const session = new Session('@a:hs', credentials);
  const { signal } = new AbortController();
  const http = testHomeserver(options).http;
  const media = new MediaHttp(testHomeserver(options));
  const fetch = sdkFetch(testHomeserver({ ...options }), session, signal);
  const url = `${server.origin}/x`;
  const headers = { authorization: 'Bearer x', accept: 'application/json' };
  const body = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('{}');
  };
  const asMedia = { ...subject, path: '/x', session, signal };
  const viaSdk = async (init: RequestInit): Promise<unknown> => {
    const { status } = await fetch(url, { headers, ...init });
    throw Object.assign(new Error('a response for the SDK'), { status });
  };
  const send: Record<(typeof ways)[number], () => Promise<unknown>> = {
    'a request': () => http.request(v.unknown(), { ...subject, method: 'GET', path: '/x', repeatable: true }),
    'a download': () => media.request({ ...asMedia, method: 'GET' }),
    'an upload': () => media.request({ ...asMedia, method: 'POST', headers: { 'content-length': '2' }, body }),
    'a read of the SDK': () => viaSdk({}),
    'a write of the SDK': () => viaSdk({ method: 'PUT', body: '{}' }),
    'an SDK upload': () => viaSdk({ method: 'POST', body: new Blob(['{}']) }),
  };
  return { server, send, requests: () => requests };
}

describe.each([
  ['the global fetch', () => fetchTransport(globalFetch)],
  ['undici', () => undiciTransport()],
  ['undici, with compressed answers', () => undiciTransport({ compression: true })],
] satisfies [string, () => Transport][])('the body of an error, over %s', (_name, make) => {
  it.each(ways)('is not read to its end where it has none: %s fails by the status', async (way) => {
    const answer: Handler = (request, response) => {
      request.resume();
      response.writeHead(500, { 'content-type': 'application/json' });
      endless(response);
    };
    const { server, send } = await setUp(make, answer, impatient);
    const error: unknown = await send[way]().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ status: 500 });
    await server.until(() => server.sockets.size === 0); // what is not read any more is not sent any more
  });

  it.each(ways)('that trickles, or never comes, ends with the time of an attempt: %s', async (way) => {
    const clock = new ManualClock();
    const { send, requests } = await setUp(
      make,
      (request, response) => {
        request.resume().on('end', () => response.writeHead(503, { 'content-type': 'application/json' }).write('{"e'));
      },
      clock,
    );
    const state = { over: false };
    const failure = rejection(send[way]()).finally(() => (state.over = true));
    const end = clock.now() + 10 * TIMEOUT_MS;
    for (let attempts = 0; !state.over && clock.now() < end;) {
      if (requests() > attempts) {
        attempts++;
        for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve)); // the headers
        await clock.advance(TIMEOUT_MS);
      }
      await clock.advance(1_000);
    }
    expect(state.over).toBe(true);
    expect(await failure).toMatchObject({ code: 'TIMEOUT' });
    expect(clock.pendingTimers).toBe(0);
  });

  it.each(ways)('that unpacks to more than is read, or not at all, hides no status: %s', async (way) => {
    for (const body of [gzipSync(Buffer.alloc(5_000_000, ' ')), Buffer.from('no gzip')]) {
      const answer: Handler = (request, response) => {
        const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
        request.resume().on('end', () => response.writeHead(503, headers).end(body));
      };
      const { send } = await setUp(make, answer, impatient);
      expect(await send[way]().catch((thrown: unknown) => thrown)).toMatchObject({ status: 503 });
    }
  });
});
