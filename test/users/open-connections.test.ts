import { afterEach, describe, expect, it } from 'vitest';
import { CallbackRegistry } from '../../src/callbacks/callback-registry.js';
import { OnceLog } from '../../src/callbacks/once-log.js';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import { ClientRegistry } from '../../src/users/client-registry.js';
import type { ClientHooks } from '../../src/users/client-registry.js';
import { activityPolicy, MatrixClientManagerError } from '../../src/index.js';
import type { Connection, MatrixClientManagerOptions } from '../../src/index.js';
import type { ConnectionCalls } from '../../src/users/connection.js';
import { OpenConnections } from '../../src/users/open-connections.js';
import { ManualClock, MemoryUserEngine } from '../../src/testing/index.js';
import { testContext } from '../support/context.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

const HOUR = 3_600_000;
const SEND_LATE = 100;

async function setUp(options: Partial<MatrixClientManagerOptions> = {}) {
  const on = managerOnFake({ pollTimeoutMs: 600_000, ...options });
  open.push(on.fake, on.manager);
  const { fake, storage, clock } = on;
  const [alice, bob] = [fake.createUser({ username: 'alice' }), fake.createUser({ username: 'bob' })];
  const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
  for (const user of [alice, bob]) await storage.setCredentials(user);
  const say = async (text: string): Promise<void> => {
    fake.sendMessage(roomId, bob.userId, text);
    await clock.advance(SEND_LATE);
  };
  return { ...on, alice, bob, roomId, say, userId: alice.userId };
}

/** The states that a connection goes through from now on. */
function statesOf(connection: Connection): string[] {
  const states: string[] = [];
  connection.on('stateChanged', ({ to, error }) => states.push(error ? `${to} ${error.code}` : to));
  return states;
}

describe('a connection', () => {
  it('keeps the client live however long nothing is done, and the idle time begins when it is closed', async () => {
    const { manager, clock, userId, say } = await setUp({
      connectionPolicy: activityPolicy({ idleTimeoutMs: 2 * HOUR, restAfterMs: HOUR }),
    });
    const recorder = new Recorder();
    const connection = await manager.connect({ userId, callback: recorder.callback });
    expect([connection.userId, connection.state]).toEqual([userId, 'live']);
    for (const hour of [1, 2, 3, 4, 5]) {
      await clock.advance(HOUR);
      await say(`hour ${hour}`);
      expect(recorder.bodies().at(-1)).toBe(`hour ${hour}`);
      expect(manager.clientInfo(userId)).toMatchObject({ state: 'live', resting: false, connections: 1 });
    }
    const closedAt = clock.now();
    await connection.close();
    expect(manager.clientInfo(userId)).toMatchObject({ lastActivityAt: closedAt, connections: 0 });
    await clock.advance(1.9 * HOUR);
    expect(manager.hasClient(userId)).toBe(true);
    await clock.advance(0.2 * HOUR);
    expect(manager.hasClient(userId)).toBe(false);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is counted: the client is held until the last one of its user is closed', async () => {
    const { manager, clock, userId } = await setUp();
    const connections = [await manager.connect({ userId }), await manager.connect({ userId })];
    await clock.advance(5 * HOUR);
    await connections[0]?.close();
    await connections[0]?.close();
    await clock.advance(5 * HOUR);
    expect(manager.clientInfo(userId)).toMatchObject({ state: 'live', connections: 1 });
    await connections[1]?.[Symbol.asyncDispose]();
    await clock.advance(3 * HOUR);
    expect(manager.hasClient(userId)).toBe(false);
  });

  it('has callbacks and reads of its own, and its callbacks end with it', async () => {
    const { manager, userId, say, roomId, fake, clock } = await setUp();
    const elsewhere = fake.createRoom({ creator: fake.createUser({ username: 'carol' }).userId });
    const [connection, other] = [await manager.connect({ userId }), await manager.connect({ userId })];
    const recorder = new Recorder();
    const off = connection.addCallback(recorder.callback, { types: ['message'] });
    other.addCallback(recorder.callback, { rooms: [elsewhere] });
    await say('one');
    expect(recorder.bodies()).toEqual(['one']);
    const reads = Promise.all([connection.getRoomMessages({ roomId, limit: 1 }), connection.getJoinedRooms()]);
    await clock.advance(SEND_LATE);
    const [page, rooms] = await reads;
    expect(page.messages.map(({ content }) => content.body)).toEqual(['one']);
    expect(rooms).toEqual([roomId]);
    off();
    off();
    await say('two');
    connection.addCallback(recorder.callback, { types: ['message'] });
    await connection.close();
    await say('three');
    expect(recorder.bodies()).toEqual(['one']);
    expect(() => connection.addCallback(recorder.callback)).toThrow(expect.objectContaining({ code: 'ABORTED' }));
    expect(() => other.addCallback('x' as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }));
    await expect(other.getRoomMessages({ roomId: 'x' })).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
    await expect(other.getJoinedRooms({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('gives its callback what was missed, then the rest, by its filter, and nothing after its end', async () => {
    const { manager, clock, userId, say, roomId } = await setUp();
    const first = await manager.connect({ userId, callback: () => {} });
    await first.close();
    await manager.stopClient(userId);
    await say('missed');
    const [recorder, other] = [new Recorder(), new Recorder()];
    const connection = await manager.connect({ userId, callback: recorder.callback, types: ['message'] });
    const elsewhere = await manager.connect({ userId, callback: other.callback, rooms: ['!other:hs.test'] });
    await recorder.message('missed');
    manager.sendTyping({ userId, roomId, typing: true }).catch(() => {});
    await say('live');
    expect(recorder.events.map(({ provenance }) => provenance)).toEqual(['gap-fill', 'live']);
    await connection.close();
    await say('after');
    expect(recorder.bodies()).toEqual(['missed', 'live']);
    expect(other.events).toEqual([]);
    await elsewhere.close();
    await manager.sendTyping({ userId, roomId, typing: false });
    await clock.advance(0);
  });

  it('gives each connection its own events where one function serves several', async () => {
    const { manager, userId, say } = await setUp();
    const recorder = new Recorder();
    const { callback } = recorder;
    const connections = [await manager.connect({ userId, callback }), await manager.connect({ userId, callback })];
    await say('to both');
    expect(recorder.bodies()).toEqual(['to both', 'to both']);
    await connections[0]?.close();
    await say('to one');
    expect(recorder.bodies()).toEqual(['to both', 'to both', 'to one']);
  });

  it.each([{ types: 'message' }, { types: ['*'] }, { rooms: ['#alias:hs.test'] }, { backlog: 1 }, { typo: 1 }])(
    'is not opened with the options %j, and no client is started',
    async (options) => {
      const { manager, userId } = await setUp();
      const opening = manager.connect({ userId, callback: () => {}, ...(options as object) });
      const error = await opening.then(String, (failure: unknown) => failure);
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
      expect(manager.clientInfo(userId)).toBeUndefined();
    },
  );

  it('is not evicted under maxClients; a start waits for its end, bounded by its signal', async () => {
    const { manager, clock, userId, bob } = await setUp({ maxClients: 1 });
    const connection = await manager.connect({ userId });
    const controller = new AbortController();
    const { signal } = controller;
    const given = manager.connect({ userId: bob.userId, signal }).catch((error: unknown) => error);
    const waits = manager.connect({ userId: bob.userId });
    await clock.advance(HOUR);
    controller.abort();
    expect(await given).toMatchObject({ code: 'ABORTED' });
    expect(connection.state).toBe('live');
    await connection.close();
    expect((await waits).state).toBe('live');
    expect(manager.hasClient(userId)).toBe(false);
    expect(manager.clientInfo(bob.userId)).toMatchObject({ connections: 1 });
  });

  it('does not start a client again that was logged out, and follows the one that somebody starts', async () => {
    const { manager, clock, fake, userId } = await setUp({ pollTimeoutMs: 30_000 });
    const connection = await manager.connect({ userId });
    const states = statesOf(connection);
    const mend = fake.faults.status({ path: /_synapse/ }, { status: 403, errcode: 'M_FORBIDDEN' });
    fake.killTokens(userId);
    await clock.advance(HOUR);
    expect(states.slice(-1)).toEqual(['loggedOut UNKNOWN_TOKEN']);
    expect([connection.state, connection.error?.code]).toEqual(['loggedOut', 'UNKNOWN_TOKEN']);
    mend();
    await manager.startClient({ userId });
    await clock.advance(5 * HOUR);
    expect(states.slice(-3)).toEqual(['loggedOut UNKNOWN_TOKEN', 'starting', 'live']);
    expect(manager.clientInfo(userId)).toMatchObject({ state: 'live', connections: 1 });
  });

  it('gives way to a stop, and follows the next start', async () => {
    const { manager, clock, userId } = await setUp();
    const connection = await manager.connect({ userId });
    const states = statesOf(connection);
    expect(await manager.stopClient(userId)).toBe(true);
    await clock.advance(5 * HOUR);
    expect(states).toEqual(['stopped']);
    await manager.withClient(userId, () => undefined);
    await clock.advance(5 * HOUR);
    expect(states).toEqual(['stopped', 'starting', 'live']);
    expect(connection.state).toBe('live');
  });

  it('tells of an outage', async () => {
    const { manager, clock, fake, userId } = await setUp({ pollTimeoutMs: 30_000 });
    const connection = await manager.connect({ userId });
    const states = statesOf(connection);
    const mend = fake.faults.status({ endpoint: '/sync' }, { status: 502 });
    fake.restart();
    await clock.advance(60_000);
    mend();
    await clock.advance(120_000);
    expect(states).toEqual(['reconnecting', 'live']);
  });

  it('is closed by a shutdown, and its callback gets all that came before', async () => {
    const { manager, clock, userId, say, fake, roomId, bob } = await setUp();
    const recorder = new Recorder();
    const connection = await manager.connect({ userId, callback: recorder.callback });
    const states = statesOf(connection);
    await say('one');
    fake.sendMessage(roomId, bob.userId, 'two');
    await recorder.message('two');
    await manager.shutdown();
    expect(states.at(-1)).toBe('closed');
    expect(connection.state).toBe('closed');
    await connection.close();
    await expect(manager.connect({ userId })).rejects.toMatchObject({ code: 'MANAGER_CLOSED' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('that cannot begin leaves nothing behind', async () => {
    const { manager, clock, fake, userId, say } = await setUp();
    const recorder = new Recorder();
    fake.faults.status({ endpoint: '/sync', times: 1 }, { status: 403, errcode: 'M_FORBIDDEN' });
    const connecting = manager.connect({ userId, callback: recorder.callback });
    await expect(connecting).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await clock.advance(HOUR);
    expect(manager.clientInfo(userId)).toMatchObject({ state: 'failed', connections: 0 });
    await manager.startClient({ userId });
    await say('to nobody');
    expect(recorder.events).toEqual([]);
    await clock.advance(3 * HOUR);
    expect(manager.hasClient(userId)).toBe(false);
  });

  it('harms nobody by listeners that throw, reject or close it', async () => {
    const { manager, clock, userId, logger } = await setUp();
    const connection = await manager.connect({ userId });
    const other = await manager.connect({ userId });
    connection.on('stateChanged', () => {
      throw new Error('thrown');
    });
    connection.on('stateChanged', () => Promise.reject(new Error('rejected')));
    connection.on('stateChanged', () => void connection.close());
    const states = statesOf(other);
    const [ofClosed, undone] = [statesOf(connection), statesOf(connection)];
    const undo = connection.on('stateChanged', ({ to }) => undone.push(`never ${to}`));
    undo();
    await manager.stopClient(userId);
    await clock.advance(0);
    expect(states).toEqual(['stopped']);
    expect(ofClosed).toContain('closed');
    expect(undone.some((state) => state.startsWith('never'))).toBe(false);
    const failures = logger.entries.filter(({ message }) => message === 'a listener of a connection failed');
    expect(failures.length).toBeGreaterThanOrEqual(2);
    expect(other.state).toBe('stopped');
  });

  it.each([
    ['no user id', {}],
    ['a callback that is none', { userId: '@a:hs.test', callback: 'x' }],
    ['an unknown option', { userId: '@a:hs.test', callbacks: [] }],
    ['a filter without a callback', { userId: '@a:hs.test', types: ['message'] }],
    ['a type that is none', { userId: '@a:hs.test', callback: () => {}, types: [7] }],
    ['a signal that is none', { userId: '@a:hs.test', signal: {} }],
  ])('is refused for %s', async (_what, options) => {
    const { manager } = await setUp();
    await expect(manager.connect(options as never)).rejects.toMatchObject({
      code: expect.stringMatching(/^INVALID_(OPTIONS|USER_ID)$/) as string,
    });
    expect(manager.listClients()).toEqual([]);
  });
});

describe('a connection whose client fails', () => {
  const userId = '@alice:hs.test';
  const fault = new MatrixClientManagerError('CLIENT_FAILED', 'a fault');

  /** The connections on a registry of clients that fail when the test says so. */
  function onStubs() {
    const clock = new ManualClock();
    const context = testContext({ clock });
    const { logger } = context;
    const on = { startError: undefined as Error | undefined };
    const clients: ClientHooks[] = [];
    const starts: number[] = [];
    const registry: ClientRegistry = new ClientRegistry(context, {
      create: async (_userId, _given, hooks) => {
        starts.push(clock.now());
        if (on.startError) throw on.startError;
        clients.push(hooks);
        const engine = new MemoryUserEngine(clock);
        return Object.assign(engine, { engine });
      },
      idleTimeoutMs: HOUR,
      sweepIntervalMs: 60_000,
      maxHeapBytes: Infinity,
      maxClients: Infinity,
      startConcurrency: 8,
      onStateChanged: (id, _from, to) => connections.clientChanged(id, to, registry.info(id)?.error),
      onStarted: () => {},
      onStopped: (id, reason, error) => connections.clientStopped(id, reason, error),
    });
    const callbacks = new CallbackRegistry(context, {
      onceLog: new OnceLog(context, memoryStorage()),
      attempts: 1,
      retryDelayMs: 1,
      timeoutMs: Infinity,
      onError: () => {},
      onDeadLetter: async () => {},
    });
    const unused = async (): Promise<never> => Promise.reject(new Error('not expected'));
    const calls: ConnectionCalls = {
      addCallback: (...registration) => callbacks.add(...registration),
      getRoomMessages: unused,
      getJoinedRooms: unused,
    };
    const connections = new OpenConnections(context, { registry, calls });
    const stop = async (): Promise<boolean> => registry.stop(userId).finally(() => connections.stopRequested(userId));
    const fail = async (error = fault): Promise<void> => {
      clients.at(-1)?.onFatal(error);
      await clock.advance(0);
    };
    return { clock, registry, connections, callbacks, clients, starts, fail, stop, on, logger };
  }

  it('has it started again, with growing pauses, for as long as that takes', async () => {
    const { clock, connections, starts, fail, on } = onStubs();
    const connection = await connections.open({ userId });
    const states = statesOf(connection);
    on.startError = new MatrixClientManagerError('NETWORK', 'no way');
    await fail();
    expect([connection.state, connection.error]).toEqual(['failed', fault]);
    await clock.advance(2 * HOUR);
    expect(states.slice(0, 4)).toEqual(['failed CLIENT_FAILED', 'starting', 'failed NETWORK', 'starting']);
    const pauses = starts.slice(1).map((at, n) => at - (starts[n] ?? 0));
    expect(pauses.slice(0, 3).every((ms) => ms <= 5_000)).toBe(true);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(300_000);
    expect(Math.min(...pauses.slice(-5))).toBeGreaterThanOrEqual(150_000);
    on.startError = undefined;
    await clock.advance(300_000);
    expect([connection.state, connection.error]).toEqual(['live', undefined]);
    await clock.advance(HOUR);
    const before = starts.length;
    await fail(); // it had recovered: its next failure is the first one
    await clock.advance(1_100);
    expect(starts).toHaveLength(before + 1);
    expect(connection.state).toBe('live');
  });

  it('waits longer for a client that fails as soon as it is live', async () => {
    const { clock, connections, starts, fail } = onStubs();
    await connections.open({ userId });
    for (let n = 0; n < 12; n++) {
      await fail();
      await clock.advance(300_000 - 30_000 * (n % 2));
    }
    expect(starts.length).toBeLessThanOrEqual(13);
  });

  it('is not started again for a connection that its listener closes when told', async () => {
    const { clock, connections, starts, fail } = onStubs();
    const connection = await connections.open({ userId });
    connection.on('stateChanged', () => void connection.close());
    await fail();
    await clock.advance(HOUR);
    expect(starts).toHaveLength(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it('does not count on when it is closed meanwhile: nothing is left', async () => {
    const { clock, connections, callbacks, starts, fail, registry } = onStubs();
    const connection = await connections.open({ userId, callback: () => {} });
    await fail();
    await connection.close();
    expect(callbacks.hasOwn(userId)).toBe(false);
    await clock.advance(HOUR);
    expect(starts).toHaveLength(1);
    expect(registry.info(userId)).toMatchObject({ state: 'failed', connections: 0 });
    expect(clock.pendingTimers).toBe(0);
  });

  it.each(['before the next start', 'during the next start'])('gives way to a stop %s', async (when) => {
    const { clock, connections, starts, fail, stop, on, registry } = onStubs();
    const connection = await connections.open({ userId });
    on.startError = new MatrixClientManagerError('NETWORK', 'no way');
    await fail();
    const starting = when.startsWith('during') ? registry.start(userId).catch(() => 'failed') : undefined;
    await stop();
    await starting;
    expect(connection.state).toBe('stopped');
    const before = starts.length;
    await clock.advance(HOUR);
    expect(starts).toHaveLength(before);
    expect(connection.state).toBe('stopped');
    on.startError = undefined;
    await registry.start(userId);
    expect(connection.state).toBe('live');
    expect(registry.info(userId)).toMatchObject({ connections: 1 });
  });

  it.each(['UNKNOWN_TOKEN', 'USER_DEACTIVATED', 'CLIENT_NOT_STARTED'] as const)(
    'does not have it started again where the start fails with %s',
    async (code) => {
      const { clock, connections, starts, fail, on } = onStubs();
      const connection = await connections.open({ userId });
      on.startError = new MatrixClientManagerError(code, 'no session');
      await fail();
      await clock.advance(HOUR);
      expect([connection.state, connection.error?.code, starts.length]).toEqual(['loggedOut', code, 2]);
    },
  );

  it('and that never began leaves no timer', async () => {
    const { clock, connections, on, starts } = onStubs();
    on.startError = fault;
    const both = [connections.open({ userId }), connections.open({ userId })];
    expect(await Promise.allSettled(both)).toMatchObject([{ reason: fault }, { reason: fault }]);
    await clock.advance(HOUR);
    expect(starts).toHaveLength(1);
    expect(clock.pendingTimers).toBe(0);
  });
});
