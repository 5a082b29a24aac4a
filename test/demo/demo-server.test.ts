import { request } from 'node:http';
import type { OutgoingHttpHeaders } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Demo } from '../../demo/demo.js';

let demo: Demo;
let room: string;
beforeAll(async () => {
  demo = await Demo.start({ port: 0, history: 0 });
  const { rooms } = JSON.parse((await ask('GET', '/api/alice/rooms')).body) as { rooms: { roomId: string }[] };
  room = `/api/alice/rooms/${encodeURIComponent(rooms[0]?.roomId ?? '')}`;
});
afterAll(() => demo?.[Symbol.asyncDispose]());

interface Reply {
  readonly status: number | undefined;
  readonly body: string;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** A request with any path and headers, also those that `fetch` would correct or refuse. */
function ask(method: string, path: string, headers: OutgoingHttpHeaders = {}, body?: string): Promise<Reply> {
  const { hostname, port } = new URL(demo.url);
  return new Promise((resolve, reject) => {
    const outgoing = request({ hostname, port, method, path, headers, agent: false }, (response) => {
      const { statusCode: status, headers } = response;
      text(response).then((body) => resolve({ status, body, headers }), reject);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** What a stream of Alice's events sends up to `until`. */
async function read(lastEventId: string, until: string): Promise<string> {
  const ending = new AbortController();
  const response = await fetch(new URL(`/api/alice/events?lastEventId=${lastEventId}`, demo.url), ending);
  let received = '';
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    received += chunk;
    if (received.includes(until)) break;
  }
  ending.abort();
  return received;
}

const json = { 'content-type': 'application/json' };

describe('the server of the demo', () => {
  test('listens on this machine only', () => {
    expect(demo.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
  });

  test.each(['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example:80', '10.0.0.1'])(
    'refuses the name %s, which leads here',
    async (host) => {
      expect(await ask('GET', '/api/people', { host })).toMatchObject({ status: 421, body: '{"error":"WRONG_HOST"}' });
    },
  );

  test.each([
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
  ])('refuses a request of another page: %j', async (headers) => {
    const reply = await ask('POST', `${room}/messages`, { ...json, ...headers }, '{"text":"x"}');
    expect(reply).toMatchObject({ status: 403, body: '{"error":"WRONG_ORIGIN"}' });
  });

  test('sends a policy with the page that lets no other script run', async () => {
    const { headers } = await ask('GET', '/');
    expect(headers).toMatchObject({
      'content-security-policy': expect.stringMatching(/^default-src 'none'; script-src 'self';/),
      'x-content-type-options': 'nosniff',
    });
  });

  test.each([
    '/../package.json',
    '/..%2fpackage.json',
    '/%2e%2e/demo.ts',
    '/style.css/',
    '/constructor',
    '//evil/x.js',
  ])('has no file %s', async (path) => {
    expect(await ask('GET', path)).toMatchObject({ status: 404 });
  });

  test.each([
    ['GET', '/api/carol/rooms', 404],
    ['GET', '/api/__proto__/rooms', 404],
    ['GET', '/api/alice/%ff', 400],
    ['GET', '/api/alice/rooms/nonsense/messages', 400],
    ['GET', '/api/alice/rooms/!unknown:hs.test/messages', 403],
    ['GET', '/api/alice/rooms/!unknown:hs.test/files/$x', 404],
    ['DELETE', '/api/alice/rooms', 404],
    ['PUT', '/style.css', 405],
    ['GET', '//', 400],
    ['GET', 'http://[', 400],
  ])('%s %s: %i', async (method, path, status) => {
    expect((await ask(method, path)).status).toBe(status);
  });

  test.each([
    ['{"text":1}', 400],
    ['{"text"', 400],
    ['["text"]', 400],
    ['{"__proto__":{"text":"x"}}', 400],
    ['{"text":"x","replyTo":"no event"}', 400],
    [JSON.stringify({ text: 'x'.repeat(200_000) }), 413],
    [JSON.stringify({ text: 'x'.repeat(100_000) }), 400], // more than fits into an event
  ])('refuses the message %.40s', async (body, status) => {
    expect((await ask('POST', `${room}/messages`, json, body)).status).toBe(status);
  });

  test('takes messages as JSON only, which pages of others cannot send', async () => {
    expect((await ask('POST', `${room}/messages`, { 'content-type': 'text/plain' }, '{"text":"x"}')).status).toBe(415);
  });

  test.each([
    [{ 'x-file-name': 'a', 'content-length': 30_000_000 }, 413],
    [{ 'x-file-name': 'a', 'transfer-encoding': 'chunked' }, 411],
    [{ 'content-length': 1 }, 400],
    [{ 'x-file-name': '%ff', 'content-length': 1 }, 400],
    [{ 'x-file-name': 'a', 'content-length': 1, 'content-type': 'no type' }, 400],
  ])('refuses the file %j', async (headers, status) => {
    expect((await ask('POST', `${room}/files`, headers, 'x')).status).toBe(status);
  });

  test('continues a stream after the last event, and says when it cannot', async () => {
    const first = await read('', 'event: hello\n');
    expect(first).toContain('"isResumed":false');
    const [, id = ''] = /^id: (\S+)$/m.exec(first) ?? [];
    await ask('POST', `${room}/messages`, json, '{"text":"missed"}');
    const second = await read(id, 'missed');
    expect(second).toContain('"isResumed":true');
    for (const unknown of ['x.1', `${id}999`, id.replace(/\.\d+$/, '.-1'), `${id}.%0Aevent: message`]) {
      expect(await read(unknown, 'event: hello\n')).toContain('"isResumed":false');
    }
  });

  test('a page that has missed more than a stream may hold is told so, instead of being cut off each time', async () => {
    const [, id = ''] = /^id: (\S+)$/m.exec(await read('', 'event: hello\n')) ?? [];
    const last = `last ${'x'.repeat(30_000)}`;
    for (let count = 0; count < 40; count++) {
      const text = count < 39 ? 'x'.repeat(30_000) : last;
      expect((await ask('POST', `${room}/messages`, json, JSON.stringify({ text }))).status).toBe(201);
    }
    expect(await read(id, 'event: hello\n')).toContain('"isResumed":false');
  });

  test('a browser that leaves in the middle of a body is no failure to report', async () => {
    const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    const { hostname, port } = new URL(demo.url);
    const headers = { ...json, 'content-length': 100 };
    const outgoing = request({ hostname, port, method: 'POST', path: `${room}/messages`, headers, agent: false });
    outgoing.on('error', () => {});
    outgoing.write('{"text":');
    await ask('GET', '/'); // after the beginning of the body, and then after its end
    outgoing.destroy();
    await ask('GET', '/');
    await ask('GET', '/');
    expect(written).not.toHaveBeenCalled();
    written.mockRestore();
  });
});
