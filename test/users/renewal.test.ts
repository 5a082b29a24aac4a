import { afterEach, describe, expect, it } from 'vitest';
import { MatrixClientManager, memoryStorage } from '../../src/index.js';
import type { Credentials, MatrixClientManagerOptions, Provisioner } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';
import { Recorder } from '../support/recorder.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

function setUp(options: (fake: FakeHomeserver) => Partial<MatrixClientManagerOptions>) {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  const storage = memoryStorage();
  const manager = new MatrixClientManager({
    homeserverUrl: fake.baseUrl,
    fetch: fake.fetch,
    clock,
    storage,
    ...options(fake),
  });
  open.push(fake, manager);
  const alice = fake.createUser({ username: 'alice' });
  const bob = fake.createUser({ username: 'bob' });
  const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
  const states: string[] = [];
  manager.on('clientStateChanged', ({ to }) => states.push(to));
  return { clock, fake, storage, manager, alice, bob, roomId, states };
}

/** Logs in anew on the device that the credentials name, as an application's own store would. */
async function logIn(fake: FakeHomeserver, credentials: Credentials, refresh = false): Promise<Credentials> {
  const password = 'a password of their own';
  const user = encodeURIComponent(credentials.userId);
  await fake.fetch(`${fake.baseUrl}/_synapse/admin/v2/users/${user}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${fake.admin.accessToken}` },
    body: JSON.stringify({ password, logout_devices: false }),
  });
  const response = await fake.fetch(`${fake.baseUrl}/_matrix/client/v3/login`, {
    method: 'POST',
    body: JSON.stringify({
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: credentials.userId },
      password,
      device_id: credentials.deviceId,
      refresh_token: refresh,
    }),
  });
  const body = (await response.json()) as { access_token: string; refresh_token?: string };
  const { userId, deviceId } = credentials;
  return {
    userId,
    deviceId,
    accessToken: body.access_token,
    ...(body.refresh_token && { refreshToken: body.refresh_token }),
  };
}

describe('a dead access token', () => {
  it.each([false, true])(
    'is renewed by the provisioner, once for all that wait (soft logout: %s)',
    async (softLogout) => {
      const { fake, clock, manager, alice, bob, roomId, states, storage } = setUp(({ admin }) => ({ admin }));
      const recorder = new Recorder();
      await manager.startClient({ ...bob, callbacks: [recorder.callback] });
      fake.clearRequests();
      fake.killTokens(bob.userId, { softLogout });
      fake.restart();
      const sends = Array.from({ length: 5 }, async (_, n) =>
        manager.sendMessage({ userId: bob.userId, roomId, text: `from bob ${n}` }),
      );
      const page = manager.getRoomMessages({ roomId, userId: bob.userId });
      await clock.advance(5_000);
      await Promise.all([...sends, page]);
      fake.sendMessage(roomId, alice.userId, 'still there?');
      await recorder.message('still there?');
      expect(fake.countRequests('/login')).toBe(1);
      expect(states.filter((state) => state === 'stopping')).toEqual([]);
      const renewed = await storage.getCredentials(bob.userId);
      expect(renewed).toMatchObject({ deviceId: bob.deviceId });
      expect(renewed?.accessToken).not.toBe(bob.accessToken);
    },
  );

  it('is renewed by its refresh token, without a new login', async () => {
    const { fake, clock, manager, bob, roomId, alice, storage } = setUp(({ admin }) => ({ admin }));
    const credentials = await logIn(fake, bob, true);
    await storage.setCredentials(credentials);
    const recorder = new Recorder();
    await manager.startClient({ userId: bob.userId, callbacks: [recorder.callback] });
    fake.clearRequests();
    await clock.advance(300_001); // as long as an access token with a refresh token lives
    fake.sendMessage(roomId, alice.userId, 'hello');
    await clock.advance(60_000);
    await recorder.message('hello');
    expect(fake.countRequests('/refresh')).toBe(1);
    expect(fake.countRequests('/login')).toBe(0);
    expect((await storage.getCredentials(bob.userId))?.refreshToken).not.toBe(credentials.refreshToken);
  });

  it('is replaced from the application’s own store', async () => {
    let own: Credentials | undefined;
    const { fake, clock, manager, bob, alice, roomId } = setUp(() => ({ credentials: async () => own }));
    own = bob;
    const recorder = new Recorder();
    await manager.startClient({ userId: bob.userId, callbacks: [recorder.callback] });
    own = await logIn(fake, bob);
    fake.killToken(bob.accessToken);
    fake.restart();
    fake.sendMessage(roomId, alice.userId, 'hello');
    await clock.advance(5_000);
    await recorder.message('hello');
    expect(fake.countRequests('/login')).toBe(1); // the application's
  });

  it('ends the client as loggedOut when the renewal is refused', async () => {
    const provisioner: Provisioner = {
      capabilities: { renewsSessions: true, deactivatesUsers: false },
      ensureUser: () => Promise.reject(new Error('not asked for')),
      openSession: () => Promise.reject(new Error('the identity service says no')),
      closeSession: () => Promise.resolve(),
      deactivateUser: () => Promise.resolve(),
    };
    const { fake, clock, manager, bob } = setUp(() => ({ provisioner }));
    const stopped: unknown[] = [];
    manager.on('clientStopped', (event) => stopped.push(event));
    await manager.startClient(bob);
    fake.killToken(bob.accessToken);
    fake.restart();
    await clock.advance(5_000);
    expect(stopped).toMatchObject([{ userId: bob.userId, reason: 'loggedOut', error: { code: 'UNKNOWN_TOKEN' } }]);
  });

  it('is not mistaken for a homeserver that is down while it is renewed', async () => {
    const { fake, clock, manager, bob, alice, roomId } = setUp(({ admin }) => ({ admin }));
    const recorder = new Recorder();
    await manager.startClient({ ...bob, callbacks: [recorder.callback] });
    const mend = fake.faults.status({ endpoint: '/login' }, { status: 503 });
    fake.killToken(bob.accessToken);
    fake.restart();
    await clock.advance(30_000);
    expect(manager.clientInfo(bob.userId)).toMatchObject({ state: 'reconnecting' });
    mend();
    await clock.advance(120_000);
    fake.sendMessage(roomId, alice.userId, 'back');
    await recorder.message('back');
    expect(manager.clientInfo(bob.userId)).toMatchObject({ state: 'live' });
  });
});
