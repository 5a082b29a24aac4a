/**
 * What an operator wants of a process: GET /healthz answers 200, or 503 while the homeserver is down; GET /metrics
 * answers what Prometheus scrapes, for the dashboard in grafana-dashboard.json. `PORT` (0: any) is where it listens.
 * Two users write to each other meanwhile, so that there is something to see.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { MatrixClientManager } from 'matrix-client-manager';
import { openHomeserver } from './homeserver.js';

// Its own server stays off: one of ours answers.
const prometheus = new PrometheusExporter({ preventServerStart: true });
const meterProvider = new MeterProvider({ readers: [prometheus] });

const homeserver = await openHomeserver();
const manager = new MatrixClientManager({
  homeserverUrl: homeserver.url,
  admin: homeserver.admin,
  meterProvider, // or metrics.setGlobalMeterProvider(meterProvider) before this line
});

const server = createServer((request, response) => {
  if (request.url === '/metrics') {
    prometheus.getMetricsRequestHandler(request, response);
  } else if (request.url === '/healthz') {
    manager.checkHealth().then(
      (health) => reply(health.status === 'down' ? 503 : 200, health),
      () => reply(503, { status: 'down', reasons: ['shutting down'] }),
    );
  } else reply(404, { error: 'NOT_FOUND' });

  function reply(status: number, body: unknown): void {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  }
});

const alice = await manager.provisionUser({ username: homeserver.username('alice') });
const bob = await manager.provisionUser({ username: homeserver.username('bob') });
let seen = 0;
for (const { userId } of [alice, bob]) {
  await manager.startClient({ userId, callbacks: [(event) => void (event.type === 'message' && seen++)] });
}
const { roomId } = await manager.rooms.create({ userId: alice.userId, invite: [bob.userId] });
await manager.rooms.join({ userId: bob.userId, roomId });

let sent = 0;
async function talk(): Promise<void> {
  await manager.sendMessage({ userId: alice.userId, roomId, text: `message ${++sent}` });
  await manager.sendMessage({ userId: bob.userId, roomId, text: `answer ${sent}` });
}
await talk();
const talking = setInterval(() => void talk().catch((error: unknown) => console.error(error)), 5_000);

async function shutDown(signal: string): Promise<void> {
  console.log(`${signal}: shutting down; ${sent} messages sent, ${seen} seen`);
  clearInterval(talking);
  await manager.shutdown();
  server.close();
  server.closeAllConnections();
  await meterProvider.shutdown();
  await homeserver[Symbol.asyncDispose]();
}
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => void shutDown(signal));

server.listen(Number(process.env['PORT'] ?? 0), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(`listening on http://127.0.0.1:${port}`);
});
