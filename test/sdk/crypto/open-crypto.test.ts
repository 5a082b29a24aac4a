import { join } from 'node:path';
import type { OlmMachine } from '@matrix-org/matrix-sdk-crypto-wasm';
import { RequestType, UserId } from '@matrix-org/matrix-sdk-crypto-wasm';
import type { MatrixClient } from 'matrix-js-sdk';
import { describe, expect, it, vi } from 'vitest';
import { nextEventLoopTurn } from '../../../src/core/event-loop.js';
import type { MatrixClientManagerError } from '../../../src/core/errors.js';
import { assertKnownDevice } from '../../../src/sdk/crypto/open-crypto.js';
import { cryptoBackend } from '../../../src/sdk/crypto/crypto-backend.js';
import type { CryptoStore } from '../../../src/encryption/store/crypto-store.js';
import { openCryptoStore } from '../../encryption/support/crypto-store.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';
import { MemoryLogger } from '../../../src/testing/memory-logger.js';
import { temporaryFolder } from '../../storage/temporary-folder.js';
import { clientWith, encrypt } from '../../encryption/support/encrypted-client.js';
import { panic } from '../../encryption/support/olm-machine.js';
import { createSealedBySdk } from '../../encryption/support/sealed-by-sdk.js';

const secret = new Uint8Array(32).fill(7);
const device = { userId: '@a:x', deviceId: 'D' };

function openStore(path = ':memory:'): Promise<CryptoStore> {
  return openCryptoStore({ path, secret });
}

function machineOf(client: MatrixClient): OlmMachine {
  return (client.getCrypto() as unknown as { olmMachine: OlmMachine }).olmMachine;
}

async function identityOf(client: MatrixClient): Promise<string> {
  return (await client.getCrypto()?.getOwnDeviceKeys())?.ed25519 ?? '';
}

describe('openCrypto()', () => {
  it('gives a client the same keys each time', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    const identities: string[] = [];
    for (let n = 0; n < 2; n++) {
      await using store = await openStore(path);
      const matrixClient = clientWith();
      const keys = await store.openUser(device);
      expect(keys.wasNew).toBe(n === 0);
      const { shutDown } = await encrypt({ matrixClient, store: keys });
      identities.push(await identityOf(matrixClient));
      await shutDown();
      matrixClient.stopClient();
    }
    expect(identities[0]).not.toBe('');
    expect(identities[0]).toBe(identities[1]);
  });

  it('gives a hundred users of one process a hundred identities', async () => {
    await using store = await openStore();
    const clients = await Promise.all(
      Array.from({ length: 100 }, async (_, n) => {
        const matrixClient = clientWith({}, `@u${n}:x`);
        const keys = await store.openUser({ userId: `@u${n}:x`, deviceId: 'D' });
        const { shutDown } = await encrypt({ matrixClient, store: keys });
        return { matrixClient, shutDown };
      }),
    );
    const identities = await Promise.all(clients.map(({ matrixClient }) => identityOf(matrixClient)));
    expect(new Set(identities).size).toBe(100);
    for (const { matrixClient, shutDown } of clients) {
      await shutDown();
      matrixClient.stopClient();
    }
  });

  it('refuses to make new keys for a device whose keys the homeserver knows', async () => {
    await using store = await openStore();
    const matrixClient = clientWith({
      '/keys/query': { device_keys: { '@a:x': { D: { keys: { 'ed25519:D': 'abc' } } } } },
    });
    const opening = encrypt({ matrixClient, store: await store.openUser(device) });
    await expect(opening).rejects.toMatchObject({ code: 'ENCRYPTION_STORE_ROLLED_BACK', userId: '@a:x' });
    expect(matrixClient.getCrypto()).toBeUndefined();
  });

  it.each<[string, object, string]>([
    ['without `device_keys`', {}, 'INVALID_RESPONSE'],
    ['with `device_keys` of a wrong type', { device_keys: [] }, 'INVALID_RESPONSE'],
    ['with devices of a wrong type', { device_keys: { '@a:x': 'none' } }, 'INVALID_RESPONSE'],
    ['with a device without its key', { device_keys: { '@a:x': { D: { keys: {} } } } }, 'INVALID_RESPONSE'],
    ['with a device of a wrong type', { device_keys: { '@a:x': { D: 7 } } }, 'INVALID_RESPONSE'],
    ['with its own server failed', { device_keys: {}, failures: { x: {} } }, 'INVALID_RESPONSE'],
    ['with a device of the name of a method', { device_keys: { '@a:x': { D: { keys: [] } } } }, 'INVALID_RESPONSE'],
  ])('gives no device up because of a response to /keys/query %s', async (_, answer, code) => {
    await using store = await openStore();
    const first = clientWith();
    const keys = await store.openUser(device);
    const { shutDown } = await encrypt({ matrixClient: first, store: keys });
    await shutDown();
    first.stopClient();
    await keys.close();
    const again = await store.openUser(device);
    const matrixClient = clientWith({ '/keys/query': answer });
    await expect(encrypt({ matrixClient, store: again })).rejects.toMatchObject({ code, userId: '@a:x' });
    await expect(assertKnownDevice(matrixClient, again)).rejects.toMatchObject({ code });
    await again.close();
    const otherServer = clientWith({ '/keys/query': { device_keys: {}, failures: { y: {} } } });
    const last = await store.openUser(device);
    await (await encrypt({ matrixClient: otherServer, store: last })).shutDown();
    otherServer.stopClient();
  });

  it('says so where the stored keys are of another device', async () => {
    const path = join(temporaryFolder(), 'crypto.sqlite');
    await using store = await openStore(path);
    const first = await store.openUser(device);
    const matrixClient = clientWith();
    await (await encrypt({ matrixClient, store: first })).shutDown();
    matrixClient.stopClient();
    await first.close();

    const second = await store.openUser(device);
    await expect(encrypt({ matrixClient: clientWith({}, '@a:x', 'OTHER'), store: second })).rejects.toMatchObject({
      code: 'ENCRYPTION_DEVICE_MISMATCH',
      userId: '@a:x',
    });
    await second.close();
  });

  it('says so where the SDK has sealed the stored keys with another key', async () => {
    await using store = await openStore();
    await createSealedBySdk(store.keys, device);
    const keys = await store.openUser(device);
    keys.storageKey?.fill(3);
    await expect(encrypt({ matrixClient: clientWith(), store: keys })).rejects.toMatchObject({
      code: 'ENCRYPTION_STORE_DAMAGED',
      userId: '@a:x',
    });
    await keys.close();
  });

  it('gives up after startTimeoutMs, and ends what opens later', async () => {
    await using store = await openStore();
    const clock = new ManualClock();
    const keys = await store.openUser(device);
    const matrixClient = clientWith();
    const held = Promise.withResolvers<void>();
    const init = matrixClient.initRustCrypto.bind(matrixClient);
    matrixClient.initRustCrypto = (args) => held.promise.then(() => init(args));
    const opening = encrypt({ matrixClient, store: keys, clock, startTimeoutMs: 1_000 });
    opening.catch(() => {});
    for (let n = 0; clock.pendingTimers === 0 && n < 1_000; n++) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(1_000);
    await expect(opening).rejects.toMatchObject({ code: 'TIMEOUT', userId: '@a:x' });
    held.resolve();
    await expect.poll(() => (matrixClient.getCrypto() as { stopped?: boolean } | undefined)?.stopped).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it('has the devices of everybody looked up again where the client has missed changes', async () => {
    await using store = await openStore();
    const asked: boolean[] = [];
    const answer = '{"device_keys":{"@a:x":{},"@peer:x":{}}}';
    for (const resumes of [true, true, false]) {
      const keys = await store.openUser(device);
      const matrixClient = clientWith();
      const { shutDown } = await encrypt({ matrixClient, store: keys, resumes });
      const machine = machineOf(matrixClient);
      await machine.updateTrackedUsers([new UserId('@peer:x')]);
      const requests = await machine.outgoingRequests();
      const queries = requests.filter(({ type }) => type === RequestType.KeysQuery);
      asked.push(queries.some(({ body }) => body.includes('@peer:x')));
      for (const { id = '', type } of queries) await machine.markRequestAsSent(id, type, answer);
      await shutDown();
      matrixClient.stopClient();
      await keys.close();
    }
    expect(asked).toEqual([true, false, true]);
  });

  it('lets a client be stopped at any moment after', async () => {
    await using store = await openStore();
    for (const [n, answers] of [{}, { '/room_keys/version': undefined }].entries()) {
      const matrixClient = clientWith(answers);
      const keys = await store.openUser({ userId: `@u${n}:x`, deviceId: 'D' });
      const { shutDown } = await encrypt({ matrixClient, store: keys });
      matrixClient.http.abort();
      await shutDown();
      expect(() => matrixClient.stopClient()).not.toThrow();
      await keys.close();
    }
    // An unhandled rejection would fail the run.
    await new Promise((resolve) => setImmediate(resolve));
  });

  it('lets the check for a key backup end before a client is stopped', async () => {
    await using store = await openStore();
    const answer = Promise.withResolvers<object>();
    const matrixClient = clientWith({ '/room_keys/version': answer.promise });
    const { shutDown } = await encrypt({ matrixClient, store: await store.openUser(device) });
    setImmediate(() => answer.resolve({ errcode: 'M_NOT_FOUND', error: 'no' }));
    await shutDown();
    matrixClient.stopClient();
    // An unhandled rejection, "null pointer passed to rust", would fail the run.
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(matrixClient.getCrypto()).toMatchObject({ stopped: true });
  });

  it.each([
    ['no key', { public_key: 'none', signatures: 3 }],
    ['nothing', null],
  ])('survives a key backup that somebody has made of %s', async (_what, authData) => {
    await using store = await openStore();
    const backup = { algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2', auth_data: authData, version: '1' };
    const matrixClient = clientWith({ '/room_keys/version': { ...backup, count: 0, etag: '0' } });
    const { shutDown } = await encrypt({ matrixClient, store: await store.openUser(device) });
    const { backupManager } = cryptoBackend(matrixClient);
    await expect(backupManager.checkKeyBackupAndEnable(true)).rejects.toBeInstanceOf(Error);
    void backupManager.checkKeyBackupAndEnable(true); // as the SDK does after a failed upload
    await shutDown();
    matrixClient.stopClient();
    // An unhandled rejection would fail the run.
    await new Promise((resolve) => setTimeout(resolve, 10));
  });

  it('waits for what runs in the crypto library, but no longer than five seconds', async () => {
    await using store = await openStore();
    const clock = new ManualClock();
    const matrixClient = clientWith();
    const { shutDown } = await encrypt({ matrixClient, store: await store.openUser(device), clock });
    panic(machineOf(matrixClient)).catch(() => {});
    const settled = shutDown();
    await clock.advance(5_000);
    await settled;
    matrixClient.stopClient();
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('a change that cannot be stored', () => {
  it('gives no result to the SDK and is told, since the SDK itself goes on with the sync', async () => {
    await using store = await openStore();
    const failures: MatrixClientManagerError[] = [];
    const keys = await store.openUser({ ...device, onFailure: (error) => failures.push(error) });
    const matrixClient = clientWith();
    const { shutDown } = await encrypt({ matrixClient, store: keys });
    const machine = machineOf(matrixClient);
    await machine.updateTrackedUsers([new UserId('@before:x')]);
    const before = keys.commits;
    const { IDBCursor } = globalThis as Record<string, unknown>;
    Object.assign(globalThis, { IDBCursor: () => {} });
    let isAnswered = false;
    void machine.updateTrackedUsers([new UserId('@after:x')]).finally(() => (isAnswered = true));
    await vi.waitUntil(() => failures.length > 0);
    await nextEventLoopTurn();
    expect(isAnswered).toBe(false);
    expect(failures).toEqual([expect.objectContaining({ code: 'UNSUPPORTED', userId: '@a:x' })]);
    Object.assign(globalThis, { IDBCursor });
    // Nothing more is taken, although it could be: the SDK's memory is ahead of the disk.
    await expect(machine.updateTrackedUsers([new UserId('@later:x')])).rejects.toBeInstanceOf(Error);
    expect(failures).toHaveLength(1);
    expect(keys).toMatchObject({ commits: before, failure: failures[0] });
    await shutDown();
    matrixClient.stopClient();
  });
});

describe('a panic in the crypto library', () => {
  it('ends neither the process nor other clients, and its client is told', async () => {
    await using store = await openStore();
    const logger = new MemoryLogger();
    const clock = new ManualClock();
    const faults: MatrixClientManagerError[] = [];
    const onFault = (error: MatrixClientManagerError): void => void faults.push(error);
    const one = clientWith({}, '@one:x');
    const two = clientWith({}, '@two:x');
    for (const matrixClient of [one, two]) {
      const userId = matrixClient.getSafeUserId();
      const keys = await store.openUser({ userId, deviceId: 'D' });
      await encrypt({ matrixClient, store: keys, clock, logger, onFault, callTimeoutMs: 1_000 });
    }
    const call = panic(machineOf(one));
    call.catch(() => {});
    expect((await machineOf(two).outgoingRequests()).length).toBeGreaterThan(0);
    await clock.advance(1_000);
    await expect(call).rejects.toMatchObject({ code: 'CLIENT_FAILED', userId: '@one:x' });
    expect(faults).toEqual([expect.objectContaining({ code: 'CLIENT_FAILED', userId: '@one:x' })]);
    for (const matrixClient of [one, two]) matrixClient.stopClient();
    await clock.advance(10_000);
    expect(faults).toHaveLength(1);
  });
});
