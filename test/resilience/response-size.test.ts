import { once } from 'node:events';
import { createServer } from 'node:http';
import type { RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import * as v from 'valibot';
import { systemClock } from '../../src/core/clock.js';
import { fetchTransport, globalFetch } from '../../src/http/fetch-transport.js';
import type { HomeserverHttp } from '../../src/http/homeserver-http.js';
import { rejection } from '../support/rejection.js';
import { testHomeserver } from '../support/context.js';

const MAX_BYTES = 10_000;
const servers: (() => void)[] = [];
afterEach(() => {
  for (const close of servers.splice(0)) close();
});

async function serve(listener: RequestListener): Promise<HomeserverHttp> {
  const server = createServer(listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  servers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return testHomeserver({
    homeserverUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: fetchTransport(globalFetch).open(),
    clock: systemClock,
    requestTimeoutMs: 10_000,
    maxResponseBytes: MAX_BYTES,
  }).http;
}

const request = { operation: 'reading', method: 'GET', path: '/', repeatable: false } as const;
const json = (bytes: number): string => JSON.stringify('x'.repeat(bytes - 2));

describe('an answer', () => {
  it('of the largest size allowed is read', async () => {
    const http = await serve((_request, response) => response.end(json(MAX_BYTES)));
    expect(await http.request(v.string(), request)).toHaveLength(MAX_BYTES - 2);
  });

  it('that announces more is not read at all', async () => {
    let written = 0;
    const http = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 1_000_000_000 });
      const write = (): void => {
        for (let chunks = 0; chunks < 100 && response.writable; chunks++) {
          written += 10_000;
          if (!response.write('x'.repeat(10_000))) return;
        }
      };
      response.on('drain', write);
      write();
    });
    const error = await rejection(http.request(v.string(), request));
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE' });
    expect(error.message).toContain('maxResponseBytes');
    expect(written).toBeLessThan(100_000_000);
  });

  it('that comes in pieces without an end is left off', async () => {
    const http = await serve((_request, response) => {
      const write = (): void => {
        while (response.write('x'.repeat(1_000)));
      };
      response.on('drain', write);
      write();
    });
    expect(await rejection(http.request(v.string(), request))).toMatchObject({ code: 'INVALID_RESPONSE' });
  });

  it('that is small until it is unpacked is left off', async () => {
    const bomb = gzipSync(json(50_000_000));
    expect(bomb.byteLength).toBeLessThan(100_000);
    const http = await serve((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' });
      response.end(bomb);
    });
    expect(await rejection(http.request(v.string(), request))).toMatchObject({ code: 'INVALID_RESPONSE' });
    const small = gzipSync(json(40_000));
    expect(small.byteLength).toBeLessThan(MAX_BYTES);
    const announcing = await serve((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': small.byteLength });
      response.end(small);
    });
    expect(await rejection(announcing.request(v.string(), request))).toMatchObject({ code: 'INVALID_RESPONSE' });
  });

  it('of a compressed response within the limit is read', async () => {
    const http = await serve((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' });
      response.end(gzipSync(json(5_000)));
    });
    expect(await http.request(v.string(), request)).toHaveLength(4_998);
  });
});
