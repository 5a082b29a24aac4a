import { serve } from '@hono/node-server';
import type { Express } from 'express';
import type { FastifyInstance } from 'fastify';
import type { Hono } from 'hono';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server as SocketServer } from 'socket.io';
import type { Socket } from 'socket.io';
import { io } from 'socket.io-client';
import { EventSource } from 'undici';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import { FakeHomeserver } from '../../src/testing/index.js';

/** Runs the code of docs/guide/browsers.md. */
const page = 'docs/guide/browsers.md';

let homeserver: FakeHomeserver;
let manager: MatrixClientManager;
let userId: string;
let roomId: string;
const closing: (() => unknown)[] = [];

beforeEach(async () => {
  homeserver = new FakeHomeserver();
  const { baseUrl: homeserverUrl, admin, fetch } = homeserver;
  manager = new MatrixClientManager({ homeserverUrl, admin, fetch });
  ({ userId } = await manager.provisionUser({ username: 'alice' }));
  roomId = homeserver.createRoom({ creator: homeserver.createUser({ username: 'bob' }).userId, members: [userId] });
});

afterEach(async () => {
  await manager.shutdown();
  for (const close of closing.splice(0).toReversed()) await close();
  await homeserver.close();
});

const say = (text: string): string => homeserver.sendMessage(roomId, '@bob:hs.test', text);

async function listening(server: Server): Promise<string> {
  if (!server.listening) await once(server.listen(0, '127.0.0.1'), 'listening');
  closing.push(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`;
}

type Make<App> = (from: MatrixClientManager, userOf: () => string) => App;

const servers: Record<string, () => Promise<string>> = {
  'node:http': async () => {
    const { httpServer } = (await import(`${page}/sse-http.ts`)) as { httpServer: Make<Server> };
    return listening(httpServer(manager, () => userId));
  },
  express: async () => {
    const { expressApp } = (await import(`${page}/sse-express.ts`)) as { expressApp: Make<Express> };
    return listening(createServer(expressApp(manager, () => userId)));
  },
  fastify: async () => {
    const { fastifyApp } = (await import(`${page}/sse-fastify.ts`)) as { fastifyApp: Make<FastifyInstance> };
    const app = fastifyApp(manager, () => userId);
    closing.push(() => app.close());
    return `${await app.listen({ host: '127.0.0.1', port: 0 })}/events`;
  },
  hono: async () => {
    const { honoApp } = (await import(`${page}/sse-hono.ts`)) as { honoApp: Make<Hono> };
    const { fetch } = honoApp(manager, () => userId);
    return listening(serve({ fetch, hostname: '127.0.0.1', port: 0 }) as Server);
  },
};

test.each(Object.entries(servers))('the server of the page with %s sends events to a browser', async (_name, start) => {
  const source = new EventSource(await start());
  closing.push(() => source.close());
  await new Promise((resolve) => source.addEventListener('open', resolve));
  const text = new Promise((resolve) => source.addEventListener('message', ({ data }) => resolve(String(data))));
  say('Hello');
  expect(JSON.parse(String(await text))).toMatchObject({ type: 'message', text: 'Hello' });
});

test('the socket.io server of the page sends events, what was missed, and messages', async () => {
  const { serveSockets } = (await import(`${page}/socket-server.ts`)) as {
    serveSockets: (server: SocketServer, from: MatrixClientManager, userOf: (socket: Socket) => string) => void;
  };
  const http = createServer();
  const server = new SocketServer(http);
  closing.push(() => server.close());
  serveSockets(server, manager, (socket) => {
    if (socket.handshake.auth.token === 'alice') return userId;
    throw new Error('no sign-in');
  });
  const { origin } = new URL(await listening(http));
  const connect = (token: string) => {
    const socket = io(origin, { auth: { token }, reconnection: false, transports: ['websocket'] });
    closing.push(() => socket.close());
    return socket;
  };
  const refused = connect('mallory');
  const error = await new Promise<Error>((resolve) => refused.on('connect_error', resolve));
  expect(error.message).toBe('UNAUTHORIZED');

  const socket = connect('alice');
  const received: { type: string; text?: string }[] = [];
  socket.on('matrix', (event: { type: string }) => received.push(event));
  await new Promise<void>((resolve) => socket.on('connect', resolve));
  const first = say('one');
  await vi.waitFor(() => expect(received).toMatchObject([{ type: 'message', text: 'one' }]));
  socket.close();
  await vi.waitFor(() => expect(manager.clientInfo(userId)?.connections).toBe(0));
  say('two');

  const again = connect('alice');
  const missed = (await again.emitWithAck('missed', roomId, first)) as { messages: { text: string }[] };
  expect(missed.messages.map(({ text }) => text)).toEqual(['two']);
  expect(await again.emitWithAck('missed', roomId, 'x')).toEqual({ error: 'INVALID_OPTIONS' });
  expect(await again.emitWithAck('send', roomId, 'three', 'txn')).toEqual({ eventId: expect.stringMatching(/^\$/) });
});

test('the socket.io server of the page keeps no client live for a browser that has left during the sign-in', async () => {
  const { serveSockets } = (await import(`${page}/socket-server.ts`)) as {
    serveSockets: (server: SocketServer, from: MatrixClientManager, userOf: (socket: Socket) => string) => void;
  };
  const http = createServer();
  const server = new SocketServer(http);
  closing.push(() => server.close());
  serveSockets(server, manager, () => userId);
  const { origin } = new URL(await listening(http));
  const answer = Promise.withResolvers<void>();
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>();
  const connect = manager.connect.bind(manager);
  vi.spyOn(manager, 'connect').mockImplementation(async (options) => {
    ask();
    await answer.promise;
    return connect(options);
  });
  const socket = io(origin, { reconnection: false, transports: ['websocket'] });
  await asked;
  socket.close();
  await vi.waitFor(() => expect(server.engine.clientsCount).toBe(0));
  answer.resolve();
  await vi.waitFor(() => expect(manager.clientInfo(userId)).toMatchObject({ state: 'live', connections: 0 }));
});
