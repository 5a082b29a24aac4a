import { describe, expect, it, vi } from 'vitest';
import type { MatrixClientManager } from '../../src/index.js';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { rejection } from '../support/rejection.js';
import { Deployment } from './support/encrypted-chats.js';

const secret = new Uint8Array(32).fill(7);
const QUERY = '/keys/query';

/** A live client with cross-signing keys. */
async function setUp() {
  const fake = new FakeHomeserver();
  const deployment = new Deployment(fake);
  const vault = new Map<string, string>();
  const manager = deployment.start({
    encryption: {
      path: deployment.cryptoPath,
      secret,
      onRecoveryKey: (userId, key) => void vault.set(userId, key),
      recoveryKey: (userId) => vault.get(userId),
    },
  });
  const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
  await manager.startClient({ userId: bob });
  await manager.startClient({ userId: alice });
  await vi.waitUntil(async () => (await manager.encryptionStatus(alice)).backup.enabled, { timeout: 20_000 });
  return { manager, fake, alice, bob };
}

type Call = (manager: MatrixClientManager, userId: string, other: string) => Promise<unknown>;

const calls: readonly (readonly [string, Call])[] = [
  ['encryptionStatus', (manager, userId) => manager.encryptionStatus(userId)],
  ['userVerification', (manager, userId, other) => manager.userVerification(userId, other)],
  ['verifyUser', (manager, userId, other) => manager.verifyUser(userId, other)],
  ['resetIdentity', (manager, userId) => manager.resetIdentity(userId)],
];

describe('a call on the encryption of a client that is stopped', () => {
  it.each(calls)('is ABORTED where the crypto library does not answer: %s', async (_name, call) => {
    const { manager, alice, bob } = await setUp();
    const never = vi.fn(() => new Promise<never>(() => {}));
    await manager.withClient(alice, (client) => {
      const { olmMachine } = client.getCrypto() as unknown as { olmMachine: object };
      Object.assign(olmMachine, { getDevice: never, getIdentity: never });
    });
    const end = rejection(call(manager, alice, bob));
    await vi.waitUntil(() => never.mock.calls.length > 0);
    await manager.stopClient(alice);
    expect(await end).toMatchObject({ name: 'MatrixClientManagerError', code: 'ABORTED' });
  });

  it.each(calls.slice(1, 3))('is ABORTED where its request has no answer yet: %s', async (_name, call) => {
    const { manager, fake, alice, bob } = await setUp();
    fake.faults.latency({ endpoint: QUERY }, 60_000);
    const queries = (): number => fake.countRequests(({ endpoint }) => endpoint === QUERY);
    const before = queries();
    const end = rejection(call(manager, alice, bob));
    await vi.waitUntil(() => queries() > before);
    await manager.stopClient(alice);
    expect(await end).toMatchObject({ name: 'MatrixClientManagerError', code: 'ABORTED' });
  });
});

describe('a call on the encryption of a user', () => {
  it.each(calls.slice(1, 3))('rejects with a code where the homeserver refuses: %s', async (_name, call) => {
    const { manager, fake, alice, bob } = await setUp();
    fake.faults.status({ endpoint: QUERY }, { status: 403, errcode: 'M_FORBIDDEN' });
    expect(await rejection(call(manager, alice, bob))).toMatchObject({
      name: 'MatrixClientManagerError',
      errcode: 'M_FORBIDDEN',
    });
  });
});
