/** `npm run synapse [-- --port 8008 --dir path]`: a Synapse to develop against, until Ctrl-C. */
import { once } from 'node:events';
import { parseArgs } from 'node:util';

import { startSynapse } from './start-synapse.js';

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { port: { type: 'string' }, dir: { type: 'string' } } });
  const port = values.port === undefined ? undefined : Number(values.port);
  if (port !== undefined && !(Number.isInteger(port) && port > 0 && port < 65_536)) {
    throw new Error(`expected --port to be a port number, got ${values.port}`);
  }
  const synapse = await startSynapse({ port, dir: values.dir });
  const { baseUrl, admin } = synapse;
  console.log(`Synapse answers at ${baseUrl}
  server name     ${synapse.serverName}
  admin           ${admin.userId}
  admin password  ${admin.password}
  admin token     ${admin.accessToken}

The demo against it:
  MATRIX_HOMESERVER_URL=${baseUrl} MATRIX_ADMIN_USER=${admin.userId} MATRIX_ADMIN_PASSWORD=${admin.password} MATRIX_ADMIN_TOKEN=${admin.accessToken} npm run demo

Ctrl-C stops it.`);
  const keepAlive = setInterval(() => {}, 60_000);
  await Promise.race(['SIGINT', 'SIGTERM', 'SIGHUP'].map((signal) => once(process, signal)));
  clearInterval(keepAlive);
  console.log('Stopping Synapse');
  await synapse.stop();
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
