// The clients of the benchmark, all of one kind, in a process of their own.
import { ClientEvent, createClient, SyncState } from 'matrix-js-sdk';
import PQueue from 'p-queue';
import { sdkLogger, silenceSdkRootLogger } from '../../src/clients/sdk-logger.js';
import { silentLogger } from '../../src/core/logger.js';
import { MatrixClientManager } from '../../src/index.js';
import type { FakeUser } from '../../src/testing/index.js';
import { answerParent } from './child.js';
import { PerSecond } from './per-second.js';
import type { ClientsAsk, ClientsReport } from './protocol.js';

const START_CONCURRENCY = 8;

let perSecond = new PerSecond();
let cpu = process.cpuUsage();

const { fetch } = globalThis;
globalThis.fetch = (input, init) => {
  perSecond.count();
  return fetch(input, init);
};

answerParent(async (ask: ClientsAsk) => {
  if (ask.do === 'report') return report();
  if (ask.do === 'start') {
    await (ask.kind === 'library'
      ? startManager(ask.homeserverUrl, ask.users)
      : startBare(ask.homeserverUrl, ask.users));
  }
  perSecond = new PerSecond();
  cpu = process.cpuUsage();
  return undefined;
});

function report(): ClientsReport {
  const { user, system } = process.cpuUsage(cpu);
  return { cpuMs: (user + system) / 1_000, perSecond: perSecond.counts };
}

async function startManager(homeserverUrl: string, users: readonly FakeUser[]): Promise<void> {
  const manager = new MatrixClientManager({ homeserverUrl, startConcurrency: START_CONCURRENCY });
  await Promise.all(users.map((user) => manager.startClient({ ...user, callbacks: [() => {}] })));
}

async function startBare(baseUrl: string, users: readonly FakeUser[]): Promise<void> {
  silenceSdkRootLogger(); // writing to a console would be measured too
  const starts = new PQueue({ concurrency: START_CONCURRENCY });
  await starts.addAll(
    users.map((user) => async () => {
      const client = createClient({
        baseUrl,
        ...user,
        disableVoip: true,
        logger: sdkLogger(silentLogger, user.userId),
      });
      const prepared = new Promise<void>((resolve) => {
        client.on(ClientEvent.Sync, (state) => {
          if (state === SyncState.Prepared) resolve();
        });
      });
      await client.startClient({ initialSyncLimit: 20, lazyLoadMembers: true, disablePresence: true });
      await prepared;
    }),
  );
}
