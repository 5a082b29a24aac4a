import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { MatrixClient } from 'matrix-js-sdk';
import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { vi } from 'vitest';
import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type { CryptoStore } from '../../../src/encryption/store/crypto-store.js';
import { Identity } from '../../../src/sdk/crypto/identity.js';
import { maintainIdentity } from '../../../src/sdk/crypto/identity-upkeep.js';
import type { IdentityOptions } from '../../../src/sdk/crypto/identity.js';
import { systemClock } from '../../../src/core/clock.js';
import type { Clock } from '../../../src/core/clock.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import type { TestUser } from '../../../src/testing/contracts/homeserver/test-user.js';
import { World } from '../../../src/testing/contracts/homeserver/world.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';
import { MemoryLogger } from '../../../src/testing/memory-logger.js';
import { allTextOf } from '../../support/all-text-of.js';
import { Deployment, encryptedRoom as encryptedChat } from './encrypted-chats.js';
import { backUpAtOnce, encryptedRoom, openStore, run, say, seen, textOf } from './conversations.js';

const signal = new AbortController().signal;

/** An application that keeps recovery keys, and a logger to look at. */
class Application {
  readonly logger = new MemoryLogger();
  readonly given: string[] = [];
  key: string | undefined;

  identity(matrixClient: MatrixClient, settings: Partial<IdentityOptions & { clock: Clock }> = {}): Identity {
    backUpAtOnce(matrixClient.getCrypto());
    const { clock = systemClock, ...options } = settings;
    return new Identity(
      { clock, logger: this.logger },
      {
        matrixClient,
        run: (_name, call) => call(),
        device: deviceInMemory(),
        authenticate: (makeRequest) => makeRequest(null),
        crossSigning: true,
        keyBackup: true,
        trust: 'cross-signed',
        receive: 'warn',
        onRecoveryKey: async (_userId, recoveryKey) => {
          this.given.push(recoveryKey);
          this.key = recoveryKey;
        },
        recoveryKey: async () => this.key,
        ...options,
      },
    );
  }

  /** Everything that was said, which must not hold a key. */
  said(...more: unknown[]): string {
    return [...this.logger.entries, ...more].map(allTextOf).join('\n');
  }
}

/** What a new device needs, at the homeserver. */
async function published({ http, userId }: TestUser) {
  const data = (type: string) => http.get(`/_matrix/client/v3/user/${encodeURIComponent(userId)}/account_data/${type}`);
  const { body } = await http.post<{ master_keys?: Record<string, object> }>('/_matrix/client/v3/keys/query', {
    device_keys: { [userId]: [] },
  });
  const defaultKey = await data('m.secret_storage.default_key');
  const backup = await http.get('/_matrix/client/v3/room_keys/version');
  return {
    masterKey: body.master_keys?.[userId],
    defaultKey: defaultKey.status === 200 ? defaultKey.body['key'] : undefined,
    backup: backup.status === 200 ? backup.body['version'] : undefined,
  };
}

const nothing = { masterKey: undefined, defaultKey: undefined, backup: undefined };

async function stored(expect: typeof vitestExpect, user: TestUser, count: number): Promise<void> {
  const answer = (): Promise<object> => user.http.get('/_matrix/client/v3/room_keys/version');
  await expect.poll(answer, { timeout: 15_000 }).toMatchObject({ body: { count } });
}

/** Bob with an identity, and a message of Alice's that is in his backup. */
async function withHistory(expect: typeof vitestExpect, target: HomeserverTarget) {
  const { world, store, alice, bob, roomId } = await encryptedRoom(target);
  const app = new Application();
  const a = await run(world.target, store, alice);
  const b = await run(world.target, store, bob);
  const identity = app.identity(b.client);
  await identity.setUp(signal);
  await seen(expect, a.client, bob);
  const eventId = await say(a.client, roomId, 'to be kept');
  expect(await textOf(b.client, roomId, eventId)).toBe('to be kept');
  await stored(expect, bob, 1);
  return { world, store, alice, bob, roomId, app, a, b, identity, eventId };
}

/** Another device of a user, whose store was lost. */
async function newDevice(target: HomeserverTarget, user: TestUser) {
  const store = await openStore();
  const device = await user.logInAgain();
  return { store, device, running: await run(target, store, device) };
}

async function closeAll(stores: readonly CryptoStore[], ...running: { stop(): Promise<void> }[]): Promise<void> {
  await Promise.all(running.map((one) => one.stop()));
  await Promise.all(stores.map((store) => store.close()));
}

/**
 * Users' identities on a homeserver: a fake one, and a real one. This file is long because each test is a story of
 * several devices.
 */
export function identities(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  it('are made on the first device, after the application has the recovery key', async () => {
    const { world, store, bob } = await encryptedRoom(await target());
    const b = await run(world.target, store, bob);
    const app = new Application();
    const before: object[] = [];
    const onRecoveryKey = async (_userId: string, key: string): Promise<void> => {
      before.push(await published(bob));
      app.key = key;
    };
    const recoveryKey = vi.fn<IdentityOptions['recoveryKey']>(() => app.key);
    const identity = app.identity(b.client, { onRecoveryKey, recoveryKey });
    expect(await identity.status()).toMatchObject({ crossSigned: false, secretStorage: false });
    await identity.setUp(signal);
    expect(recoveryKey).not.toHaveBeenCalled();
    expect(before).toEqual([nothing]);
    const { masterKey, defaultKey, backup } = await published(bob);
    expect(masterKey).toBeDefined();
    expect(defaultKey).toBeDefined();
    expect(await identity.status()).toMatchObject({
      deviceId: bob.deviceId,
      crossSigned: true,
      secretStorage: true,
      backup: { version: backup, enabled: true, remaining: 0 },
      recoveryKeyNeeded: false,
    });
    expect((await identity.status()).failure).toBeUndefined();
    await identity.setUp(signal); // finds that there is nothing to do
    expect(before).toHaveLength(1);
    expect(await published(bob)).toEqual({ masterKey, defaultKey, backup });
    expect(app.key).toMatch(/^\w{4}( \w{1,4})+$/);
    expect(app.said(await identity.status())).not.toContain(app.key?.slice(0, 14));
    await closeAll([store], b);
  });

  it('are left alone by a device that resumes, also without the recovery key', async () => {
    const { world, store, bob } = await encryptedRoom(await target());
    const app = new Application();
    let b = await run(world.target, store, bob);
    await app.identity(b.client).setUp(signal);
    const before = await published(bob);
    await b.stop();
    app.key = undefined;
    b = await run(world.target, store, bob);
    const identity = app.identity(b.client);
    await identity.setUp(signal);
    expect(await published(bob)).toEqual(before);
    expect(app.given).toHaveLength(1);
    const expected = { crossSigned: true, secretStorage: true, recoveryKeyNeeded: false };
    expect(await identity.status()).toMatchObject(expected);
    await closeAll([store], b);
  });

  it('give a new device its history, and its owner’s signature, for the recovery key', async () => {
    const { world, store, bob, roomId, app, a, b, eventId } = await withHistory(expect, await target());
    await b.stop();
    const phone = await newDevice(world.target, bob);
    const identity = app.identity(phone.running.client);
    await identity.setUp(signal);
    expect(await textOf(phone.running.client, roomId, eventId)).toBe('to be kept');
    const { backup } = await published(bob);
    expect(await identity.status()).toMatchObject({
      deviceId: phone.device.deviceId,
      crossSigned: true,
      secretStorage: true,
      backup: { version: backup, enabled: true, restored: { imported: 1, total: 1 } },
    });
    const own = await identity.verificationOf(bob.userId);
    expect(own).toMatchObject({ hasIdentity: true, verified: true });
    expect(own.devices.map(({ crossSigned }) => crossSigned)).toEqual([true, true]);
    expect(app.given).toHaveLength(1);
    expect(app.said()).not.toContain(app.key?.slice(0, 14));
    await closeAll([store, phone.store], a, phone.running);
  });

  it('are not harmed by a wrong recovery key, nor by one with a slip of the pen', async () => {
    const { world, store, bob, app, a, b, roomId, eventId } = await withHistory(expect, await target());
    const before = await published(bob);
    const right = app.key ?? '';
    const other = new Application();
    const stranger = await run(world.target, store, await world.newUser());
    await other.identity(stranger.client).setUp(signal);
    const phone = await newDevice(world.target, bob);
    const identity = app.identity(phone.running.client);
    for (const wrong of [other.key ?? '', `${right.slice(0, -1)}${right.endsWith('a') ? 'b' : 'a'}`, 'no key at all']) {
      app.key = wrong;
      await identity.setUp(signal);
      const status = await identity.status();
      expect(status.failure).toMatchObject({ code: 'ENCRYPTION_RECOVERY_KEY', userId: bob.userId });
      expect(status).toMatchObject({ crossSigned: false, backup: { enabled: false } });
      expect(app.said(status)).not.toContain(wrong.slice(0, 14) === 'no key at all' ? 'no key at' : wrong.slice(0, 14));
    }
    expect(await published(bob)).toEqual(before);
    expect(app.given).toHaveLength(1);
    app.key = right;
    await identity.setUp(signal);
    expect(await textOf(phone.running.client, roomId, eventId)).toBe('to be kept');
    expect((await identity.status()).failure).toBeUndefined();
    await closeAll([store, phone.store], a, b, stranger, phone.running);
  });

  it('are done without where there is no recovery key: what is new can be read, and the status says so', async () => {
    const { world, store, bob, app, a, b, roomId } = await withHistory(expect, await target());
    const before = await published(bob);
    await b.stop();
    app.key = undefined;
    const phone = await newDevice(world.target, bob);
    const { client } = phone.running;
    const identity = app.identity(client);
    await identity.setUp(signal);
    expect(await identity.status()).toMatchObject({ crossSigned: false, recoveryKeyNeeded: true });
    expect(await published(bob)).toEqual(before);
    expect(app.logger.entries.filter(({ level }) => level === 'warn')).toHaveLength(1);
    await seen(expect, a.client, phone.device);
    const news = await say(a.client, roomId, 'news');
    expect(await textOf(client, roomId, news)).toBe('news');
    await expect(say(client, roomId, 'mine')).rejects.toMatchObject({ code: 'ENCRYPTION_UNVERIFIED' });
    await closeAll([store, phone.store], a, phone.running);
  });

  it('get another backup where theirs was deleted meanwhile', async () => {
    const { world, store, bob, app, a, b, roomId, eventId } = await withHistory(expect, await target());
    await b.stop();
    const { backup } = await published(bob);
    await bob.http.delete(`/_matrix/client/v3/room_keys/version/${String(backup)}`);
    const back = await run(world.target, store, bob);
    const identity = app.identity(back.client);
    await identity.setUp(signal);
    const now = await published(bob);
    expect(now.backup).toBeDefined();
    expect(await identity.status()).toMatchObject({ backup: { version: now.backup, enabled: true } });
    await stored(expect, bob, 1);
    const phone = await newDevice(world.target, bob);
    await app.identity(phone.running.client).setUp(signal);
    expect(await textOf(phone.running.client, roomId, eventId)).toBe('to be kept');
    await closeAll([store, phone.store], a, back, phone.running);
  });

  it('are not begun while the application does not take the recovery key', async () => {
    const { world, store, bob } = await encryptedRoom(await target());
    const b = await run(world.target, store, bob);
    const app = new Application();
    let refused = '';
    let takes = false;
    const identity = app.identity(b.client, {
      onRecoveryKey: async (_userId, key) => {
        if (!takes) throw new Error(`the vault is closed for ${(refused = key)}`);
        app.key = key;
      },
    });
    await identity.setUp(signal);
    expect(await published(bob)).toEqual(nothing);
    const status = await identity.status();
    expect(status).toMatchObject({ crossSigned: false, failure: { code: 'ENCRYPTION_SETUP_FAILED' } });
    expect(status.failure?.message).toContain('the vault is closed for [hidden]');
    expect(app.said(status)).not.toContain(refused.slice(0, 14));
    takes = true;
    await identity.setUp(signal);
    expect(app.key).not.toBe(refused);
    expect(await identity.status()).toMatchObject({ crossSigned: true, backup: { enabled: true } });
    await closeAll([store], b);
  });

  it('are set up later where the application was asked too soon, and again when the backup is gone', async () => {
    const { world, store, bob, app, a, b } = await withHistory(expect, await target());
    await b.stop();
    const phone = await newDevice(world.target, bob);
    const clock = new ManualClock();
    const answers = [null, new Promise<string>(() => {})];
    const device = deviceInMemory();
    const recoveryKey = (): ReturnType<IdentityOptions['recoveryKey']> =>
      answers.length > 0 ? answers.shift() : app.key;
    const { client: matrixClient } = phone.running;
    const identity = app.identity(matrixClient, { clock, device, recoveryKey });
    const attempts: (() => void)[] = [];
    const ended = new AbortController();
    const onAttempt = (): void => attempts.shift()?.();
    const kept = maintainIdentity(clock, { identity, matrixClient, signal: ended.signal, onAttempt });
    const attempt = (): Promise<void> => new Promise((resolve) => attempts.push(resolve));
    await attempt();
    expect(await identity.status()).toMatchObject({ recoveryKeyNeeded: true, crossSigned: false });
    const second = attempt();
    await clock.advance(60_000);
    await vi.waitUntil(() => answers.length === 0, { timeout: 15_000 });
    await clock.advance(30_000);
    await second;
    const { failure } = await identity.status();
    expect(failure?.message).toMatch(/recoveryKey took longer than 30000 ms/);
    const third = attempt();
    await clock.advance(120_000);
    await third;
    expect(await identity.status()).toMatchObject({ crossSigned: true, backup: { enabled: true } });
    expect((await identity.status()).failure).toBeUndefined();
    expect([device.restorePending, clock.pendingTimers]).toEqual([false, 0]);
    const fourth = attempt();
    const { backup } = await published(bob);
    await bob.http.delete(`/_matrix/client/v3/room_keys/version/${String(backup)}`);
    matrixClient.emit(CryptoEvent.KeyBackupFailed, 'M_NOT_FOUND');
    await vi.waitUntil(() => clock.pendingTimers === 1, { timeout: 15_000 });
    await clock.advance(5_000);
    await fourth;
    expect(await identity.status()).toMatchObject({ backup: { enabled: true } });
    expect((await published(bob)).backup).not.toBe(backup);
    ended.abort();
    await kept;
    await closeAll([store, phone.store], a, phone.running);
  });

  it('are not those of a client that was quicker, which keeps its own', async () => {
    const { world, store, bob } = await encryptedRoom(await target());
    const b = await run(world.target, store, bob);
    const phone = await newDevice(world.target, bob);
    const authenticate = vi.fn(async () => {});
    const onRecoveryKey = async (): Promise<void> => {
      await phone.running.client.getCrypto()?.bootstrapCrossSigning({
        authUploadDeviceSigningKeys: async (makeRequest) => {
          await makeRequest(null);
        },
      });
    };
    const identity = new Application().identity(b.client, { authenticate, onRecoveryKey });
    expect(await identity.setUp(signal)).toBe(false);
    expect(await identity.status()).toMatchObject({ crossSigned: false, failure: { status: 401 } });
    expect(authenticate).not.toHaveBeenCalled();
    const own = await phone.running.client.getCrypto()?.getCrossSigningKeyId();
    expect(JSON.stringify((await published(bob)).masterKey)).toContain(own);
    await closeAll([store, phone.store], b, phone.running);
  });

  it('are restored by the next start where the restore was cut short', async () => {
    const { world, store, bob, app, a, b } = await withHistory(expect, await target());
    await b.stop();
    const { baseUrl, serverName, admin } = world.target;
    const backup = { reachable: false };
    const base = world.target.fetch ?? globalThis.fetch;
    const fetch: typeof globalThis.fetch = (input, init) => {
      const { pathname } = new URL(input instanceof Request ? input.url : input);
      if (backup.reachable || !pathname.endsWith('/room_keys/keys')) return base(input, init);
      return Promise.reject(new TypeError('cut short'));
    };
    const phone = await newDevice({ baseUrl, serverName, admin, fetch }, bob);
    const device = deviceInMemory();
    const first = app.identity(phone.running.client, { device });
    expect(await first.setUp(signal)).toBe(false);
    expect(device.restorePending).toBe(true);
    backup.reachable = true;
    const next = app.identity(phone.running.client, { device });
    expect(await next.setUp(signal)).toBe(true);
    expect(await next.status()).toMatchObject({ backup: { restored: { imported: 1, total: 1 } } });
    expect(device.restorePending).toBe(false);
    await closeAll([store, phone.store], a, phone.running);
  });

  it('are restored by the next start where the process ends at any moment of reading the key of the backup', async () => {
    const { world, store, bob, app, a, b } = await withHistory(expect, await target());
    await b.stop();
    const phone = await newDevice(world.target, bob);
    const device = deviceInMemory();
    const ending = { ...device, setRestorePending: () => Promise.reject(new Error('the process has ended')) };
    expect(await app.identity(phone.running.client, { device: ending }).setUp(signal)).toBe(false);
    const next = app.identity(phone.running.client, { device });
    expect(await next.setUp(signal)).toBe(true);
    expect(await next.status()).toMatchObject({ backup: { restored: { imported: 1, total: 1 } } });
    await closeAll([store, phone.store], a, phone.running);
  });

  it('leave the backup of another client alone whose key they do not find', async () => {
    const { world, store, bob, app, a, b, identity } = await withHistory(expect, await target());
    const phone = await newDevice(world.target, bob);
    await app.identity(phone.running.client).setUp(signal);
    const secret = `/_matrix/client/v3/user/${encodeURIComponent(bob.userId)}/account_data/m.megolm_backup.v1`;
    const other = app.identity(phone.running.client);
    await other.reset(signal, passwordOf(bob));
    await bob.http.put(secret, { encrypted: {} }); // as while the other client has not stored it yet
    const { backup } = await published(bob);
    expect(await identity.setUp(signal)).toBe(false);
    expect((await identity.status()).failure?.message).toContain('key of the backup');
    expect((await published(bob)).backup).toBe(backup);
    await closeAll([store, phone.store], a, b, phone.running);
  });

  it('are kept by a reset that the homeserver refuses, with the new recovery key', async () => {
    const { world, store, bob, app, a, b, identity, roomId, eventId } = await withHistory(expect, await target());
    const before = await published(bob);
    await expect(identity.reset(signal)).rejects.toMatchObject({ code: 'ENCRYPTION_SETUP_FAILED', status: 401 });
    expect(app.given).toHaveLength(2);
    expect(await identity.status()).toMatchObject({ crossSigned: true, identityChanged: false });
    expect(await identity.setUp(signal)).toBe(true);
    expect(await published(bob)).toMatchObject({ masterKey: before.masterKey, backup: before.backup });
    const phone = await newDevice(world.target, bob);
    expect(await app.identity(phone.running.client).setUp(signal)).toBe(true);
    expect(await textOf(phone.running.client, roomId, eventId)).toBe('to be kept');
    await closeAll([store, phone.store], a, b, phone.running);
  });

  it('are opened by each recovery key that was given, after resets that ended before they used it', async () => {
    const { world, store, bob, app, a, b, roomId, eventId } = await withHistory(expect, await target());
    await b.stop();
    const before = await published(bob);
    const { baseUrl, serverName, admin, fetch: base = globalThis.fetch } = world.target;
    const life = { hasEnded: false };
    const fetch: typeof globalThis.fetch = async (input, init) => {
      life.hasEnded ||= init?.method === 'PUT' && pathOf(input).endsWith('m.secret_storage.default_key');
      if (life.hasEnded) throw new TypeError('the process has ended');
      return base(input, init);
    };
    const again = await run({ baseUrl, serverName, admin, fetch }, store, bob);
    const identity = app.identity(again.client);
    for (let n = 0; n < 2; n++) {
      await expect(identity.reset(signal)).rejects.toMatchObject({ code: 'ENCRYPTION_SETUP_FAILED' });
      life.hasEnded = false;
    }
    expect(app.given).toHaveLength(3);
    expect(await published(bob)).toEqual(before);
    for (const key of app.given) {
      app.key = key;
      const phone = await newDevice(world.target, bob);
      expect(await app.identity(phone.running.client).setUp(signal)).toBe(true);
      expect(await textOf(phone.running.client, roomId, eventId)).toBe('to be kept');
      await closeAll([phone.store], phone.running);
    }
    await closeAll([store], a, again);
  });

  it('need one reset after a refused one, on a device without private keys', async () => {
    const { world, store, bob, app, a, b } = await withHistory(expect, await target());
    await b.stop();
    const right = app.key;
    app.key = undefined;
    const phone = await newDevice(world.target, bob);
    const identity = app.identity(phone.running.client);
    expect(await identity.setUp(signal)).toBe(false);
    app.key = right;
    await expect(identity.reset(signal)).rejects.toMatchObject({ status: 401 });
    expect(app.key).not.toBe(right);
    expect(await identity.setUp(signal)).toBe(true);
    await identity.reset(signal, passwordOf(bob));
    const tablet = await newDevice(world.target, bob);
    expect(await app.identity(tablet.running.client).setUp(signal)).toBe(true);
    await closeAll([store, phone.store, tablet.store], a, phone.running, tablet.running);
  });

  it('are completed after a reset whose new keys could not be stored', async () => {
    const { world, store, bob, app, a, b } = await withHistory(expect, await target());
    await b.stop();
    const { baseUrl, serverName, admin } = world.target;
    const base = world.target.fetch ?? globalThis.fetch;
    const storage = { full: false };
    const fetch: typeof globalThis.fetch = async (input, init) => {
      const { pathname } = new URL(input instanceof Request ? input.url : input);
      if (storage.full && pathname.includes('/account_data/m.cross_signing.')) throw new TypeError('cut short');
      const response = await base(input, init);
      if (pathname.endsWith('/device_signing/upload') && response.ok) storage.full = true;
      return response;
    };
    const phone = await newDevice({ baseUrl, serverName, admin, fetch }, bob);
    const identity = app.identity(phone.running.client);
    expect(await identity.setUp(signal)).toBe(true);
    await expect(identity.reset(signal, passwordOf(bob))).rejects.toMatchObject({ code: 'ENCRYPTION_SETUP_FAILED' });
    storage.full = false;
    expect(await identity.setUp(signal)).toBe(true);
    const tablet = await newDevice(world.target, bob);
    const other = app.identity(tablet.running.client);
    expect(await other.setUp(signal)).toBe(true);
    expect(await other.status()).toMatchObject({ crossSigned: true, identityChanged: false });
    await closeAll([store, phone.store, tablet.store], a, phone.running, tablet.running);
  });

  it('are not made by a reset whose first publication the homeserver refuses', async () => {
    const { world, store, bob } = await encryptedRoom(await target());
    const refusing = { is: true };
    const b = await run(refusingKeys(world.target, refusing), store, bob);
    const identity = new Application().identity(b.client);
    for (let n = 0; n < 2; n++) {
      await expect(identity.reset(signal)).rejects.toMatchObject({ code: 'ENCRYPTION_SETUP_FAILED', status: 403 });
      expect((await published(bob)).masterKey).toBeUndefined();
    }
    expect(await identity.setUp(signal)).toBe(false);
    refusing.is = false;
    expect(await identity.setUp(signal)).toBe(true);
    expect((await published(bob)).masterKey).toBeDefined();
    expect(await identity.status()).toMatchObject({ crossSigned: true, identityChanged: false });
    await closeAll([store], b);
  });

  it('are made by a publication that the homeserver has taken, but answers with an error', async () => {
    const { world, store, bob } = await encryptedRoom(await target());
    const { baseUrl, serverName, admin, fetch: base = globalThis.fetch } = world.target;
    const fetch: typeof globalThis.fetch = async (input, init) => {
      const response = await base(input, init);
      if (!pathOf(input).endsWith('/device_signing/upload') || !response.ok) return response;
      return Response.json({ errcode: 'M_FORBIDDEN', error: 'not now' }, { status: 403 });
    };
    const b = await run({ baseUrl, serverName, admin, fetch }, store, bob);
    const identity = new Application().identity(b.client);
    expect(await identity.setUp(signal)).toBe(true);
    expect(await identity.status()).toMatchObject({ crossSigned: true, identityChanged: false });
    await closeAll([store], b);
  });

  it('keep the new secret storage if the keys of a reset are published, but could not be stored', async () => {
    const { world, store, bob, app, b } = await withHistory(expect, await target());
    const before = await published(bob);
    await b.stop();
    app.key = undefined;
    const { baseUrl, serverName, admin, fetch: base = globalThis.fetch } = world.target;
    let failures = 0;
    const fetch: typeof globalThis.fetch = async (input, init) => {
      const isKey = init?.method === 'PUT' && pathOf(input).includes('/account_data/m.cross_signing.self_signing');
      if (isKey && failures++ === 0) throw new TypeError('cut short');
      return base(input, init);
    };
    const phone = await newDevice({ baseUrl, serverName, admin, fetch }, bob);
    const identity = app.identity(phone.running.client);
    await identity.setUp(signal);
    await expect(identity.reset(signal, passwordOf(bob))).rejects.toMatchObject({ code: 'ENCRYPTION_SETUP_FAILED' });
    const now = await published(bob);
    expect(failures).toBe(1);
    expect(now.masterKey).not.toEqual(before.masterKey);
    expect(now.defaultKey).not.toBe(before.defaultKey);
    await identity.setUp(signal);
    expect((await identity.status()).failure?.code).not.toBe('ENCRYPTION_RECOVERY_KEY');
    await identity.reset(signal, passwordOf(bob));
    const tablet = await newDevice(world.target, bob);
    const other = app.identity(tablet.running.client);
    expect(await other.setUp(signal)).toBe(true);
    expect(await other.status()).toMatchObject({ crossSigned: true, identityChanged: false });
    await closeAll([store, phone.store, tablet.store], phone.running, tablet.running);
  });

  it('are made anew by a reset, where the recovery key is lost', async () => {
    const { world, store, bob, app, a, b } = await withHistory(expect, await target());
    const before = await published(bob);
    await b.stop();
    app.key = undefined;
    const phone = await newDevice(world.target, bob);
    const identity = app.identity(phone.running.client);
    await identity.setUp(signal);
    await expect(identity.reset(signal)).rejects.toMatchObject({ code: 'ENCRYPTION_SETUP_FAILED', status: 401 });
    expect(await published(bob)).toEqual(before);
    await identity.reset(signal, passwordOf(bob));
    const now = await published(bob);
    expect(now.masterKey).not.toEqual(before.masterKey);
    expect(now.backup).not.toBe(before.backup);
    expect(await identity.status()).toMatchObject({ crossSigned: true, recoveryKeyNeeded: false });
    const tablet = await newDevice(world.target, bob);
    const other = app.identity(tablet.running.client);
    await other.setUp(signal);
    expect(await other.status()).toMatchObject({ crossSigned: true, backup: { version: now.backup, enabled: true } });
    await closeAll([store, phone.store, tablet.store], a, phone.running, tablet.running);
  });
}

/** The same through a manager. */
export function managedIdentities(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  it('are given to the users of a manager, and back to who has lost the store', async () => {
    const deployment = new Deployment(await target());
    const vault = new Map<string, string>();
    const encryption = {
      path: deployment.cryptoPath,
      secret: new Uint8Array(32).fill(7),
      onRecoveryKey: async (userId: string, key: string) => void vault.set(userId, key),
      recoveryKey: async (userId: string) => vault.get(userId),
    };
    let manager = deployment.start({ encryption });
    const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
    const roomId = await encryptedChat(manager, [alice, bob]);
    await manager.withClient(bob, (client) => backUpAtOnce(client.getCrypto()));
    const kept = { crossSigned: true, secretStorage: true, trust: 'cross-signed', backup: { enabled: true } };
    for (const userId of [alice, bob]) {
      await expect.poll(() => manager.encryptionStatus(userId), { timeout: 15_000 }).toMatchObject(kept);
    }
    const { eventId } = await manager.sendMessage({ userId: alice, roomId, text: 'to be kept' });
    const textFor = async (userId: string): Promise<unknown> =>
      (await manager.getRoomMessages({ userId, roomId })).messages.find((one) => one.eventId === eventId)?.content[
        'body'
      ];
    await expect.poll(() => textFor(bob), { timeout: 15_000 }).toBe('to be kept');
    const stored = async (): Promise<number | undefined> => (await manager.encryptionStatus(bob)).backup.remaining;
    await expect.poll(stored, { timeout: 15_000 }).toBe(0);
    const { deviceId } = await manager.encryptionStatus(bob);
    await manager.shutdown();
    for (const file of readdirSync(deployment.folder)) {
      if (file.startsWith('keys.sqlite')) rmSync(join(deployment.folder, file));
    }
    manager = deployment.start({ encryption });
    await expect.poll(() => textFor(bob), { timeout: 15_000 }).toBe('to be kept');
    await expect.poll(() => manager.encryptionStatus(bob), { timeout: 15_000 }).toMatchObject(kept);
    expect((await manager.encryptionStatus(bob)).deviceId).not.toBe(deviceId);
  });

  it('can be seen, verified and made anew by the application', async () => {
    const deployment = new Deployment(await target());
    const given: string[] = [];
    const encryption = {
      path: deployment.cryptoPath,
      secret: new Uint8Array(32).fill(7),
      onRecoveryKey: (_userId: string, key: string) => void given.push(key),
      recoveryKey: () => null,
    };
    const manager = deployment.start({ encryption });
    const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
    await encryptedChat(manager, [alice, bob]);
    for (const userId of [alice, bob]) {
      const isSigned = async (): Promise<boolean> => (await manager.encryptionStatus(userId)).crossSigned;
      await expect.poll(isSigned, { timeout: 15_000 }).toBe(true);
    }
    const { deviceId } = await manager.encryptionStatus(bob);
    const seen = { userId: bob, hasIdentity: true, identityChanged: false, verified: false };
    const signed = [{ deviceId, crossSigned: true, verified: false }];
    const known = (): Promise<object> => manager.userVerification(alice, bob);
    await expect.poll(known, { timeout: 15_000 }).toMatchObject({ ...seen, devices: signed });
    expect(await manager.verifyUser(alice, bob)).toMatchObject({ verified: true, devices: [{ verified: true }] });

    const before = given.length;
    expect(await manager.resetIdentity(bob)).toMatchObject({ crossSigned: true, backup: { enabled: true } });
    expect(given).toHaveLength(before + 1);
    await expect.poll(known, { timeout: 15_000 }).toMatchObject({ identityChanged: true, verified: false });
    expect(await manager.verifyUser(alice, bob)).toMatchObject({ verified: true, identityChanged: false });

    const nobody = await deployment.world.newUser();
    await expect(manager.verifyUser(alice, nobody.userId)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(manager.userVerification(alice, 'bob')).rejects.toMatchObject({ code: 'INVALID_USER_ID' });
  });
}

/** Which of Bob's devices can read what Alice sends under each policy: the signed one, and one that nobody signed. */
export function trustPolicies(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  it.each([
    { trust: 'all', verifies: false, readers: ['signed', 'unsigned'] },
    { trust: 'cross-signed', verifies: false, readers: ['signed'] },
    { trust: 'verified', verifies: false, readers: [] },
    { trust: 'verified', verifies: true, readers: ['signed'] },
  ] as const)('$trust gives keys to $readers (Alice verifies Bob: $verifies)', async ({ trust, verifies, readers }) => {
    const { world, store, alice, bob, roomId } = await encryptedRoom(await target());
    const a = await run(world.target, store, alice);
    const b = await run(world.target, store, bob);
    await new Application().identity(b.client).setUp(signal);
    const phone = await newDevice(world.target, bob);
    const identity = new Application().identity(a.client, { trust });
    await identity.setUp(signal);
    await seen(expect, a.client, bob);
    await seen(expect, a.client, phone.device);
    const signedOnes = async (): Promise<string[]> => {
      const { devices } = await identity.verificationOf(bob.userId);
      return devices.filter(({ crossSigned }) => crossSigned).map(({ deviceId }) => deviceId);
    };
    await expect.poll(signedOnes, { timeout: 15_000 }).toEqual([bob.deviceId]);
    if (verifies) {
      expect(await identity.verify(bob.userId, signal)).toMatchObject({ verified: true });
    }
    const body = `only for ${readers.join(', ')}`;
    const eventId = await say(a.client, roomId, body);
    const last = await say(a.client, roomId, 'everybody has synced that far');
    const outcomes = { signed: b.client, unsigned: phone.running.client };
    const read: string[] = [];
    for (const [name, client] of Object.entries(outcomes)) {
      await expect.poll(() => client.getRoom(roomId)?.findEventById(last), { timeout: 15_000 }).toBeDefined();
      const event = client.getRoom(roomId)?.findEventById(eventId);
      await client.decryptEventIfNeeded(event as never);
      if (event?.getContent()['body'] === body) read.push(name);
      else expect(event?.decryptionFailureReason).toMatch(/WITHHELD|UNKNOWN_INBOUND_SESSION/);
    }
    expect(read).toEqual(readers);
    await closeAll([store, phone.store], a, b, phone.running);
  });
}

function pathOf(input: Parameters<typeof fetch>[0]): string {
  return new URL(input instanceof Request ? input.url : input).pathname;
}

/** A homeserver that refuses cross-signing keys. */
function refusingKeys(target: HomeserverTarget, refusing: { is: boolean }): HomeserverTarget {
  const { baseUrl, serverName, admin, fetch: base = globalThis.fetch } = target;
  const fetch: typeof globalThis.fetch = async (input, init) =>
    refusing.is && pathOf(input).endsWith('/device_signing/upload')
      ? Response.json({ errcode: 'M_FORBIDDEN', error: 'not now' }, { status: 403 })
      : base(input, init);
  return { baseUrl, serverName, admin, fetch };
}

/** The way to a homeserver for a process that is killed at its n-th request that changes something. */
function mortal(target: HomeserverTarget, n: number, afterIt: boolean) {
  const base = target.fetch ?? globalThis.fetch;
  const killed = new AbortController();
  let left = n;
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const path = new URL(input instanceof Request ? input.url : input).pathname;
    const changes = init?.method === 'PUT' || init?.method === 'POST';
    if (changes && /account_data|device_signing|signatures|room_keys/.test(path) && left-- === 0) {
      if (afterIt) await base(input, init);
      killed.abort();
    }
    if (!killed.signal.aborted) return base(input, init);
    init?.signal?.throwIfAborted();
    return new Promise((_resolve, reject) => {
      init?.signal?.addEventListener('abort', () => reject(init.signal?.reason as Error));
    });
  };
  const { baseUrl, serverName, admin } = target;
  const killBefore = (request: number): void => void (left = request);
  return { target: { baseUrl, serverName, admin, fetch }, killed: killed.signal, killBefore };
}

/** A process killed at each step of the set-up in turn, before and after what the step changes at the homeserver. */
export function interruptedSetUps(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  it.each([false, true])('are made up for by the next start (killed after the request: %s)', async (after) => {
    const world = new World(await target());
    let steps = 0;
    for (let interrupted = true; interrupted; steps++) {
      const bob = await world.newUser();
      const store = await openStore();
      const app = new Application();
      const life = mortal(world.target, steps, after);
      const first = await run(life.target, store, bob);
      await app.identity(first.client).setUp(life.killed);
      interrupted = life.killed.aborted;
      await first.stop();
      const second = await run(world.target, store, bob);
      const identity = app.identity(second.client);
      await identity.setUp(signal);
      const expected = { crossSigned: true, secretStorage: true, backup: { enabled: true }, recoveryKeyNeeded: false };
      expect(await identity.status(), `step ${steps}`).toMatchObject(expected);
      const phone = await newDevice(world.target, bob);
      const restored = app.identity(phone.running.client);
      await restored.setUp(signal);
      expect(await restored.status(), `new device after step ${steps}`).toMatchObject(expected);
      await closeAll([store, phone.store], second, phone.running);
    }
    expect(steps).toBeGreaterThan(9);
  });
}

/** A process killed at each step of a reset in turn, by a user whose recovery key is lost. */
export function interruptedResets(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  it.each([
    { after: false, hasPrivateKeys: false },
    { after: true, hasPrivateKeys: false },
    { after: false, hasPrivateKeys: true },
    { after: true, hasPrivateKeys: true },
  ])('is made up for by the next start: %o', async ({ after, hasPrivateKeys }) => {
    const world = new World(await target());
    let steps = 0;
    for (let interrupted = true; interrupted; steps++) {
      const bob = await world.newUser();
      const app = new Application();
      let [store, device, user] = [await openStore(), deviceInMemory(), bob];
      const stores = [store];
      const before = await run(world.target, store, bob);
      await app.identity(before.client, { device }).setUp(signal);
      await before.stop();
      app.key = undefined;
      if (!hasPrivateKeys) {
        [store, device, user] = [await openStore(), deviceInMemory(), await bob.logInAgain()];
        stores.push(store);
      }
      const life = mortal(world.target, steps, after);
      const first = await run(life.target, store, user);
      await app
        .identity(first.client, { device })
        .reset(life.killed, passwordOf(bob))
        .catch(() => {});
      interrupted = life.killed.aborted;
      await first.stop();
      const second = await run(world.target, store, user);
      const identity = app.identity(second.client, { device, authenticate: passwordOf(bob) });
      await identity.setUp(signal);
      const expected = { crossSigned: true, secretStorage: true, backup: { enabled: true }, recoveryKeyNeeded: false };
      const status = await identity.status();
      expect(status.failure, `step ${steps}`).toBeUndefined();
      expect(status, `step ${steps}`).toMatchObject(expected);
      const tablet = await newDevice(world.target, bob);
      const restored = app.identity(tablet.running.client);
      await restored.setUp(signal);
      expect(await restored.status(), `new device after step ${steps}`).toMatchObject(expected);
      const now = await published(bob);
      await identity.setUp(signal);
      expect(await published(bob), 'nothing is replaced again').toEqual(now);
      await closeAll([...stores, tablet.store], second, tablet.running);
    }
    expect(steps).toBeGreaterThan(9);
  });
}

/** What resets leave behind that a homeserver refuses or fails. */
export function failedResets(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  /** A new device of a user with an identity whose recovery key is lost. */
  const withLostKey = async () => {
    const world = new World(await target());
    const bob = await world.newUser();
    const app = new Application();
    const stores = [await openStore(), await openStore()] as const;
    const before = await run(world.target, stores[0], bob);
    await app.identity(before.client).setUp(signal);
    await before.stop();
    const lostKey = app.key;
    app.key = undefined;
    return { world, bob, app, stores, lostKey, phone: await bob.logInAgain(), before: await published(bob) };
  };

  it('give the old secret storage back, also if they go on with a reset that was interrupted', async () => {
    const { world, bob, app, stores, lostKey, phone, before } = await withLostKey();
    const device = deviceInMemory();
    const life = mortal(world.target, 1, true);
    const first = await run(life.target, stores[1], phone);
    const reset = app.identity(first.client, { device }).reset(life.killed, passwordOf(bob));
    await expect(reset).rejects.toThrow();
    await first.stop();
    expect((await published(bob)).defaultKey, 'an empty storage is the default').not.toEqual(before.defaultKey);
    const second = await run(refusingKeys(world.target, { is: true }), stores[1], phone);
    const identity = app.identity(second.client, { device, authenticate: passwordOf(bob) });
    expect(await identity.setUp(signal)).toBe(false);
    expect(await published(bob)).toEqual(before);
    app.key = lostKey;
    expect(await identity.setUp(signal)).toBe(true);
    expect(await published(bob)).toEqual(before);
    await closeAll(stores, second);
  });

  it('leave the identity if they were interrupted on a device with the private keys, which get another storage', async () => {
    const world = new World(await target());
    const bob = await world.newUser();
    const [app, store, device] = [new Application(), await openStore(), deviceInMemory()];
    const life = mortal(world.target, Infinity, false);
    const first = await run(life.target, store, bob);
    await app.identity(first.client, { device }).setUp(signal);
    const before = await published(bob);
    app.key = undefined;
    life.killBefore(0);
    const reset = app.identity(first.client, { device }).reset(life.killed, passwordOf(bob));
    await expect(reset).rejects.toThrow();
    await first.stop();
    const second = await run(world.target, store, bob);
    const identity = app.identity(second.client, { device, authenticate: passwordOf(bob) });
    expect(await identity.setUp(signal)).toBe(true);
    const now = await published(bob);
    expect([now.masterKey, now.backup]).toEqual([before.masterKey, before.backup]);
    expect(now.defaultKey).not.toEqual(before.defaultKey);
    const tablet = await newDevice(world.target, bob);
    const other = app.identity(tablet.running.client);
    expect(await other.setUp(signal)).toBe(true);
    expect(await other.status()).toMatchObject({
      crossSigned: true,
      backup: { version: before.backup, enabled: true },
    });
    await closeAll([store, tablet.store], second, tablet.running);
  });

  it('are not carried out by a later set-up, if the new secret storage could not be created', async () => {
    const { world, bob, app, stores, phone, before } = await withLostKey();
    const { baseUrl, serverName, admin, fetch: base = globalThis.fetch } = world.target;
    let isFailing = true;
    const fetch: typeof globalThis.fetch = async (input, init) =>
      isFailing && init?.method === 'PUT' && pathOf(input).includes('m.secret_storage')
        ? Response.json({ errcode: 'M_UNKNOWN', error: 'out of order' }, { status: 500 })
        : base(input, init);
    const running = await run({ baseUrl, serverName, admin, fetch }, stores[1], phone);
    const identity = app.identity(running.client, { authenticate: passwordOf(bob) });
    await expect(identity.reset(signal)).rejects.toMatchObject({ code: 'ENCRYPTION_SETUP_FAILED' });
    expect(app.given).toHaveLength(2);
    isFailing = false;
    expect(await identity.setUp(signal)).toBe(false);
    expect(app.given).toHaveLength(2);
    expect(await published(bob)).toEqual(before);
    await identity.reset(signal);
    expect((await published(bob)).masterKey).not.toEqual(before.masterKey);
    await closeAll(stores, running);
  });
}

/** Proves to the homeserver that it is the user. */
function passwordOf({ userId, password }: TestUser): IdentityOptions['authenticate'] {
  return async (makeRequest) => {
    const error: unknown = await makeRequest(null).catch((refusal: unknown) => refusal);
    const { session } = (error as { data: { session: string } }).data;
    await makeRequest({ type: 'm.login.password', identifier: { type: 'm.id.user', user: userId }, password, session });
  };
}

function deviceInMemory(): IdentityOptions['device'] {
  const records = new Map<string, Uint8Array>();
  const device = {
    restorePending: false,
    readSideRecord: async (name: string) => records.get(name),
    writeSideRecord: async (name: string, record: Uint8Array) => void records.set(name, record),
    setRestorePending: async (pending: boolean): Promise<void> => {
      device.restorePending = pending;
    },
  };
  return device;
}
