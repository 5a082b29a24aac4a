import type { MatrixClient } from 'matrix-js-sdk';
import { describe, expect, it } from 'vitest';
import { ClientRegistry } from '../../src/clients/client-registry.js';
import type { ClientHooks, ClientRegistryOptions, ManagedClient } from '../../src/clients/client-registry.js';
import { activityPolicy, MatrixClientManagerError } from '../../src/index.js';
import { ManualClock } from '../../src/testing/index.js';

/** A client whose start and stop end when the test says so. */
class StubClient implements ManagedClient {
  observe(): MatrixClient {
    return {} as MatrixClient;
  }
  readonly deviceId = 'DEVICE';
  readonly lastSyncAt = undefined;
  readonly starting = Promise.withResolvers<void>();
  readonly stopping = Promise.withResolvers<void>();
  signal: AbortSignal | undefined;
  stops = 0;

  constructor(
    readonly userId: string,
    readonly hooks: ClientHooks,
    manual: boolean,
  ) {
    if (manual) return;
    this.starting.resolve();
    this.stopping.resolve();
  }

  start(signal: AbortSignal): Promise<void> {
    this.signal = signal;
    return this.starting.promise;
  }

  readonly pace: (number | 'live')[] = [];

  rest(pollIntervalMs: number): void {
    this.pace.push(pollIntervalMs);
  }

  wake(): void {
    this.pace.push('live');
  }

  stop(): Promise<void> {
    this.stops++;
    return this.stopping.promise;
  }
}

function setUp(options: Partial<ClientRegistryOptions> & { manual?: boolean } = {}) {
  const clock = new ManualClock();
  const clients: StubClient[] = [];
  const log: string[] = [];
  const { manual = false, ...rest } = options;
  const registry = new ClientRegistry({
    create: async (userId, _given, hooks) => {
      const client = new StubClient(userId, hooks, manual);
      clients.push(client);
      return client;
    },
    clock,
    connectionPolicy: activityPolicy({ idleTimeoutMs: 1_000 }),
    sweepIntervalMs: 100,
    maxHeapBytes: Infinity,
    maxClients: Infinity,
    startConcurrency: 8,
    onStateChanged: (userId, from, to) => log.push(`${userId} ${from}->${to}`),
    onStarted: (userId) => log.push(`${userId} started`),
    onStopped: (userId, reason) => log.push(`${userId} stopped: ${reason}`),
    ...rest,
  });
  return { registry, clients, clock, log, turn: () => clock.advance(0) };
}

describe('starting and stopping', () => {
  it('starts one client for any number of starts at once', async () => {
    const { registry, clients } = setUp();
    const started = await Promise.all([registry.start('a'), registry.start('a'), registry.lease('a')]);
    expect(clients).toHaveLength(1);
    expect(started[0]).toBe(clients[0]);
    expect(started[1]).toBe(clients[0]);
    await registry.close();
  });

  it('goes through the states in order', async () => {
    const { registry, clients, log } = setUp();
    await registry.start('a');
    clients[0]?.hooks.onConnection(false);
    clients[0]?.hooks.onConnection(true);
    await registry.stop('a');
    expect(log).toEqual([
      'a stopped->starting',
      'a starting->live',
      'a started',
      'a live->reconnecting',
      'a reconnecting->live',
      'a live->stopping',
      'a stopping->stopped',
      'a stopped: requested',
    ]);
    expect(registry.info('a')).toBeUndefined();
    await registry.close();
  });

  it('stops a client that is still starting, once it has started', async () => {
    const { registry, clients, turn } = setUp({ manual: true });
    const starting = registry.start('a');
    await turn();
    const stopping = registry.stop('a');
    await turn();
    expect(clients[0]?.stops).toBe(0);
    clients[0]?.starting.resolve();
    await starting;
    clients[0]?.stopping.resolve();
    expect(await stopping).toBe(true);
    expect(registry.has('a')).toBe(false);
  });

  it('starts a client that is still stopping, once it has stopped', async () => {
    const { registry, clients, turn } = setUp({ manual: true });
    const first = registry.start('a');
    await turn();
    clients[0]?.starting.resolve();
    await first;
    const stopping = registry.stop('a');
    const second = registry.start('a');
    await turn();
    expect(clients).toHaveLength(1);
    clients[0]?.stopping.resolve();
    await stopping;
    await turn();
    expect(clients).toHaveLength(2);
    clients[1]?.starting.resolve();
    expect(await second).toBe(clients[1]);
  });

  it('leaves nothing of a start that failed but its error, and starts anew', async () => {
    const { registry, clients, turn, log } = setUp({ manual: true });
    const failure = new MatrixClientManagerError('NETWORK', 'down');
    const starts = [registry.start('a'), registry.start('a')].map((start) => start.catch((error: unknown) => error));
    await turn();
    clients[0]?.starting.reject(failure);
    expect(await Promise.all(starts)).toEqual([failure, failure]);
    expect(registry.has('a')).toBe(false);
    expect(registry.info('a')).toMatchObject({ state: 'failed', error: failure });
    const again = registry.start('a');
    await turn();
    clients[1]?.starting.resolve();
    await again;
    expect(registry.info('a')).toMatchObject({ state: 'live' });
    expect(log).toContain('a failed->starting');
  });

  it('says false for a user without a client', async () => {
    const { registry } = setUp();
    expect(await registry.stop('a')).toBe(false);
    expect(registry.touch('a')).toBe(false);
    expect(registry.get('a')).toBeUndefined();
  });

  it('stops a client that cannot go on, and says why', async () => {
    const { registry, clients, log, turn } = setUp();
    await registry.start('a');
    await registry.start('b');
    const dead = new MatrixClientManagerError('UNKNOWN_TOKEN', 'dead');
    const refused = new MatrixClientManagerError('FORBIDDEN', 'no');
    clients[0]?.hooks.onFatal(dead);
    clients[1]?.hooks.onFatal(refused);
    await turn();
    expect(log).toContain('a stopped: loggedOut');
    expect(log).toContain('b stopped: failed');
    expect(registry.info('a')).toBeUndefined();
    expect(registry.info('b')).toMatchObject({ state: 'failed', error: refused });
  });

  it('replaces a client on another device than asked for', async () => {
    const { registry, clients } = setUp();
    await registry.start('a', { accessToken: 't', deviceId: 'DEVICE' });
    await registry.start('a', { accessToken: 't2', deviceId: 'OTHER' });
    expect(clients).toHaveLength(2);
    expect(clients[0]?.stops).toBe(1);
    await registry.close();
  });

  it('starts as many at once as it may', async () => {
    const { registry, clients, turn } = setUp({ manual: true, startConcurrency: 2 });
    const starts = ['a', 'b', 'c'].map((userId) => registry.start(userId));
    await turn();
    expect(clients.map(({ userId }) => userId)).toEqual(['a', 'b']);
    clients[0]?.starting.resolve();
    await turn();
    expect(clients.map(({ userId }) => userId)).toEqual(['a', 'b', 'c']);
    clients[1]?.starting.resolve();
    clients[2]?.starting.resolve();
    await Promise.all(starts);
  });
});

describe('idle clients', () => {
  it('stops a client after the idle time without activity, and not before', async () => {
    const { registry, clock, log } = setUp();
    await registry.start('a');
    await registry.start('b');
    await clock.advance(900);
    registry.touch('b');
    await clock.advance(200);
    expect(log).toContain('a stopped: idle');
    expect(registry.has('b')).toBe(true);
    await clock.advance(1_000);
    expect(log).toContain('b stopped: idle');
    expect(clock.pendingTimers).toBe(0);
  });

  it('keeps a client that is leased, and counts its time from the end of the lease', async () => {
    const { registry, clock } = setUp();
    const leases = [await registry.lease('a'), await registry.lease('a')];
    await clock.advance(10_000);
    expect(registry.info('a')).toMatchObject({ state: 'live', leases: 2 });
    leases[0]?.[Symbol.dispose]();
    await clock.advance(10_000);
    expect(registry.has('a')).toBe(true);
    leases[1]?.[Symbol.dispose]();
    await clock.advance(900);
    expect(registry.has('a')).toBe(true);
    await clock.advance(300);
    expect(registry.has('a')).toBe(false);
  });
});

describe('maxClients', () => {
  it('makes room by stopping the least recently active client without a lease', async () => {
    const { registry, clock, log } = setUp({ maxClients: 3 });
    for (const userId of ['a', 'b', 'c']) await registry.start(userId);
    await clock.advance(1);
    registry.touch('a');
    const lease = await registry.lease('b');
    await registry.start('d');
    expect(log).toContain('c stopped: evicted');
    await registry.start('e');
    expect(log).toContain('a stopped: evicted');
    expect(registry.has('b')).toBe(true);
    lease[Symbol.dispose]();
    await registry.close();
  });

  it('lets a start wait its turn while all clients are leased', async () => {
    const { registry, turn } = setUp({ maxClients: 1 });
    const lease = await registry.lease('a');
    const order: string[] = [];
    const b = registry.lease('b').then((held) => (order.push('b'), held));
    const c = registry.lease('c').then((held) => (order.push('c'), held));
    await turn();
    expect(order).toEqual([]);
    lease[Symbol.dispose]();
    (await b)[Symbol.dispose]();
    (await c)[Symbol.dispose]();
    expect(order).toEqual(['b', 'c']);
    expect(registry.list().filter(({ state }) => state === 'live')).toHaveLength(1);
    await registry.close();
  });

  it('ends a start that waits for its turn when it is stopped', async () => {
    const { registry, turn } = setUp({ maxClients: 1 });
    await registry.lease('a');
    const waiting = registry.start('b').catch((error: unknown) => error);
    await turn();
    expect(await registry.stop('b')).toBe(true);
    expect(await waiting).toMatchObject({ code: 'ABORTED' });
    expect(registry.info('b')).toBeUndefined();
    await registry.close();
  });

  it('never runs more clients than allowed, whatever is started and stopped at once', async () => {
    let up = 0;
    let most = 0;
    const { registry } = setUp({
      maxClients: 3,
      create: async (userId, _given, hooks) => {
        const client = new StubClient(userId, hooks, false);
        const stop = client.stop.bind(client);
        up++;
        most = Math.max(most, up);
        client.stop = () => {
          up--;
          return stop();
        };
        return client;
      },
    });
    await Promise.all(Array.from({ length: 40 }, (_, n) => registry.start(`u${n % 13}`)));
    expect(most).toBe(3);
    await registry.close();
    expect(up).toBe(0);
  });
});

describe('closing', () => {
  it('ends starts, waiting or not, and stops every client', async () => {
    const { registry, clients, turn, clock } = setUp({ manual: true, maxClients: 2 });
    const live = registry.start('a');
    await turn();
    clients[0]?.starting.resolve();
    await live;
    const lease = registry.lease('a');
    const starting = registry.start('b').catch((error: unknown) => error);
    const waiting = registry.start('c').catch((error: unknown) => error);
    await turn();
    clients[1]?.signal?.addEventListener('abort', () => clients[1]?.starting.reject(new Error('aborted')));
    clients[0]?.stopping.resolve();
    await registry.close();
    expect(await starting).toMatchObject({ code: 'MANAGER_CLOSED' });
    expect(await waiting).toMatchObject({ code: 'MANAGER_CLOSED' });
    expect(clients[0]?.stops).toBe(1);
    expect(registry.list()).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
    (await lease)[Symbol.dispose]();
    await expect(registry.start('a')).rejects.toMatchObject({ code: 'MANAGER_CLOSED' });
  });
});
