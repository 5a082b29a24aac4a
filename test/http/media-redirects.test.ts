import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { openGate } from '../../src/core/ports/request-gate.js';
import type { RequestOutcome } from '../../src/core/ports/request-gate.js';
import { fetchTransport, globalFetch } from '../../src/http/fetch-transport.js';
import { MediaHttp } from '../../src/http/media-http.js';
import { downloadTarget } from '../../src/http/redirects.js';
import { Session } from '../../src/http/session.js';
import type { Transport } from '../../src/core/ports/transport.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { undiciTransport } from '../../src/undici/index.js';
import { systemClock } from '../../src/core/clock.js';
import type { Clock } from '../../src/core/clock.js';
import { allTextOf } from '../support/all-text-of.js';
import { rejection } from '../support/rejection.js';
import { certificate, TransportServer } from '../support/transport-server.js';
import { testHomeserver } from '../support/context.js';

const TOKEN = 'syt_very_secret';
const TIMEOUT_MS = 30_000;
const FILE = '/_matrix/client/v1/media/download/hs/abc';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

/** A server, with what it was asked for and with which token. */
async function serve(handler: Handler, protocol: 'plain' | 'secureHttp1' = 'plain') {
  const seen: [string | undefined, string | undefined][] = [];
  const server = await TransportServer[protocol]((request, response) => {
    seen.push([request.url, request.headers.authorization]);
    handler(request as IncomingMessage, response);
  });
  opened.push(server);
  return { server, seen };
}

const to =
  (location: string, status = 307): Handler =>
  (_request, response) =>
    void response.writeHead(status, { location }).end('moved');

/** Waits between attempts are not waited for. */
const impatient: Clock = {
  ...systemClock,
  setTimeout: (fire, ms) => systemClock.setTimeout(fire, ms === TIMEOUT_MS ? ms : 0),
};

function mediaOn(transport: Transport, homeserverUrl: string, clock = impatient) {
  const connections = transport.open();
  opened.push({ [Symbol.asyncDispose]: () => connections.close() });
  const outcomes: RequestOutcome[] = [];
  const gate = { ...openGate, record: (outcome: RequestOutcome) => void outcomes.push(outcome) };
  const media = new MediaHttp(
    testHomeserver({ homeserverUrl, connections, clock, requestTimeoutMs: TIMEOUT_MS, gate }),
  );
  const state = { renewals: 0 };
  const credentials = { userId: '@a:hs', deviceId: 'D', accessToken: TOKEN };
  const session = new Session('@a:hs', credentials, async () => {
    state.renewals++;
    return { ...credentials, accessToken: `${TOKEN}_2` };
  });
  const { signal } = new AbortController();
  const subject = { operation: 'downloading a file', userId: '@a:hs', session, signal };
  const download = async (): Promise<string> => {
    const answer = await media.request({ ...subject, method: 'GET', path: FILE });
    const chunks: Uint8Array[] = [];
    for await (const chunk of answer.body) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };
  const upload = (): Promise<unknown> => {
    const body = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from('bytes');
    };
    const headers = { 'content-length': '5' };
    return media.request({ ...subject, method: 'POST', path: '/upload', headers, body });
  };
  return { media, subject, download, upload, outcomes, state };
}

describe.each([
  ['the global fetch', () => fetchTransport(globalFetch)],
  ['undici', () => undiciTransport()],
] satisfies [string, () => Transport][])('a download over %s that is redirected', (_name, transport) => {
  it.each([301, 302, 303, 307, 308])('to another host (%i) is followed, without the token', async (status) => {
    const store = await serve((_request, response) => void response.end('the file'));
    const home = await serve(to(`${store.server.origin}/bucket/abc?signature=xyz`, status));
    const { download, outcomes } = mediaOn(transport(), home.server.origin);
    expect(await download()).toBe('the file');
    expect(home.seen).toEqual([[FILE, `Bearer ${TOKEN}`]]);
    expect(store.seen).toEqual([['/bucket/abc?signature=xyz', undefined]]);
    expect(outcomes).toMatchObject([{ failed: false }]);
  });

  it('inside its origin keeps the token, and loses it for good with the first other host', async () => {
    const home = await serve((request, response) => {
      if (request.url === FILE) to('/moved')(request, response);
      else if (request.url === '/moved') to(`${store.server.origin}/away`)(request, response);
      else response.end('back home');
    });
    const store = await serve((request, response) => to(`${home.server.origin}/public`)(request, response));
    const { download } = mediaOn(transport(), home.server.origin);
    expect(await download()).toBe('back home');
    expect(home.seen).toEqual([
      [FILE, `Bearer ${TOKEN}`],
      ['/moved', `Bearer ${TOKEN}`],
      ['/public', undefined],
    ]);
    expect(store.seen).toEqual([['/away', undefined]]);
  });

  it('in a circle, or without end, is an error after a few hops', async () => {
    const store = await serve((request, response) => {
      if (request.url === '/circle') to(`${home.server.origin}${FILE}`)(request, response);
      else to(`/${Number(request.url?.slice(1)) + 1}`)(request, response);
    });
    let first = '/circle';
    const home = await serve((request, response) => to(store.server.origin + first)(request, response));
    const { download } = mediaOn(transport(), home.server.origin);
    const circle = await rejection(download());
    expect(circle).toMatchObject({ code: 'INVALID_RESPONSE', status: 307 });
    expect(circle.message).toContain('forms a loop');
    expect([home.seen.length, store.seen.length]).toEqual([4, 4]); // the usual attempts
    first = '/1';
    store.seen.length = 0;
    expect((await rejection(download())).message).toContain('6th in a row');
    expect(store.seen).toHaveLength(4 * 5);
  });

  it.each([
    [401, '{"errcode":"M_UNKNOWN_TOKEN"}'],
    [401, '{"errcode":"M_MISSING_TOKEN"}'],
    [403, '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'],
    [404, '{"errcode":"M_NOT_FOUND"}'],
    [503, 'no'],
  ])('to a host that refuses it (%i %s) burns no token and blames no homeserver', async (status, body) => {
    const store = await serve((_request, response) => void response.writeHead(status).end(body));
    const home = await serve(to(`${store.server.origin}/abc?signature=secret-signature`));
    const { download, outcomes, state } = mediaOn(transport(), home.server.origin);
    const error = await rejection(download());
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', status, userId: '@a:hs' });
    expect(error.errcode).toBeUndefined();
    expect(error.message).toContain(store.server.origin);
    expect(allTextOf(error)).not.toMatch(/secret/);
    expect([state.renewals, home.seen.length, store.seen.length]).toEqual([0, 4, 4]);
    expect(outcomes.some(({ failed }) => failed)).toBe(false);
  });

  it('to a host that is not there is NETWORK with its name, and blames no homeserver', async () => {
    const gone = await serve((_request, response) => void response.end());
    const { origin } = gone.server;
    await gone.server.stop();
    const home = await serve(to(`${origin}/abc`));
    const { download, outcomes } = mediaOn(transport(), home.server.origin);
    const error = await rejection(download());
    expect(error).toMatchObject({ code: 'NETWORK' });
    expect(error.message).toContain(origin);
    expect(outcomes.some(({ failed }) => failed)).toBe(false);
  });

  it('to a host that never answers is given up in time', async () => {
    const store = await serve(() => {});
    const home = await serve(to(`${store.server.origin}/abc`));
    const clock = new ManualClock();
    const { media, subject } = mediaOn(transport(), home.server.origin, clock);
    const asking = rejection(media.request({ ...subject, method: 'GET', path: FILE }));
    for (let attempt = 1; attempt <= 4; attempt++) {
      await store.server.until(() => store.seen.length === attempt);
      await clock.advance(TIMEOUT_MS);
      await clock.advance(10_000);
    }
    expect(await asking).toMatchObject({ code: 'TIMEOUT' });
    expect(clock.pendingTimers).toBe(0);
  });

  it.each(['ftp://hs/abc', 'data:,abc', 'http://user:password@127.0.0.1:1/abc', 'http://'])(
    'to %s is an error',
    async (location) => {
      const home = await serve(to(location));
      const error = await rejection(mediaOn(transport(), home.server.origin).download());
      expect(error).toMatchObject({ code: 'INVALID_RESPONSE', status: 307 });
      expect(error.message).not.toContain('user:password');
    },
  );

  it('is no example for an upload, which goes nowhere else and is not repeated to the same end', async () => {
    const store = await serve((_request, response) => void response.end('{}'));
    for (const target of [store.server.origin, '']) {
      const home = await serve((request, response) => {
        request.resume().on('end', () => to(`${target}/elsewhere`)(request, response));
      });
      const { upload, outcomes } = mediaOn(transport(), home.server.origin);
      const error = await rejection(upload());
      expect(error).toMatchObject({ code: 'INVALID_RESPONSE' });
      expect(error.message).toContain('redirects an upload');
      expect(home.seen.every(([url]) => url === '/upload')).toBe(true);
      expect(outcomes.some(({ failed }) => failed)).toBe(false);
    }
    expect(store.seen).toEqual([]);
  });
});

describe('a homeserver on https', () => {
  it('may redirect a download to another https host, and never to http', async () => {
    const plain = await serve((_request, response) => void response.end('over http'));
    const store = await serve((_request, response) => void response.end('over https'), 'secureHttp1');
    let location = `${store.server.origin}/abc`;
    const home = await serve((request, response) => to(location)(request, response), 'secureHttp1');
    const { download } = mediaOn(undiciTransport({ tls: { ca: certificate.cert } }), home.server.origin);
    expect(await download()).toBe('over https');
    expect(store.seen).toEqual([['/abc', undefined]]);
    location = `${plain.server.origin}/abc`;
    expect((await rejection(download())).message).toContain('from https to http');
    expect(plain.seen).toEqual([]);
  });

  it('is one for every hop', () => {
    const redirect = { status: 302, headers: new Headers({ location: 'http://store/abc' }) };
    const from = new URL('https://store/abc');
    expect(() => downloadTarget(redirect, from, new Set([from.href]))).toThrow('from https to http');
  });
});
