import type { MatrixClient } from 'matrix-js-sdk';
import { afterEach, describe, expect, it } from 'vitest';
import { MatrixClientManager, memoryStorage } from '../../src/index.js';
import type { ManagerEvents, MatrixClientManagerOptions, Storage } from '../../src/index.js';
import { FakeHomeserver, ManualClock, MemoryLogger } from '../../src/testing/index.js';
import { Recorder } from '../support/recorder.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

function setUp(options: Partial<MatrixClientManagerOptions> = {}) {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  const logger = new MemoryLogger();
  const manager = new MatrixClientManager({
    homeserverUrl: fake.baseUrl,
    fetch: fake.fetch,
    clock,
    logger,
    ...options,
  });
  open.push(fake, manager);
  const stopped: Parameters<ManagerEvents['clientStopped']>[0][] = [];
  manager.on('clientStopped', (event) => stopped.push(event));
  const alice = fake.createUser({ username: 'alice' });
  const bob = fake.createUser({ username: 'bob' });
  const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
  return { clock, fake, logger, manager, alice, bob, roomId, stopped };
}

describe('a start that fails', () => {
  const broken: [string, string, (fake: FakeHomeserver, endpoint: string) => unknown][] = [
    ['HTML', 'INVALID_RESPONSE', (fake, endpoint) => fake.faults.html({ endpoint })],
    ['truncated JSON', 'INVALID_RESPONSE', (fake, endpoint) => fake.faults.truncatedJson({ endpoint })],
    ['500', 'HOMESERVER_UNAVAILABLE', (fake, endpoint) => fake.faults.status({ endpoint }, { status: 500 })],
    ['nothing', 'TIMEOUT', (fake, endpoint) => fake.faults.hang({ endpoint })],
    ['a broken connection', 'NETWORK', (fake, endpoint) => fake.faults.drop({ endpoint })],
  ];
  const wrong: [string, unknown][] = [
    ['an array', []],
    ['no next_batch', { rooms: {} }],
    ['a number as next_batch', { next_batch: 1 }],
  ];

  it.each(broken)('ends with a classified error when /sync answers %s', async (_what, code, breakIt) => {
    const { manager, fake, clock, alice } = setUp();
    breakIt(fake, '/sync');
    const starting = manager.startClient(alice).catch((error: unknown) => error);
    await clock.advance(600_000);
    expect(await starting).toMatchObject({ code, userId: alice.userId });
    expect(manager.hasClient(alice.userId)).toBe(false);
    expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'failed', error: { code } });
    expect(fake.inFlight).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each(wrong)('ends with INVALID_RESPONSE when /sync answers %s', async (_what, body) => {
    const { manager, fake, clock, alice } = setUp();
    fake.faults.wrongTypes({ endpoint: '/sync' }, body);
    const starting = manager.startClient(alice).catch((error: unknown) => error);
    await clock.advance(600_000);
    expect(await starting).toMatchObject({ code: 'INVALID_RESPONSE' });
  });

  it('ends when its sync is refused', async () => {
    const { manager, fake, clock, alice } = setUp();
    fake.faults.status({ endpoint: '/sync' }, { status: 403, errcode: 'M_FORBIDDEN' });
    const starting = manager.startClient(alice).catch((error: unknown) => error);
    await clock.advance(600_000);
    expect(await starting).toMatchObject({ code: 'FORBIDDEN' });
    expect(fake.inFlight).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it('works the next time', async () => {
    const { manager, fake, clock, alice } = setUp();
    const mend = fake.faults.status({ endpoint: '/sync' }, { status: 502 });
    const starting = manager.startClient(alice).catch((error: unknown) => error);
    await clock.advance(600_000);
    expect(await starting).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE', status: 502 });
    mend();
    await manager.startClient({ userId: alice.userId });
    expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'live' });
  });

  it('says CLIENT_NOT_STARTED for a user of whom nothing is known', async () => {
    const { manager } = setUp();
    const starting = manager.startClient({ userId: '@nobody:hs.test' });
    await expect(starting).rejects.toMatchObject({ code: 'CLIENT_NOT_STARTED', userId: '@nobody:hs.test' });
  });

  it('refuses a token that belongs to somebody else', async () => {
    const { manager, alice, bob } = setUp();
    const starting = manager.startClient({ userId: alice.userId, accessToken: bob.accessToken });
    await expect(starting).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
  });
});

describe('a request of the SDK itself', () => {
  it('ends within its time when the homeserver never answers', async () => {
    const { manager, fake, clock, alice } = setUp();
    await manager.startClient(alice);
    fake.faults.hang({ endpoint: '/profile/{userId}' });
    const asking = manager
      .withClient(alice.userId, (client) => client.getProfileInfo(alice.userId))
      .catch((error: unknown) => error);
    await clock.advance(300_000);
    expect(await asking).toBeInstanceOf(Error);
    expect(manager.clientInfo(alice.userId)).toMatchObject({ leases: 0 });
  });

  it('is refused an answer that would fill the memory', async () => {
    const { manager, fake, clock, alice } = setUp({ maxResponseBytes: 1_000_000 });
    await manager.startClient(alice);
    fake.faults.wrongTypes({ endpoint: '/profile/{userId}' }, { padding: 'x'.repeat(2_000_000) });
    const asking = manager
      .withClient(alice.userId, (client) => client.getProfileInfo(alice.userId))
      .catch((error: unknown) => error);
    await clock.advance(300_000);
    expect(await asking).toMatchObject({ message: expect.stringContaining('maxResponseBytes') as string });
  });
});

describe('a running client', () => {
  it('is reconnecting while the homeserver is down, and misses nothing', async () => {
    const { manager, fake, clock, alice, bob, roomId } = setUp();
    const recorder = new Recorder();
    await manager.startClient({ ...alice, callbacks: [recorder.callback] });
    const mend = fake.faults.status({ endpoint: '/sync' }, { status: 503 });
    fake.restart();
    await clock.advance(5_000);
    expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'reconnecting' });
    fake.sendMessage(roomId, bob.userId, 'while down');
    mend();
    await clock.advance(60_000);
    await recorder.message('while down');
    expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'live' });
  });

  it('waits as long as a rate limit says before it syncs again', async () => {
    const { manager, fake, clock, alice } = setUp();
    await manager.startClient(alice);
    fake.faults.rateLimit({ endpoint: '/sync', times: 1 }, { retryAfterMs: 45_000 });
    fake.clearRequests();
    fake.restart();
    await clock.advance(3_000); // the connection breaks, and the next try is told to wait
    const asked = fake.countRequests('/sync');
    await clock.advance(40_000);
    expect(fake.countRequests('/sync')).toBe(asked);
    await clock.advance(10_000);
    expect(fake.countRequests('/sync')).toBeGreaterThan(asked);
    expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'live' });
  });

  it('leaves out what is no event, and delivers the rest', async () => {
    const { manager, fake, clock, alice, bob, roomId, logger } = setUp();
    const recorder = new Recorder();
    await manager.startClient({ ...alice, callbacks: [recorder.callback] });
    const good = {
      event_id: '$good',
      type: 'm.room.message',
      sender: bob.userId,
      origin_server_ts: 1,
      content: { body: 'good' },
    };
    const events = [
      null,
      'x',
      { type: 'm.room.message' },
      { ...good, event_id: 7 },
      { ...good, content: 'text' },
      good,
    ];
    const body = { next_batch: 'garbled', rooms: { join: { [roomId]: { timeline: { events } } } } };
    fake.faults.wrongTypes({ endpoint: '/sync', times: 1 }, body);
    fake.restart();
    await clock.advance(5_000);
    await recorder.message('good');
    expect(recorder.events.filter(({ type }) => type === 'message')).toHaveLength(1);
    expect(logger.entries.some(({ message }) => message.includes('malformed'))).toBe(true);
  });

  it('starts a fresh sync when its position is rejected, and delivers what was missed', async () => {
    const { manager, fake, clock, alice, bob, roomId } = setUp();
    const recorder = new Recorder();
    await manager.startClient({ ...alice, callbacks: [recorder.callback] });
    fake.sendMessage(roomId, bob.userId, 'before');
    await recorder.message('before');
    fake.faults.status({ endpoint: '/sync', times: 1 }, { status: 400, errcode: 'M_UNKNOWN' });
    fake.restart();
    fake.sendMessage(roomId, bob.userId, 'meanwhile');
    await clock.advance(5_000);
    await recorder.message('meanwhile');
    fake.sendMessage(roomId, bob.userId, 'after');
    await recorder.message('after');
    expect(recorder.bodies()).toEqual(['before', 'meanwhile', 'after']);
  });

  it('leaves a homeserver in peace that rejects every position', async () => {
    const homeserver: { fake?: FakeHomeserver; rejects?: boolean } = {};
    const { manager, fake, clock, alice } = setUp({
      fetch: async (input, init) => {
        const { pathname, searchParams } = new URL(input instanceof Request ? input.url : input);
        const isRejected = homeserver.rejects && pathname.endsWith('/v3/sync') && searchParams.has('since');
        if (isRejected) return Response.json({ errcode: 'M_UNKNOWN', error: 'Invalid token' }, { status: 400 });
        return (homeserver.fake as FakeHomeserver).fetch(input, init);
      },
    });
    homeserver.fake = fake;
    const starting = manager.startClient(alice);
    await clock.advance(0);
    await starting;
    fake.clearRequests();
    homeserver.rejects = true;
    fake.restart();
    await clock.advance(600_000);
    expect(fake.countRequests('/sync')).toBeGreaterThan(5);
    expect(fake.countRequests('/sync')).toBeLessThan(30);
    homeserver.rejects = false;
    await clock.advance(60_000);
    expect(manager.clientInfo(alice.userId)?.state).toBe('live');
    await manager.shutdown();
    expect(clock.pendingTimers).toBe(0);
  });

  it('stops as loggedOut when its token dies and nothing can renew it', async () => {
    const { manager, fake, clock, alice, stopped } = setUp();
    await manager.startClient(alice);
    fake.killToken(alice.accessToken);
    fake.restart();
    await clock.advance(5_000);
    expect(stopped).toMatchObject([{ userId: alice.userId, reason: 'loggedOut', error: { code: 'UNKNOWN_TOKEN' } }]);
    expect(manager.clientInfo(alice.userId)).toBeUndefined();
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    ['M_FORBIDDEN', 403],
    ['M_RESOURCE_LIMIT_EXCEEDED', 403],
    ['M_USER_LOCKED', 401],
    ['M_NOT_FOUND', 404],
    ['M_UNRECOGNIZED', 404],
    ['M_UNRECOGNIZED', 405],
    ['M_TOO_LARGE', 413],
    ['ORG.EXAMPLE.TEAPOT', 418],
  ])('outlasts a refusal of its sync that does not say that the session is over (%s, %i)', async (errcode, status) => {
    const { manager, fake, clock, alice, bob, roomId, stopped } = setUp();
    const recorder = new Recorder();
    await manager.startClient({ ...alice, callbacks: [recorder.callback] });
    const mend = fake.faults.status({ endpoint: '/sync' }, { status, errcode });
    fake.restart();
    await clock.advance(600_000);
    expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'reconnecting' });
    fake.sendMessage(roomId, bob.userId, 'while it refused');
    mend();
    await clock.advance(120_000);
    await recorder.message('while it refused');
    expect([manager.clientInfo(alice.userId)?.state, stopped]).toEqual(['live', []]);
  });

  it.each([
    ['M_UNKNOWN_TOKEN', 401],
    ['M_USER_DEACTIVATED', 403],
  ])('outlasts %s twice, which may be an error of the homeserver', async (errcode, status) => {
    const { manager, fake, clock, alice, stopped } = setUp();
    await manager.startClient(alice);
    fake.faults.status({ endpoint: '/sync', times: 2 }, { status, errcode });
    fake.restart();
    await clock.advance(60_000);
    expect([manager.clientInfo(alice.userId)?.state, stopped]).toEqual(['live', []]);
  });

  it('stops as loggedOut when the homeserver says repeatedly that the account is deactivated', async () => {
    const { manager, fake, clock, alice, stopped } = setUp();
    await manager.startClient(alice);
    fake.faults.status({ endpoint: '/sync' }, { status: 403, errcode: 'M_USER_DEACTIVATED' });
    fake.restart();
    await clock.advance(10_000);
    expect(stopped).toMatchObject([{ reason: 'loggedOut', error: { code: 'USER_DEACTIVATED' } }]);
    expect(manager.clientInfo(alice.userId)).toBeUndefined();
    expect(clock.pendingTimers).toBe(0);
  });

  it('gives its position up only when the homeserver rejects it twice', async () => {
    const { manager, fake, clock, alice } = setUp();
    await manager.startClient(alice);
    fake.clearRequests();
    const rejected = { status: 400, errcode: 'M_INVALID_PARAM' };
    fake.faults.status({ endpoint: '/sync', times: 1 }, rejected);
    fake.restart();
    await clock.advance(60_000);
    const withoutPosition = (): number =>
      fake.countRequests(({ endpoint, query }) => endpoint === '/sync' && query['since'] === undefined);
    expect([manager.clientInfo(alice.userId)?.state, withoutPosition()]).toEqual(['live', 0]);
    fake.faults.status({ endpoint: '/sync', times: 2 }, rejected);
    fake.restart();
    await clock.advance(60_000);
    expect(withoutPosition()).toBeGreaterThan(0);
    expect(manager.clientInfo(alice.userId)?.state).toBe('live');
  });

  it('is stopped completely while its first sync hangs, by a shutdown', async () => {
    const { manager, fake, clock, alice } = setUp();
    fake.faults.hang({ endpoint: '/sync' });
    const starting = manager.startClient(alice).catch((error: unknown) => error);
    await clock.advance(0);
    await manager.shutdown();
    expect(await starting).toMatchObject({ code: 'MANAGER_CLOSED' });
    expect(fake.inFlight).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each(['/versions', '/v3/sync', 'simplified_msc3575/sync'])(
    'is stopped completely while %s hangs during its start',
    async (endpoint) => {
      const { manager, fake, clock, alice } = setUp();
      fake.faults.hang({ path: new RegExp(`${endpoint}$`) });
      const starting = manager.startClient(alice).catch((error: unknown) => error);
      await clock.advance(0);
      await manager.shutdown();
      await starting;
      expect(fake.inFlight).toBe(0);
      expect(clock.pendingTimers).toBe(0);
      expect(manager.listClients()).toEqual([]);
    },
  );
});

describe('a stop that something stands in the way of', () => {
  it('by a failure of the SDK’s own stop, ends the client all the same, and says so', async () => {
    const { manager, fake, clock, alice, bob, roomId, stopped } = setUp();
    const recorder = new Recorder();
    const { userId } = alice;
    await manager.startClient({ ...alice, callbacks: [recorder.callback] });
    const client = manager.getClient(userId) as MatrixClient;
    const stop = client.stopClient.bind(client);
    client.stopClient = () => {
      stop();
      throw new Error('of the application');
    };
    const stopping = manager.stopClient(userId).catch((error: unknown) => error);
    await clock.advance(31_000);
    expect(await stopping).toMatchObject({ code: 'CLIENT_FAILED' });
    expect(stopped).toMatchObject([{ reason: 'requested', error: { code: 'CLIENT_FAILED' } }]);
    expect(manager.clientInfo(userId)).toBeUndefined();
    fake.clearRequests();
    await clock.advance(300_000);
    expect(fake.countRequests('/sync')).toBe(0);
    expect(fake.inFlight).toBe(0);
    expect(clock.pendingTimers).toBe(0);
    fake.sendMessage(roomId, bob.userId, 'missed');
    await manager.startClient(alice);
    await recorder.message('missed');
  });

  it('by a storage that hangs, is bounded, and stores nothing when the storage is back', async () => {
    const memory = memoryStorage();
    const back = Promise.withResolvers<void>();
    let hangs = false;
    let commits = 0;
    const storage: Storage = {
      ...bound(memory),
      commit: async (...change) => {
        if (hangs) await back.promise;
        else return memory.commit(...change);
        commits++;
      },
    };
    const { manager, fake, clock, alice, bob, roomId } = setUp({ storage, requestTimeoutMs: 90_000 });
    const { userId } = alice;
    const recorder = new Recorder();
    await manager.startClient({ ...alice, callbacks: [recorder.callback] });
    hangs = true;
    fake.sendMessage(roomId, bob.userId, 'one');
    await recorder.message('one');
    fake.sendMessage(roomId, bob.userId, 'two');
    await clock.advance(100);
    const stopping = manager.stopClient(userId).catch((error: unknown) => error);
    await clock.advance(100_000);
    expect(await stopping).toMatchObject({ code: 'CLIENT_FAILED' });
    expect(manager.clientInfo(userId)).toBeUndefined();
    hangs = false;
    const before = commits;
    back.resolve();
    await clock.advance(1_000);
    expect(commits - before).toBe(1); // the one that hung
    await manager.startClient(alice);
    await recorder.message('two');
  });
});

/** The storage's methods, as an object of their own. */
function bound(storage: Storage): Storage {
  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(storage)) as (keyof Storage)[];
  const entries = methods.map((name) => [name, (storage[name] as (...args: unknown[]) => unknown)?.bind(storage)]);
  return Object.fromEntries(entries) as Storage;
}
