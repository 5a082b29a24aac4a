import { afterEach, describe, expect, it } from 'vitest';
import type { MatrixClientManager, MatrixClientManagerOptions } from '../../src/index.js';
import type { FakeHomeserverOptions } from '../../src/testing/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';
import { rejection } from '../support/rejection.js';

/** Statuses with which proxies, caches and firewalls answer in a homeserver's place, with a page of their own. */
const STATUSES = [200, 400, 401, 403, 404, 405, 409, 413, 421, 425, 426, 431, 451] as const;
const SEND = '/rooms/{roomId}/send/{eventType}/{txnId}';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

function setUp(options: Partial<MatrixClientManagerOptions> = {}, fakeOptions: FakeHomeserverOptions = {}) {
  const all = managerOnFake(options, fakeOptions);
  open.push(all.fake, all.manager);
  const alice = all.fake.createUser({ username: 'alice' });
  const bob = all.fake.createUser({ username: 'bob' });
  const roomId = all.fake.createRoom({ creator: alice.userId, members: [bob.userId] });
  const stopped: unknown[] = [];
  all.manager.on('clientStopped', (event) => stopped.push(event));
  return { ...all, alice, bob, roomId, stopped };
}

describe.each(STATUSES)('a web page with status %i in place of', (status) => {
  it('a sync is outlasted by a live client', async () => {
    const { fake, clock, manager, alice, bob, roomId, stopped } = setUp();
    const recorder = new Recorder();
    await manager.startClient({ ...alice, callbacks: [recorder.callback] });
    const mend = fake.faults.html({ endpoint: '/sync' }, status);
    fake.restart();
    await clock.advance(300_000);
    expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'reconnecting' });
    mend();
    await clock.advance(120_000);
    fake.sendMessage(roomId, bob.userId, 'back');
    await recorder.message('back');
    expect([manager.clientInfo(alice.userId)?.state, stopped]).toEqual(['live', []]);
  });

  it('a page of messages leaves a gap to be filled', async () => {
    const { fake, clock, make, manager, alice, bob, roomId } = setUp({ timelineLimit: 2 });
    await manager.startClient(alice);
    const closing = manager.shutdown();
    await clock.advance(1_000);
    await closing;
    for (let n = 1; n <= 9; n++) fake.sendMessage(roomId, bob.userId, `m${n}`);
    fake.faults.html({ endpoint: '/rooms/{roomId}/messages', times: 6 }, status);
    const next: MatrixClientManager = make();
    open.push(next);
    const gaps: unknown[] = [];
    next.on('gap', (gap) => gaps.push(gap));
    const recorder = new Recorder();
    await next.startClient({ userId: alice.userId, callbacks: [recorder.callback] });
    await clock.advance(300_000);
    expect(recorder.bodies(roomId)).toEqual(['m1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7', 'm8', 'm9']);
    expect(gaps).toEqual([]);
  });

  it('a durable send is no refusal', async () => {
    const { fake, clock, storage, manager, alice, roomId } = setUp();
    await storage.setCredentials(alice);
    fake.faults.html({ endpoint: SEND, times: 6 }, status);
    const sending = manager.sendMessage({ userId: alice.userId, roomId, text: 'once', durable: true });
    await clock.advance(120_000);
    await expect(sending).resolves.toMatchObject({ eventId: expect.any(String) as string });
    expect(await manager.listSends({ state: 'failed' })).toEqual([]);
  });

  it('a plain send is an error with the status after the usual attempts', async () => {
    const { fake, storage, manager, alice, roomId, soon, count } = setUp();
    await storage.setCredentials(alice);
    fake.faults.html({ endpoint: SEND }, status);
    const error = await rejection(soon(manager.sendMessage({ userId: alice.userId, roomId, text: 'x' })));
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', status });
    expect(error.message).toContain('homeserverUrl');
    expect(count(SEND)).toBe(4);
  });

  it('a check of a session, a login or a password burns no token and makes no device', async () => {
    const { fake, clock, manager, stopped } = setUp();
    const carol = await manager.provisionUser({ username: 'carol' });
    await manager.startClient({ userId: carol.userId });
    const devices = (await manager.admin.listDevices(carol.userId)).map(({ deviceId }) => deviceId);
    fake.clearRequests();
    for (const endpoint of ['/sync', '/account/whoami', '/login', '/_synapse/admin/v2/users/{userId}']) {
      fake.faults.html({ endpoint, times: 5 }, status);
    }
    fake.restart();
    await clock.advance(300_000);
    expect(fake.countRequests(({ endpoint }) => endpoint === '/login')).toBe(0);
    fake.killToken(carol.accessToken);
    fake.restart();
    await clock.advance(600_000);
    expect([manager.clientInfo(carol.userId)?.state, stopped]).toEqual(['live', []]);
    expect((await manager.admin.listDevices(carol.userId)).map(({ deviceId }) => deviceId)).toEqual(devices);
  });

  it('an upload limit, the versions or a file is outlasted by uploads and downloads', async () => {
    const { fake, storage, manager, alice, roomId, soon } = setUp();
    await storage.setCredentials(alice);
    fake.faults.html({ endpoint: '/_matrix/client/versions', times: 2 }, status);
    fake.faults.html({ path: /\/media\//, times: 2 }, status);
    const file = { body: Buffer.from('bytes'), name: 'a.txt', mimeType: 'text/plain' };
    const { contentUri } = await soon(manager.sendFile({ userId: alice.userId, roomId, file }));
    fake.faults.html({ path: /\/media\//, times: status === 200 ? 0 : 2 }, status); // a file may be a web page
    const content = { url: contentUri, body: 'a.txt' };
    const got = await soon(manager.downloadFile({ userId: alice.userId, content }));
    expect((await got.buffer()).toString()).toBe('bytes');
  });

  it('a request of the SDK is repeated where it reads, and reaches the SDK as a failed connection', async () => {
    const { fake, clock, manager, alice, soon } = setUp();
    await manager.startClient(alice);
    fake.faults.html({ endpoint: '/profile/{userId}', times: 2 }, status);
    const profile = manager.withClient(alice.userId, (client) => client.getProfileInfo(alice.userId));
    await expect(soon(profile)).resolves.toBeDefined();
    fake.faults.html({ endpoint: '/createRoom' }, status);
    const made = manager.withClient(alice.userId, (client) => client.createRoom({}));
    await expect(soon(made)).rejects.toMatchObject({ name: 'ConnectionError' });
    expect(fake.countRequests(({ endpoint }) => endpoint === '/createRoom')).toBe(1);
    expect(clock.pendingTimers).toBeLessThan(10);
  });
});
