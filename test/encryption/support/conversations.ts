import { join } from 'node:path';
import { createClient, MemoryStore, ClientEvent, MatrixEventEvent, RoomEvent } from 'matrix-js-sdk';
import type { MatrixClient, MatrixEvent } from 'matrix-js-sdk';
import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import { silentLogger } from '../../../src/core/logger.js';
import { systemClock } from '../../../src/core/clock.js';
import { silenceSdkRootLogger } from '../../../src/sdk/sdk-logger.js';
import type { CryptoStore } from '../../../src/encryption/store/crypto-store.js';
import { openCryptoStore } from './crypto-store.js';
import { openCrypto } from '../../../src/sdk/crypto/open-crypto.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import type { TestUser } from '../../../src/testing/contracts/homeserver/test-user.js';
import { World } from '../../../src/testing/contracts/homeserver/world.js';
import { testContext } from '../../support/context.js';
import { temporaryFolder } from '../../storage/temporary-folder.js';

const secret = new Uint8Array(32).fill(7);
const sdkLogger = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => sdkLogger };
const ROOM_ENCRYPTION = { algorithm: 'm.megolm.v1.aes-sha2' };

/** A user's client with encryption, which stops as the manager stops one. */
export interface Running {
  readonly client: MatrixClient;
  stop(): Promise<void>;
}

export async function run(target: HomeserverTarget, store: CryptoStore, user: TestUser): Promise<Running> {
  const { userId, deviceId } = user;
  silenceSdkRootLogger();
  const requests = new AbortController();
  const base = target.fetch ?? globalThis.fetch;
  const fetchFn: typeof fetch = (input, init) =>
    base(input, { ...init, signal: AbortSignal.any([requests.signal, ...(init?.signal ? [init.signal] : [])]) });
  const client = createClient({
    baseUrl: target.baseUrl,
    userId,
    deviceId,
    accessToken: user.http.accessToken ?? '',
    fetchFn,
    store: new MemoryStore(),
    logger: sdkLogger,
    disableVoip: true,
    cryptoCallbacks: { getSecretStorageKey: async ({ keys }) => [Object.keys(keys)[0] ?? '', recoveryKey] },
  });
  Object.assign(client.matrixRTC, { start: () => {} }); // it has a logger of its own
  const keys = await store.openUser({ userId, deviceId });
  const opening = openCrypto(testContext({ clock: systemClock, logger: silentLogger, startTimeoutMs: 30_000 }), {
    matrixClient: client,
    store: keys,
    resumes: false,
    onFault: (error) => {
      throw error;
    },
  });
  opening.catch(() => keys.close());
  const { shutDown } = await opening;
  const synced = new Promise((resolve) => client.once(ClientEvent.Sync, resolve));
  await client.startClient({ initialSyncLimit: 20, pollTimeout: 20_000, disablePresence: true });
  await synced;
  return {
    client,
    stop: async () => {
      requests.abort();
      await shutDown();
      client.stopClient();
      await keys.close();
    },
  };
}

const recoveryKey = new Uint8Array(32).fill(5);

/** Two users with encryption on a homeserver: a fake one, and a real one. */
export function conversations(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  it('read each other, also what was sent while one of them was away', async () => {
    const { world, store, alice, bob, roomId } = await encryptedRoom(await target());
    await using _ = store;
    const a = await run(world.target, store, alice);
    let b = await run(world.target, store, bob);
    await seen(expect, a.client, bob);
    const first = await say(a.client, roomId, 'first');
    expect(await textOf(b.client, roomId, first)).toBe('first');
    await b.stop();
    const second = await say(a.client, roomId, 'second');
    b = await run(world.target, store, bob);
    expect(await textOf(b.client, roomId, second)).toBe('second');
    const third = await say(b.client, roomId, 'third');
    expect(await textOf(a.client, roomId, third)).toBe('third');
    const raw = await alice.messages(roomId, { limit: 5 });
    const types = raw.chunk.map(({ type }) => type).filter((type) => type.startsWith('m.room.m'));
    expect(types.filter((type) => type === 'm.room.message')).toEqual([]);
    await Promise.all([a.stop(), b.stop()]);
  });

  it('get their keys from the backup on a new device, after the store was lost', async () => {
    const { world, store, alice, bob, roomId } = await encryptedRoom(await target());
    await using _ = store;
    const a = await run(world.target, store, alice);
    let b = await run(world.target, store, bob);
    const crypto = b.client.getCrypto();
    backUpAtOnce(crypto);
    await crypto?.bootstrapCrossSigning({
      authUploadDeviceSigningKeys: async (send) => {
        await send(null);
      },
    });
    await crypto?.bootstrapSecretStorage({
      createSecretStorageKey: async () => ({ privateKey: recoveryKey }),
      setupNewSecretStorage: true,
      setupNewKeyBackup: true,
    });
    await seen(expect, a.client, bob);
    const eventId = await say(a.client, roomId, 'to be kept');
    expect(await textOf(b.client, roomId, eventId)).toBe('to be kept');
    await expect
      .poll(() => bob.http.get('/_matrix/client/v3/room_keys/version'), { timeout: 15_000 })
      .toMatchObject({ body: { count: 1 } });
    await b.stop();

    const empty = await openStore();
    await expect(run(world.target, empty, bob)).rejects.toMatchObject({ code: 'ENCRYPTION_STORE_ROLLED_BACK' });
    const phone = await bob.logInAgain();
    b = await run(world.target, empty, phone);
    const restored = b.client.getCrypto();
    await restored?.userHasCrossSigningKeys(bob.userId, true);
    await restored?.bootstrapCrossSigning({});
    await restored?.loadSessionBackupPrivateKeyFromSecretStorage();
    expect(await restored?.restoreKeyBackup()).toMatchObject({ imported: 1 });
    expect(await textOf(b.client, roomId, eventId)).toBe('to be kept');
    await Promise.all([a.stop(), b.stop()]);
    await empty.close();
  });
}

export async function encryptedRoom(target: HomeserverTarget) {
  const world = new World(target);
  const [alice, bob] = await world.newUsers();
  const initialState = [{ type: 'm.room.encryption', state_key: '', content: ROOM_ENCRYPTION }];
  const roomId = await alice.createRoom([bob], { initial_state: initialState });
  return { world, alice, bob, roomId, store: await openStore() };
}

export function openStore(): Promise<CryptoStore> {
  return openCryptoStore({ path: join(temporaryFolder(), 'crypto.sqlite'), secret });
}

/** Without the up to ten seconds at random that the SDK waits before it stores keys in the backup. */
export function backUpAtOnce(crypto: unknown): void {
  const { backupManager } = crypto as { backupManager: { constructor: object } };
  Object.assign(backupManager.constructor, { maxBackupLoopStartDelayMillis: 0 });
}

/** Resolves when the client knows the keys of the user's device: what it sends before, that device cannot read. */
export async function seen(
  expect: typeof vitestExpect,
  client: MatrixClient,
  { userId, deviceId }: TestUser,
): Promise<void> {
  const devices = async (): Promise<boolean | undefined> =>
    (await client.getCrypto()?.getUserDeviceInfo([userId]))?.get(userId)?.has(deviceId);
  await expect.poll(devices, { timeout: 15_000 }).toBe(true);
}

export async function say(client: MatrixClient, roomId: string, body: string): Promise<string> {
  const sent = await client.sendTextMessage(roomId, body);
  return sent.event_id;
}

/** The text of an event once the client has it and has decrypted it. */
export async function textOf(client: MatrixClient, roomId: string, eventId: string): Promise<string> {
  const event = await new Promise<MatrixEvent>((resolve) => {
    const look = (): void => {
      const found = client.getRoom(roomId)?.findEventById(eventId);
      if (!found) return;
      client.off(RoomEvent.Timeline, look);
      resolve(found);
    };
    client.on(RoomEvent.Timeline, look);
    look();
  });
  await new Promise<void>((resolve) => {
    const look = (): void => {
      if (event.getType() === 'm.room.encrypted' || event.isDecryptionFailure()) return;
      event.off(MatrixEventEvent.Decrypted, look);
      resolve();
    };
    event.on(MatrixEventEvent.Decrypted, look);
    look();
  });
  return event.getContent<{ body: string }>().body;
}
