import { Method } from 'matrix-js-sdk/lib/http-api/method.js';
import { RustBackupManager } from 'matrix-js-sdk/lib/rust-crypto/backup.js';
import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type { MatrixClientManager, MatrixClientManagerOptions } from '../../src/index.js';
import type { HomeserverTarget } from '../../src/testing/contracts/homeserver-contract.js';
import { Door } from '../encryption/support/door.js';
import type { Passing } from '../encryption/support/door.js';
import { Deployment, encryptedRoom } from '../encryption/support/encrypted-chats.js';
import { Recorder } from '../support/recorder.js';
import { WatchedMetrics } from './watched-metrics.js';

const secret = new Uint8Array(32).fill(7);
const isUpload = ({ name }: Passing): boolean => name === 'PUT /_matrix/client/v3/room_keys/keys';
const isWholeBackup = ({ name }: Passing): boolean => name === 'GET /_matrix/client/v3/room_keys/keys';
/** Bounds for what the SDK does in its own time; on a busy machine that takes long. */
const patience = { timeout: 60_000 };
const TEST_TIMEOUT_MS = 180_000;
const refusal = (errcode: string, status: number): Response => Response.json({ errcode, error: 'no' }, { status });

/** The metrics of users' keys: on a fake homeserver, and on a real one. */
export function keyMetrics(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  Object.assign(RustBackupManager, { maxBackupLoopStartDelayMillis: 0 }); // up to 10 seconds, at random

  async function chat(options: Partial<MatrixClientManagerOptions> = {}) {
    const door = new Door(await target());
    const deployment = new Deployment(door.target);
    const recoveryKeys = new Map<string, string>();
    const encryption = {
      path: deployment.cryptoPath,
      secret,
      onRecoveryKey: (userId: string, key: string) => void recoveryKeys.set(userId, key),
      recoveryKey: (userId: string) => recoveryKeys.get(userId),
    };
    const manager = deployment.start({ encryption, ...options });
    const backedUp = async (userId: string): Promise<boolean> =>
      (await manager.encryptionStatus(userId)).backup.enabled;
    const join = async (): Promise<{ userId: string; inbox: Recorder }> => {
      const userId = await deployment.user(manager);
      const inbox = new Recorder();
      await manager.startClient({ userId, callbacks: [inbox.callback] });
      await expect.poll(() => backedUp(userId), patience).toBe(true);
      return { userId, inbox };
    };
    const [alice, bob] = [await join(), await join()];
    const roomId = await encryptedRoom(manager, [alice.userId, bob.userId]);
    const say = async (from: typeof alice, to: typeof alice, text: string): Promise<void> => {
      await manager.sendMessage({ userId: from.userId, roomId, text });
      await to.inbox.message(text);
    };
    /** Without the room's keys, which the SDK would give the invited. */
    const invite = async (userId: string): Promise<void> => {
      const path = `/rooms/${encodeURIComponent(roomId)}/invite`;
      await manager.withClient(alice.userId, (client) =>
        client.http.authedRequest(Method.Post, path, undefined, { user_id: userId }),
      );
    };
    /** A manager on another machine, with none of the keys. */
    const elsewhere = (own: Partial<typeof encryption> = {}): MatrixClientManager => {
      const other = new Deployment(door.target);
      return other.start({ encryption: { ...encryption, path: other.cryptoPath, ...own } });
    };
    return { door, manager, deployment, alice, bob, join, roomId, say, invite, elsewhere };
  }

  const title = 'tell what has become of every key, what waits for the backup, and what was looked for there';
  it(title, { timeout: TEST_TIMEOUT_MS }, async () => {
    const metrics = new WatchedMetrics();
    const { door, manager, deployment, alice, bob, join, roomId, say, invite, elsewhere } = await chat({
      meterProvider: metrics.meterProvider,
    });
    const none = { withheld: 0, restored: 0 };
    expect(manager.stats().roomKeys).toEqual({ ...none, made: 0, received: 0, 'backed-up': 0 });

    // The second upload of a user waits: how often the SDK tries again before `recover` is a matter of its own timers.
    const { promise: recovered, resolve: recover } = Promise.withResolvers<void>();
    const refused = new Set<string>();
    const allowUploads = door.guard(async (request) => {
      if (!isUpload(request)) return undefined;
      if (!refused.has(request.token)) {
        refused.add(request.token);
        return refusal('M_UNKNOWN', 400);
      }
      await recovered;
      return undefined;
    });
    await say(alice, bob, 'one');
    const keyBackup = () => manager.stats().keyBackup;
    await expect.poll(keyBackup, patience).toMatchObject({ waiting: 2, failures: { upload: 2, gone: 0 } });
    expect(await metrics.value('matrix.encryption.backup.waiting')).toBe(2);
    allowUploads();
    recover();
    await expect.poll(() => keyBackup().waiting, patience).toBe(0); // the SDK waits for a second
    expect(manager.stats().roomKeys).toEqual({ ...none, made: 1, received: 1, 'backed-up': 2 });

    // A backup that is gone for the SDK: it begins anew with all keys.
    const isBack = door.guard((request) => {
      if (!isUpload(request)) return undefined;
      isBack();
      return refusal('M_WRONG_ROOM_KEYS_VERSION', 403);
    });
    await say(bob, alice, 'two');
    const all = { ...none, made: 2, received: 2, 'backed-up': 5 };
    await expect.poll(() => manager.stats().roomKeys, patience).toEqual(all);
    await expect.poll(keyBackup, patience).toEqual({ waiting: 0, failures: { upload: 2, gone: 1 } });
    const counted = await Promise.all(
      Object.keys(all).map(async (event) => [event, await metrics.value('matrix.encryption.room_keys', { event })]),
    );
    expect(Object.fromEntries(counted)).toEqual(all);
    expect(await metrics.value('matrix.encryption.backup.failures', { reason: 'gone' })).toBe(1);

    // The whole backup cannot be had, so what a page needs is asked for key by key.
    const restorable = door.guard((request) => (isWholeBackup(request) ? refusal('M_UNKNOWN', 400) : undefined));
    const other = elsewhere();
    await other.provisionUser({ username: bob.userId.slice(1, bob.userId.indexOf(':')) });
    const read = () => other.getRoomMessages({ userId: bob.userId, roomId, limit: 50 });
    const decrypted = async () => (await read()).messages.filter((event) => event.decryption?.state === 'decrypted');
    await expect.poll(decrypted, patience).toHaveLength(2);
    expect(other.stats()).toMatchObject({ keyRequests: { found: 2, missing: 0 }, roomKeys: { restored: 2 } });
    restorable();

    // One who has come later has a backup without the keys of what was said before.
    const carol = await join();
    await invite(carol.userId);
    await manager.withClient(carol.userId, (client) => client.joinRoom(roomId));
    await manager.getRoomMessages({ userId: carol.userId, roomId, limit: 50 });
    await expect.poll(() => manager.stats().keyRequests, patience).toEqual({ found: 0, missing: 2, failed: 0 });

    // A device that nobody has signed gets no keys, and is told so.
    const unsigned = elsewhere({ onRecoveryKey: undefined, recoveryKey: undefined } as never);
    const dave = await deployment.user(unsigned);
    await unsigned.startClient({ userId: dave });
    await invite(dave);
    await unsigned.withClient(dave, (client) => client.joinRoom(roomId));
    const knowsDave = () =>
      manager.withClient(alice.userId, (client) => client.getRoom(roomId)?.getMember(dave)?.membership);
    await expect.poll(knowsDave, patience).toBe('join');
    await say(alice, bob, 'three');
    await expect.poll(() => unsigned.stats().roomKeys.withheld, patience).toBe(1);
    await metrics.close();
  });
}
