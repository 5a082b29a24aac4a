/**
 * An HTTP server that ends well: on SIGTERM it takes no new request, lets those under way finish, stops every client,
 * and exits by itself because nothing is left running. `PORT` (0: any) is where it listens.
 *
 * GET /healthz answers 200 or 503; POST /messages {"user", "room", "text"} sends; GET /messages?user=&room= reads.
 */
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { json } from 'node:stream/consumers';
import type { AddressInfo } from 'node:net';
import { httpStatus, isManagerError, MatrixClientManager } from 'matrix-client-manager';
import { openHomeserver } from './homeserver.js';

const homeserver = await openHomeserver();
const manager = new MatrixClientManager({ homeserverUrl: homeserver.url, admin: homeserver.admin });
manager.on('clientStopped', ({ userId, reason }) => console.log(`client of ${userId} stopped: ${reason}`));

// Something to talk to.
const { userId } = await manager.provisionUser({ username: homeserver.username('alice') });
const { roomId } = await manager.rooms.create({ userId, name: 'Lobby' });
await manager.startClient({ userId });

const server = createServer((request, response) => {
  handle(request, response).catch((error: unknown) => {
    console.error(error);
    reply(response, httpStatus(error), { error: isManagerError(error) ? error.code : 'INTERNAL' });
  });
});

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
  const route = `${request.method} ${pathname}`;
  if (route === 'GET /healthz') {
    const health = await manager.checkHealth();
    reply(response, health.status === 'down' ? 503 : 200, health);
  } else if (route === 'POST /messages') {
    const { user, room, text } = (await json(request)) as { user: string; room: string; text: string };
    reply(response, 201, await manager.sendMessage({ userId: user, roomId: room, text }));
  } else if (route === 'GET /messages') {
    const [user, room] = [searchParams.get('user') ?? '', searchParams.get('room') ?? ''];
    reply(response, 200, await manager.getRoomMessages({ userId: user, roomId: room }));
  } else {
    reply(response, 404, { error: 'NOT_FOUND' });
  }
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

async function shutDown(signal: string): Promise<void> {
  console.log(`${signal}: shutting down`);
  // First the server, so that requests under way still find a manager; then the manager.
  await new Promise((resolve) => {
    server.close(resolve);
    server.closeIdleConnections();
  });
  await manager.shutdown();
  await homeserver[Symbol.asyncDispose]();
  console.log('nothing is left running');
}
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => void shutDown(signal));

server.listen(Number(process.env['PORT'] ?? 0), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(`listening on http://127.0.0.1:${port} with user ${userId} in room ${roomId}`);
});
