import { afterEach, describe, expect, it } from 'vitest';
import type { HttpResponse, OpenTransport, TransportRequest } from '../../src/core/ports/transport.js';
import { undiciTransport } from '../../src/undici/index.js';
import type { UndiciTransportOptions } from '../../src/undici/index.js';
import { certificate, TransportServer } from '../support/transport-server.js';

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

function open(options: UndiciTransportOptions = {}): OpenTransport {
  const connections = undiciTransport({ tls: { ca: certificate.cert }, ...options }).open();
  opened.push({ [Symbol.asyncDispose]: () => connections.close() });
  return connections;
}

async function serve(...server: Parameters<typeof TransportServer.secure>): Promise<TransportServer> {
  const made = await TransportServer.secure(...server);
  opened.push(made);
  return made;
}

function get(
  connections: OpenTransport,
  { origin }: TransportServer,
  path: string,
  more: Partial<TransportRequest> = {},
): Promise<HttpResponse> {
  const { signal } = new AbortController();
  return connections.send({ method: 'GET', origin, path, headers: {}, lane: 'call', maxBytes: 1e6, signal, ...more });
}

/** A server that answers `/now` at once, and holds everything else until it is told. */
async function holding(options: Parameters<typeof TransportServer.secure>[1] = {}) {
  const held = new Map<string, () => void>();
  const seen: string[] = [];
  const server = await serve((request, response) => {
    const url = request.url ?? '';
    seen.push(`${request.httpVersion} ${url}`);
    if (url === '/now') {
      response.end('{"now":true}');
      return;
    }
    held.set(url, () => response.end(JSON.stringify(url)));
    response.on('close', () => held.delete(url));
  }, options);
  return { server, held, seen };
}

describe('HTTP/2', () => {
  it('is spoken with who offers it, and one connection of a lane carries many requests', async () => {
    const { server, held, seen } = await holding();
    const connections = open();
    const answers = Array.from({ length: 50 }, (_, n) => get(connections, server, `/${n}`));
    await server.until(() => held.size === 50);
    expect(new Set(seen.map((line) => line.slice(0, 3)))).toEqual(new Set(['2.0']));
    expect(server.connections).toBe(1);
    for (const answer of held.values()) answer();
    expect((await Promise.all(answers)).map(({ text }) => text)).toEqual(answers.map((_, n) => `"/${n}"`));
  });

  it('is not spoken where it is switched off, or not offered', async () => {
    const { server, seen } = await holding();
    await get(open({ http2: false }), server, '/now');
    const old = await TransportServer.secureHttp1((request, response) => response.end(request.httpVersion));
    opened.push(old);
    expect((await get(open(), old, '/')).text).toBe('1.1');
    expect(seen).toEqual(['1.1 /now']);
  });

  it('holds 200 polls where a connection takes 100, while sends and admin calls go on', async () => {
    const { server, held } = await holding({ settings: { maxConcurrentStreams: 100 } });
    const connections = open();
    const polls = Array.from({ length: 200 }, (_, n) => get(connections, server, `/${n}`, { lane: 'poll' }));
    await server.until(() => held.size === 200);
    expect(server.connections).toBeGreaterThanOrEqual(2);
    expect(server.connections).toBeLessThan(10);
    await get(connections, server, '/now', { lane: 'admin' });
    await get(connections, server, '/now', { method: 'PUT', body: '{}' });
    for (const answer of held.values()) answer();
    expect((await Promise.all(polls)).every(({ status }) => status === 200)).toBe(true);
  });

  it('goes on for the others when one request is aborted', async () => {
    const { server, held } = await holding();
    const connections = open();
    const controller = new AbortController();
    const aborted = get(connections, server, '/a', { signal: controller.signal });
    const other = get(connections, server, '/b');
    await server.until(() => held.size === 2);
    controller.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    await server.until(() => held.size === 1);
    held.get('/b')?.();
    expect((await other).text).toBe('"/b"');
    await get(connections, server, '/now');
    expect(server.connections).toBe(1);
  });

  it('takes another connection after a GOAWAY, and ends well what was under way', async () => {
    const { server, held } = await holding();
    const connections = open();
    const before = get(connections, server, '/a');
    await server.until(() => held.size === 1);
    for (const session of server.sessions) session.goaway(0);
    await get(connections, server, '/now');
    held.get('/a')?.();
    expect((await before).text).toBe('"/a"');
    await get(connections, server, '/now');
    expect(server.connections).toBe(2);
  });

  it('fails what was under way when the homeserver is killed, and is back with it', async () => {
    const { server, held } = await holding();
    const connections = open();
    const lost = get(connections, server, '/a', { method: 'PUT', body: '{}' }).catch((error: unknown) => error);
    await server.until(() => held.size === 1);
    await server.stop();
    expect(await lost).toMatchObject({ code: expect.stringMatching(/^(UND_ERR_SOCKET|ECONNRESET|UND_ERR_INFO)$/) });
    await expect(get(connections, server, '/now')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await server.listen();
    expect((await get(connections, server, '/now')).status).toBe(200);
  });

  it('is given up with a connection over which an answer did not come in time', async () => {
    const { server, held } = await holding();
    const connections = open();
    const controller = new AbortController();
    const stalled = get(connections, server, '/a', { signal: controller.signal });
    const other = get(connections, server, '/b');
    await server.until(() => held.size === 2);
    controller.abort(new DOMException('no answer', 'TimeoutError'));
    await expect(stalled).rejects.toThrow('no answer');
    await get(connections, server, '/now');
    expect(server.connections).toBe(2);
    held.get('/b')?.();
    expect((await other).text).toBe('"/b"');
    await server.until(() => server.sockets.size === 1);
  });

  it('leaves no socket when it is closed, whatever is under way', async () => {
    const { server, held } = await holding();
    const connections = open();
    const lanes = (['poll', 'admin', 'call'] as const).map((lane) => get(connections, server, `/${lane}`, { lane }));
    const outcomes = Promise.allSettled(lanes);
    await server.until(() => held.size === 3);
    await connections.close();
    expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    await server.until(() => server.sockets.size === 0);
  });
});

describe('the certificate', () => {
  it('of somebody whom Node does not know is refused, whatever the environment says', async () => {
    const { server } = await holding();
    const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    try {
      const connections = undiciTransport().open();
      opened.push({ [Symbol.asyncDispose]: () => connections.close() });
      await expect(get(connections, server, '/now')).rejects.toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    } finally {
      if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
      else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
    }
  });

  it.each([
    { tls: { rejectUnauthorized: false } },
    { rejectUnauthorized: false },
    { callConnections: 0 },
    { http2: 1 },
  ])('and the rest cannot be got around: %j is refused', (options) => {
    expect(() => undiciTransport(options as UndiciTransportOptions)).toThrow('of undiciTransport');
  });
});
