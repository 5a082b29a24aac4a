import { testContext } from '../support/context.js';
import { describe, expect, it } from 'vitest';
import { ClientRegistry } from '../../src/users/client-registry.js';
import type { ClientHooks, ClientRegistryOptions } from '../../src/users/client-registry.js';
import { activityPolicy, MatrixClientManagerError } from '../../src/index.js';
import { ManualClock, MemoryUserEngine } from '../../src/testing/index.js';

/** A client whose start and stop end when the test says so. */
class StubClient extends MemoryUserEngine {
  readonly engine = this;
  readonly starting = Promise.withResolvers<void>();
  readonly stopping = Promise.withResolvers<void>();
  readonly pace: (number | 'live')[] = [];
  signal: AbortSignal | undefined;
  stops = 0;

  constructor(
    readonly userId: string,
    readonly hooks: ClientHooks,
    manual: boolean,
    clock = new ManualClock(),
  ) {
    super(clock);
    this.stopping.promise.catch(() => {}); // a test may reject it before the stop
    if (manual) return;
    this.starting.resolve();
    this.stopping.resolve();
  }

  override async start(signal: AbortSignal): Promise<void> {
    this.signal = signal;
    await this.starting.promise;
    await super.start(signal);
  }

  override rest(pollIntervalMs: number): void {
    this.pace.push(pollIntervalMs);
    super.rest(pollIntervalMs);
  }

  override wake(): void {
    this.pace.push('live');
    super.wake();
  }

  override async stop(): Promise<void> {
    this.stops++;
    await this.stopping.promise;
    await super.stop();
  }
}

function setUp(options: Partial<ClientRegistryOptions> & { manual?: boolean } = {}) {
  const clock = new ManualClock();
  const clients: StubClient[] = [];
  const log: string[] = [];
  const { manual = false, ...rest } = options;
  const registry = new ClientRegistry(testContext({ clock }), {
    create: async (userId, _given, hooks) => {
      const client = new StubClient(userId, hooks, manual, clock);
      clients.push(client);
      return client;
    },
    idleTimeoutMs: 1_000,
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
    clients[0]?.hooks.onReachableChanged(false);
    clients[0]?.hooks.onReachableChanged(true);
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

describe('a client whose stop fails', () => {
  it.each(['requested', 'idle', 'evicted', 'failed', 'loggedOut'] as const)(
    'leaves neither its slot nor its place behind: %s',
    async (reason) => {
      const stops: [string, string | undefined][] = [];
      const { registry, clients, clock, turn } = setUp({
        manual: true,
        maxClients: 1,
        onStopped: (_userId, why, error) => stops.push([why, error?.code]),
      });
      const starting = registry.start('a');
      await turn();
      clients[0]?.starting.resolve();
      await starting;
      clients[0]?.stopping.reject(new Error('a listener threw'));
      if (reason === 'requested') await expect(registry.stop('a')).rejects.toMatchObject({ code: 'CLIENT_FAILED' });
      if (reason === 'idle') await clock.advance(1_100);
      if (reason === 'failed') clients[0]?.hooks.onFatal(new MatrixClientManagerError('FORBIDDEN', 'no'));
      if (reason === 'loggedOut') clients[0]?.hooks.onFatal(new MatrixClientManagerError('UNKNOWN_TOKEN', 'dead'));
      const next = registry.start(reason === 'evicted' ? 'b' : 'a');
      await turn();
      const [why, code] = stops[0] ?? [];
      expect(why).toBe(reason);
      expect(code).toBe({ failed: 'FORBIDDEN', loggedOut: 'UNKNOWN_TOKEN' }[reason as string] ?? 'CLIENT_FAILED');
      expect(registry.list().map(({ state }) => state)).toEqual(['starting']);
      clients[1]?.starting.resolve();
      expect(await next).toBe(clients[1]);
    },
  );

  it('does not keep the others from being stopped at the end, which tells of it', async () => {
    const { registry, clients, turn } = setUp({ manual: true });
    const starts = ['a', 'b', 'c'].map((userId) => registry.start(userId));
    await turn();
    for (const { starting } of clients) starting.resolve();
    await Promise.all(starts);
    clients[0]?.stopping.reject(new Error('a'));
    clients[1]?.stopping.reject(new Error('b'));
    clients[2]?.stopping.resolve();
    const closing = registry.close();
    await expect(closing).rejects.toBeInstanceOf(AggregateError);
    expect(clients.map(({ stops }) => stops)).toEqual([1, 1, 1]);
    expect(registry.list()).toEqual([]);
  });
});

describe('a signal', () => {
  const aborted = { code: 'ABORTED' };

  it.each(['start', 'lease'] as const)('ends the wait of a %s for a start, and not the start', async (call) => {
    const { registry, clients, turn } = setUp({ manual: true });
    const controller = new AbortController();
    const other = registry.start('a');
    const waits =
      call === 'start' ? registry.start('a', {}, controller.signal) : registry.lease('a', controller.signal);
    await turn();
    controller.abort();
    await expect(waits).rejects.toMatchObject(aborted);
    clients[0]?.starting.resolve();
    expect(await other).toBe(clients[0]);
    expect(registry.info('a')).toMatchObject({ state: 'live', leases: 0 });
  });

  it.each(['start', 'lease'] as const)('ends the wait of a %s for a stop', async (call) => {
    const { registry, clients, turn } = setUp({ manual: true });
    const first = registry.start('a');
    await turn();
    clients[0]?.starting.resolve();
    await first;
    const stopping = registry.stop('a');
    const controller = new AbortController();
    const waits =
      call === 'start' ? registry.start('a', {}, controller.signal) : registry.lease('a', controller.signal);
    controller.abort();
    await expect(waits).rejects.toMatchObject(aborted);
    clients[0]?.stopping.resolve();
    await stopping;
    await turn();
    expect(clients).toHaveLength(1);
  });

  it('takes a start out of the line under maxClients, unless somebody else waits for it', async () => {
    const { registry, turn } = setUp({ maxClients: 1 });
    const held = await registry.lease('a');
    const controller = new AbortController();
    const alone = registry.lease('b', controller.signal).catch((error: unknown) => error);
    const shared = registry.start('c', {}, controller.signal).catch((error: unknown) => error);
    const stays = registry.start('c');
    await turn();
    expect(registry.queuedStarts).toBe(2);
    controller.abort();
    expect(await alone).toMatchObject(aborted);
    expect(await shared).toMatchObject(aborted);
    await turn();
    expect(registry.queuedStarts).toBe(1);
    expect(registry.info('b')).toBeUndefined();
    held[Symbol.dispose]();
    await stays;
    expect(registry.list().map(({ userId }) => userId)).toEqual(['c']);
    await registry.close();
  });

  it('takes a start out of the line for its turn under startConcurrency', async () => {
    const { registry, clients, turn } = setUp({ manual: true, startConcurrency: 1, maxClients: 2 });
    const first = registry.start('a');
    const controller = new AbortController();
    const second = registry.start('b', {}, controller.signal);
    await turn();
    controller.abort();
    await expect(second).rejects.toMatchObject(aborted);
    await turn();
    expect(registry.info('b')).toBeUndefined();
    const third = registry.start('c'); // whose place b has given back
    clients[0]?.starting.resolve();
    await first;
    await turn();
    clients[1]?.starting.resolve();
    expect(await third).toBe(clients[1]);
    expect(clients[1]?.userId).toBe('c');
  });

  it('that has fired already starts nothing', async () => {
    const { registry, clients } = setUp();
    await expect(registry.start('a', {}, AbortSignal.abort())).rejects.toMatchObject(aborted);
    await expect(registry.lease('a', AbortSignal.abort())).rejects.toMatchObject(aborted);
    expect(clients).toHaveLength(0);
    expect(registry.list()).toEqual([]);
  });
});

it('ends a start at once that waits for its turn, when it is stopped', async () => {
  const { registry, clients, turn } = setUp({ manual: true, startConcurrency: 1 });
  const first = registry.start('a');
  const second = registry.start('b').catch((error: unknown) => error);
  await turn();
  expect(await registry.stop('b')).toBe(true);
  expect(await second).toMatchObject({ code: 'ABORTED' });
  clients[0]?.starting.resolve();
  await first;
  await turn();
  expect(clients).toHaveLength(1);
});

describe('a hold', () => {
  it('keeps a client from being idle, resting or evicted until the last one ends, also over restarts', async () => {
    const policy = activityPolicy({ idleTimeoutMs: 1_000, restAfterMs: 300 });
    const { registry, clients, clock, turn } = setUp({ maxClients: 1, connectionPolicy: policy });
    await registry.start('a');
    await clock.advance(500);
    expect(registry.info('a')).toMatchObject({ resting: true, connections: 0 });
    for (let n = 0; n < 2; n++) registry.connectionOpened('a');
    expect(registry.info('a')).toMatchObject({ resting: false, connections: 2 });
    expect(clients[0]?.pace.at(-1)).toBe('live');
    const b = registry.start('b');
    await clock.advance(10_000);
    registry.connectionClosed('a');
    await turn();
    expect(registry.info('a')).toMatchObject({ state: 'live', resting: false, connections: 1 });
    await registry.stop('a'); // a stop wins
    await b;
    await registry.start('a'); // for which b is evicted
    const bAgain = registry.start('b');
    await clock.advance(10_000);
    expect(registry.info('a')).toMatchObject({ state: 'live', resting: false, connections: 1 });
    registry.connectionClosed('a');
    await bAgain;
    expect(registry.has('a')).toBe(false);
    await registry.close();
  });

  it('is followed by the whole idle time', async () => {
    const { registry, clock } = setUp();
    registry.connectionOpened('a');
    await registry.start('a');
    await clock.advance(10_000);
    registry.connectionClosed('a');
    await clock.advance(900);
    expect(registry.has('a')).toBe(true);
    await clock.advance(300);
    expect(registry.has('a')).toBe(false);
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
