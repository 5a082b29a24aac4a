import { expect, it } from 'vitest';
import { activityPolicy, MatrixClientManager, sqliteStorage, SynapseAdminProvisioner } from '../../src/index.js';
import { undiciTransport } from '../../src/undici/index.js';

const homeserverUrl = 'https://hs.test';
const admin = { userId: '@admin:hs.test', accessToken: 'token' };
const secret = new Uint8Array(32);
const now = { now: 0, lastActivityAt: 0 };

/** Each makes something with options that databases may return as null: numbers, clocks and loggers. */
const makers: Readonly<Record<string, (none: never) => unknown>> = {
  MatrixClientManager: (none) =>
    new MatrixClientManager({ homeserverUrl, clock: none, logger: none, idleTimeoutMs: none }).shutdown(),
  'the option encryption': (none) =>
    new MatrixClientManager({
      homeserverUrl,
      encryption: { path: ':memory:', secret, decryptionTimeoutMs: none },
    }).shutdown(),
  sqliteStorage: (none) =>
    sqliteStorage({ path: ':memory:', secret, clock: none, logger: none, flushIntervalMs: none }).close(),
  activityPolicy: (none) =>
    activityPolicy({
      idleTimeoutMs: 1_000,
      restAfterMs: none,
      restPollIntervalMs: none,
      wakeAheadMs: none,
    }).decide(now as never),
  SynapseAdminProvisioner: (none) =>
    new SynapseAdminProvisioner({
      homeserverUrl,
      admin,
      clock: none,
      adminConcurrency: none,
      requestTimeoutMs: none,
    }),
  undiciTransport: (none) => undiciTransport({ callConnections: none, connectTimeoutMs: none }),
};

it.each(Object.entries(makers))('%s takes null for its default, like undefined', async (_name, make) => {
  const [withNull, withUndefined] = await Promise.all([null, undefined].map(async (none) => make(none as never)));
  expect(JSON.stringify(withNull)).toBe(JSON.stringify(withUndefined));
});
