import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import type { Clock } from '../../src/core/clock.js';
import type { RequestOutcome } from '../../src/core/ports/request-gate.js';
import { openGate } from '../../src/core/ports/request-gate.js';
import { fetchTransport, globalFetch } from '../../src/http/fetch-transport.js';
import { MediaHttp } from '../../src/http/media-http.js';
import { Session } from '../../src/http/session.js';
import type { Transport } from '../../src/core/ports/transport.js';
import { undiciTransport } from '../../src/undici/index.js';
import { rejection } from '../support/rejection.js';
import { TransportServer } from '../support/transport-server.js';
import { testHomeserver } from '../support/context.js';

const SIZE = 300_000;
const TIMEOUT_MS = 30_000;
const bytes = randomBytes(SIZE);

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const taken: Answer = (request, response) => {
  let size = 0;
  request.on('data', (chunk: Buffer) => (size += chunk.byteLength));
  request.on('end', () => response.end(`${size}`));
};

function refusal(status: number, errcode: string, headers: Record<string, string> = {}): Answer {
  return (request, response) => {
    request.resume();
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify({ errcode, error: 'no' }));
  };
}

const limited = refusal(429, 'M_LIMIT_EXCEEDED', { 'retry-after': '7' });
const down = refusal(503, 'M_UNKNOWN');
const cut: Answer = (request) => request.once('data', () => request.socket.destroy());

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** Uploads to a server that gives one answer after the other; waits between attempts are noted, not waited for. */
async function setUp(transport: Transport, ...answers: Answer[]) {
  let requests = 0;
  const server = await TransportServer.plain((request, response) => {
    const answer = answers[Math.min(requests++, answers.length - 1)] ?? taken;
    answer(request as IncomingMessage, response);
  });
  const connections = transport.open();
  cleanups.push(
    () => server[Symbol.asyncDispose](),
    () => connections.close(),
  );
  const waits: number[] = [];
  const beforeWait: (() => Promise<void> | void)[] = [];
  const clock: Clock = {
    ...systemClock,
    setTimeout: (fire, ms) => {
      if (ms === TIMEOUT_MS) return systemClock.setTimeout(fire, ms);
      waits.push(ms);
      const ready = Promise.resolve(beforeWait.shift()?.());
      return systemClock.setTimeout(() => void ready.then(fire), 0);
    },
  };
  const outcomes: RequestOutcome[] = [];
  const gate = { ...openGate, record: (outcome: RequestOutcome) => void outcomes.push(outcome) };
  const homeserverUrl = server.origin;
  const media = new MediaHttp(
    testHomeserver({ homeserverUrl, connections, clock, requestTimeoutMs: TIMEOUT_MS, gate }),
  );
  const credentials = { userId: '@a:x', deviceId: 'D', accessToken: 't' };
  const session = new Session('@a:x', credentials, async () => credentials);
  const made = { times: 0 };
  const upload = async (repeatable: boolean, signal = new AbortController().signal): Promise<string> => {
    const body = async function* (): AsyncGenerator<Uint8Array> {
      made.times++;
      for (let at = 0; at < SIZE; at += 65_536) yield bytes.subarray(at, at + 65_536);
    };
    const answer = await media.request({
      operation: 'uploading',
      method: 'POST',
      path: '/upload',
      headers: { 'content-length': `${SIZE}` },
      session,
      body,
      repeatable,
      signal,
    });
    let text = '';
    for await (const chunk of answer.body) text += Buffer.from(chunk).toString();
    return text;
  };
  return { server, upload, waits, beforeWait, made, outcomes, requests: () => requests };
}

describe.each([
  ['the global fetch', () => fetchTransport(globalFetch)],
  ['undici', () => undiciTransport()],
])('an upload over %s', (_name, transport) => {
  it('that is rate limited is sent again, whole, when the homeserver says', async () => {
    const { upload, waits, requests } = await setUp(transport(), limited, taken);
    expect(await upload(true)).toBe(`${SIZE}`);
    expect([requests(), waits.length]).toEqual([2, 1]);
    expect(waits[0]).toBeGreaterThanOrEqual(7_000);
    expect(waits[0]).toBeLessThan(8_000);
  });

  it('that broke in the middle, or met a homeserver in trouble, is sent again whole', async () => {
    const { upload, waits, outcomes, made } = await setUp(transport(), cut, down, taken);
    expect(await upload(true)).toBe(`${SIZE}`);
    expect(outcomes.map(({ failed }) => failed)).toEqual([true, true, false]);
    expect([waits.length, made.times]).toEqual([2, 3]);
  });

  it.each([
    [
      'is rate limited',
      limited,
      { code: 'RATE_LIMITED', errcode: 'M_LIMIT_EXCEEDED', status: 429, retryAfterMs: 7_000 },
    ],
    ['meets a homeserver in trouble', down, { code: 'HOMESERVER_UNAVAILABLE', status: 503 }],
    ['breaks in the middle', cut, { code: 'NETWORK' }],
  ])('of a stream is not sent again when it %s, and its error says what to do', async (_what, answer, expected) => {
    const { upload, waits, requests } = await setUp(transport(), answer);
    const error = await rejection(upload(false));
    expect(error).toMatchObject(expected);
    expect(error.message).toMatch(/^uploading failed.*; the file was given as a stream, which cannot be read twice/);
    expect([requests(), waits]).toEqual([1, []]);
  });

  it.each([true, false])('of which nothing was read is sent again (repeatable: %s)', async (repeatable) => {
    const { server, upload, waits, beforeWait, made } = await setUp(transport(), taken);
    await server.stop();
    beforeWait.push(
      () => {},
      async () => void (await server.listen()),
    );
    expect(await upload(repeatable)).toBe(`${SIZE}`);
    expect([waits.length, made.times]).toEqual([2, 1]);
  });

  it('that its caller has left is not sent again', async () => {
    const { upload, waits, beforeWait, requests } = await setUp(transport(), limited);
    const leaving = new AbortController();
    beforeWait.push(() => leaving.abort());
    expect(await rejection(upload(true, leaving.signal))).toMatchObject({ code: 'ABORTED' });
    expect([requests(), waits.length]).toEqual([1, 1]);
  });

  it('is given up after four attempts, or when it is to wait too long', async () => {
    const failing = await setUp(transport(), down);
    expect(await rejection(failing.upload(true))).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE', status: 503 });
    expect(failing.requests()).toBe(4);
    const slow = await setUp(transport(), refusal(429, 'M_LIMIT_EXCEEDED', { 'retry-after': '3600' }));
    expect(await rejection(slow.upload(true))).toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 3_600_000 });
    expect(slow.requests()).toBe(1);
  });
});
