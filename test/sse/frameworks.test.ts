import { serve } from '@hono/node-server';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { EventSource } from 'undici';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import { pipeToSse, sseResponse } from '../../src/sse/index.js';
import type { SseEnd } from '../../src/sse/index.js';
import { FakeHomeserver } from '../../src/testing/index.js';

let homeserver: FakeHomeserver;
let manager: MatrixClientManager;
let userId: string;
let roomId: string;
const closing: (() => unknown)[] = [];

beforeEach(async () => {
  homeserver = new FakeHomeserver();
  manager = new MatrixClientManager({
    homeserverUrl: homeserver.baseUrl,
    admin: homeserver.admin,
    fetch: homeserver.fetch,
  });
  ({ userId } = await manager.provisionUser({ username: 'alice' }));
  manager.addCallback(userId, () => {}); // another one that receives the events: none is held for the next stream
  roomId = homeserver.createRoom({ creator: homeserver.createUser({ username: 'bob' }).userId, members: [userId] });
});

afterEach(async () => {
  await manager.shutdown();
  for (const close of closing.splice(0).toReversed()) await close();
  await homeserver.close();
});

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const retryMs = 10;

const servers: Record<string, () => Promise<string>> = {
  'node:http': () =>
    listening(
      createServer(async (request, response) => {
        const connection = await manager.connect({ userId });
        await pipeToSse(connection, response, { lastEventId: request.headers['last-event-id'], retryMs });
      }),
    ),
  express: () => {
    const app = express();
    app.use((_request, response, next) => {
      response.setHeader('access-control-allow-origin', '*');
      next();
    });
    // oxlint-disable-next-line oxc/no-async-endpoint-handlers -- express 5 handles rejections
    app.get('/', async (request, response) => {
      const connection = await manager.connect({ userId });
      await pipeToSse(connection, response, { lastEventId: request.get('last-event-id'), retryMs });
    });
    return listening(createServer(app));
  },
  fastify: async () => {
    const app = fastify();
    app.addHook('onRequest', async (_request, reply) => void reply.header('access-control-allow-origin', '*'));
    app.get('/', async (request, reply) => {
      const connection = await manager.connect({ userId });
      await pipeToSse(connection, reply, { lastEventId: request.headers['last-event-id'], retryMs });
    });
    closing.push(() => app.close());
    return app.listen({ host: '127.0.0.1', port: 0 });
  },
  hono: async () => {
    const app = new Hono();
    app.get('/', async (context) => {
      const connection = await manager.connect({ userId });
      return sseResponse(connection, { lastEventId: context.req.header('last-event-id'), retryMs });
    });
    const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }) as Server;
    await once(server, 'listening');
    closing.push(() => server.close());
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  },
};

/** An `EventSource` that logs the text of messages, and lets a test wait for one. */
function browser(url: string) {
  const log: string[] = [];
  const changed = new EventTarget();
  const source = new EventSource(url);
  closing.push(() => source.close());
  const add = (text: string): void => {
    log.push(text);
    changed.dispatchEvent(new Event('change'));
  };
  source.addEventListener('open', () => add('(open)'));
  source.addEventListener('reset', () => add('(reset)'));
  source.addEventListener('message', ({ data }) => add((JSON.parse(String(data)) as { text: string }).text));
  const until = async (isThere: () => boolean): Promise<void> => {
    while (!isThere()) await once(changed, 'change');
  };
  return { source, log, until };
}

test.each(Object.entries(servers))(
  'a browser of %s gets events, and after a break what it has missed',
  async (_name, start) => {
    const url = await start();
    const { source, log, until } = browser(url);
    await until(() => log.length > 0);
    const say = (text: string): string => homeserver.sendMessage(roomId, '@bob:hs.test', text);
    say('one');
    await until(() => log.includes('one'));
    await manager.stopClient(userId); // ends the stream
    say('two');
    say('three');
    await until(() => log.includes('three'));
    say('four');
    await until(() => log.includes('four'));
    expect(log.filter((text) => text !== '(open)')).toEqual(['one', 'two', 'three', 'four']);

    expect(manager.clientInfo(userId)?.connections).toBe(1);
    source.close();
    await vi.waitFor(() => expect(manager.clientInfo(userId)?.connections).toBe(0));
  },
);

test('a browser of node:http2 that leaves before the stream begins is noticed', async () => {
  const ended = Promise.withResolvers<SseEnd>();
  const server = createHttp2Server(async (_request, response) => {
    const connection = await manager.connect({ userId });
    const closed = once(response, 'close');
    request.close();
    await closed;
    pipeToSse(connection, response).then(ended.resolve, ended.reject);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  closing.push(
    () => server.close(),
    () => session.destroy(),
  );
  const request = session.request();
  expect(await ended.promise).toEqual({ reason: 'disconnected' });
  expect(manager.clientInfo(userId)?.connections).toBe(0);
});
