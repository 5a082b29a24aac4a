import { afterEach, describe, expect, it } from 'vitest';
import { instruments } from '../../src/telemetry/instruments.js';
import { allTextOf } from '../support/all-text-of.js';
import { eventfulLife } from './eventful-life.js';
import { WatchedManager } from './watched-manager.js';
import { sum } from './watched-metrics.js';
import type { Point } from './watched-metrics.js';

const open: WatchedManager[] = [];

function watched(...args: ConstructorParameters<typeof WatchedManager>): WatchedManager {
  const made = new WatchedManager(...args);
  open.push(made);
  return made;
}

afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

describe('the metrics of an eventful life', () => {
  it('have all moved, agree with stats(), and name nobody', async () => {
    const watch = watched({ gapFillLimit: 100, callbackAttempts: 2, idleTimeoutMs: Infinity });
    const { ids } = await eventfulLife(watch);
    const metrics = await watch.collect();
    const of = (name: keyof typeof instruments): Point[] => metrics.get(instruments[name].name) ?? [];
    const stats = watch.manager.stats();

    // Each is there, with the labels it is described with, and nothing but those.
    expect(new Set(metrics.keys())).toEqual(new Set(Object.values(instruments).map(({ name }) => name)));
    for (const { name, labels } of Object.values(instruments)) {
      for (const point of metrics.get(name) ?? []) {
        expect([name, ...Object.keys(point.labels).toSorted()]).toEqual([
          name,
          ...['server.address', ...Object.keys(labels)].toSorted(),
        ]);
      }
    }

    expect(sum(of('clients'), { state: 'live' })).toBe(1);
    expect(stats.clients).toMatchObject({ live: 1, starting: 0 });
    const starts = of('starts');
    expect(sum(starts, { outcome: 'live', resumed: 'false' })).toBe(1);
    expect(sum(starts, { outcome: 'live', resumed: 'true' })).toBe(1);
    expect(sum(starts, { outcome: 'failed' })).toBe(1);
    expect(stats.starts).toMatchObject({ fresh: { count: 1 }, resumed: { count: 1 }, failed: 1 });
    expect(sum(of('startDuration'))).toBe(2);
    expect(sum(of('stops'), { reason: 'requested' })).toBe(1);
    expect(stats.stops).toEqual({ requested: 1, idle: 0, evicted: 0, shutdown: 0, loggedOut: 0, failed: 0 });

    for (const kind of ['initial', 'catch-up', 'live'] as const) {
      expect(stats.syncs[kind].count).toBeGreaterThan(0);
      expect(sum(of('syncDuration'), { kind })).toBe(stats.syncs[kind].count);
      expect(sum(of('syncProcessing'), { kind })).toBe(stats.syncProcessing[kind].count);
    }
    const longest = stats.syncs.live;
    expect(longest.maxMs).toBeGreaterThan(1_000); // a long poll
    const liveSyncs = of('syncDuration').find(({ labels }) => labels['kind'] === 'live');
    expect(liveSyncs?.sum).toBeCloseTo(longest.totalMs / 1_000, 6);

    for (const [type, byProvenance] of Object.entries(stats.events)) {
      for (const [provenance, count] of Object.entries(byProvenance)) {
        expect(sum(of('events'), { type, provenance })).toBe(count);
      }
    }
    expect(stats.events).toMatchObject({
      message: { live: 8, 'gap-fill': 128 },
      typing: { live: 2 },
      receipt: { live: 1 },
    });
    expect(stats.events.state.backlog).toBeGreaterThan(0);
    expect(stats.callbacks).toMatchObject({ failed: { count: 2 }, deadLetters: 1 });
    expect(sum(of('callbacks'), { outcome: 'failed' })).toBe(2);
    expect(sum(of('callbacks'), { outcome: 'handled' })).toBe(stats.callbacks.handled.count);
    expect(sum(of('callbackDuration'))).toBe(stats.callbacks.handled.count + 2);
    expect(sum(of('deadLetters'))).toBe(1);

    expect(stats.gaps).toEqual({ filled: 1, open: 1, events: 128 });
    expect(sum(of('gaps'), { outcome: 'filled' })).toBe(1);
    expect(sum(of('gaps'), { outcome: 'open' })).toBe(1);
    expect(sum(of('gapEvents'))).toBe(128);
    expect(stats.checkpoints.stored.count).toBeGreaterThan(3);
    expect(sum(of('checkpointDuration'), { outcome: 'stored' })).toBe(stats.checkpoints.stored.count);
    expect(stats.sends).toMatchObject({ sent: { count: 2 }, failed: { count: 1 } });
    expect(stats.sends.sent.maxMs).toBeGreaterThan(0); // the repetition
    expect(sum(of('sendDuration'), { outcome: 'sent' })).toBe(2);
    expect(stats.provisions).toMatchObject({ created: { count: 1 }, existing: { count: 1 }, failed: { count: 1 } });
    expect(sum(of('provisionDuration'))).toBe(3);

    const requests = of('requests');
    expect(sum(requests)).toBe(stats.requests.count);
    for (const { method, endpoint, status, result, count } of stats.requests.byEndpoint) {
      expect(sum(requests, { method, endpoint, status, result })).toBe(count);
    }
    const send = '/_matrix/client/v3/rooms/{roomId}/send/{type}/{txnId}';
    expect(sum(requests, { endpoint: send, status: '5xx', result: 'transient' })).toBe(1);
    expect(sum(requests, { endpoint: send, status: '2xx', result: 'ok' })).toBe(2);
    const lookUp = '/_matrix/client/v3/rooms/{roomId}/state/{type}/{stateKey}'; // whether a room is encrypted
    expect(sum(requests, { endpoint: lookUp, status: '4xx', result: 'permanent' })).toBe(2);
    expect(sum(requests, { endpoint: '/_matrix/client/v3/sync', result: 'transient' })).toBeGreaterThan(0);
    const slidingSync = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';
    expect(sum(requests, { endpoint: slidingSync, status: '2xx' })).toBeGreaterThan(0);
    expect(sum(requests, { endpoint: 'other' })).toBe(0);
    expect(sum(of('requestDuration'), { endpoint: send })).toBe(3);
    expect(sum(of('retries'), { endpoint: send })).toBe(1);
    expect(sum(of('retries'))).toBe(stats.requests.retries);
    expect(sum(of('outages'))).toBe(stats.outages);
    expect(stats.outages).toBeGreaterThanOrEqual(1);
    const spans = watch.spans.map(({ name, attributes, status, events }) => ({ name, attributes, status, events }));
    const shown = allTextOf([[...metrics], stats, spans]);
    for (const id of ids) expect(shown).not.toContain(id);
    expect(shown).not.toMatch(/@[a-z]+:|![A-Za-z0-9]|\$[A-Za-z0-9]{5}|syt_/);
  });

  it('are few: however many users, rooms and events, the label sets are the same', async () => {
    const watch = watched();
    const size = async (): Promise<number> => [...(await watch.collect()).values()].flat().length;
    const live = async (username: string): Promise<void> => {
      const { userId } = await watch.manager.provisionUser({ username });
      await watch.manager.startClient({ userId, callbacks: [() => {}] });
      const roomId = watch.fake.createRoom({ creator: userId });
      await watch.manager.sendMessage({ userId, roomId, text: username });
      await watch.clock.advance(100);
    };
    await live('first');
    await live('second');
    const before = await size();
    for (let n = 0; n < 20; n++) await live(`user${n}`);
    expect(await size()).toBe(before);
  });
});

describe('what is read when metrics are collected', () => {
  it('shows queues, the admin pool and leases while they last', async () => {
    const watch = watched({ adminConcurrency: 1, startConcurrency: 1 });
    const { manager, fake, clock } = watch;
    const { userId } = await manager.provisionUser({ username: 'alice' });
    await manager.startClient({ userId });
    const roomId = fake.createRoom({ creator: userId });
    const connection = await manager.connect({ userId });
    const release = fake.faults.hang({});
    const sends = [1, 2].map((n) => manager.sendMessage({ userId, roomId, text: `${n}`, durable: n === 2 }));
    const admin = [1, 2, 3].map(() => manager.admin.getUser(userId));
    const starts = ['b', 'c'].map(async (username) => {
      const user = fake.createUser({ username });
      return manager.startClient({ userId: user.userId, accessToken: user.accessToken, deviceId: user.deviceId });
    });
    for (const call of [...sends, ...admin, ...starts]) call.catch(() => {});
    await clock.advance(100);
    expect(manager.stats()).toMatchObject({
      clients: { live: 1, starting: 2 },
      leases: 1,
      openConnections: 1,
      queues: { send: 2, outbox: 1, admin: 2, starts: 1, rateLimiter: 0, homeserver: 0 },
      admin: { running: 1, waiting: 2 },
    });
    expect(await watch.value('matrix.queue.length', { queue: 'send' })).toBe(2);
    expect(await watch.value('matrix.queue.length', { queue: 'outbox' })).toBe(1);
    expect(await watch.value('matrix.queue.length', { queue: 'admin' })).toBe(2);
    expect(await watch.value('matrix.queue.length', { queue: 'starts' })).toBe(1);
    expect(await watch.value('matrix.admin.pool', { state: 'running' })).toBe(1);
    expect(await watch.value('matrix.client.leases')).toBe(1);
    expect(await watch.value('matrix.client.connections')).toBe(1);
    await connection.close();
    expect(manager.stats().openConnections).toBe(0);
    expect(await watch.value('matrix.client.count', { state: 'starting' })).toBe(2);
    release();
    fake.restart();
    await clock.advance(60_000);
    await Promise.allSettled([...sends, ...admin, ...starts]);
    expect(await watch.value('matrix.queue.length')).toBe(0);
    expect(await watch.value('matrix.admin.pool')).toBe(0);
  });

  it('shows requests that a rate limit holds back', async () => {
    const watch = watched({ rateLimit: { perSecond: 1, burst: 3 } });
    const { manager, clock } = watch;
    const calls = [1, 2, 3, 4, 5].map(() => manager.admin.isUsernameAvailable('alice'));
    await clock.advance(0);
    expect(manager.stats().queues.rateLimiter).toBeGreaterThan(0);
    expect(await watch.value('matrix.queue.length', { queue: 'rateLimiter' })).toBe(manager.stats().queues.rateLimiter);
    await clock.advance(10_000);
    await Promise.all(calls);
  });

  it('shows the breaker, the clients that wait, and the lag', async () => {
    const watch = watched();
    const { manager, fake, clock } = watch;
    const { userId } = await manager.provisionUser({ username: 'alice' });
    await manager.startClient({ userId });
    expect(await watch.value('matrix.breaker.state')).toBe(0);
    const mend = fake.faults.status({}, { status: 503 });
    fake.restart();
    // The pauses between a lonely client's tries are random: it takes a minute and a half, or more.
    for (let n = 0; n < 30 && manager.stats().homeserver === 'up'; n++) await clock.advance(10_000);
    expect(await watch.value('matrix.breaker.state')).toBe(1);
    expect(await watch.value('matrix.queue.length', { queue: 'homeserver' })).toBe(1);
    expect(await watch.value('matrix.sync.lag')).toBeGreaterThan(50);
    expect(manager.stats()).toMatchObject({ homeserver: 'down', outages: 1, queues: { homeserver: 1 } });
    await manager.sendMessage({ userId, roomId: `!x:${fake.serverName}`, text: 'x' }).catch(() => {});
    expect(await watch.value('matrix.request.count', { result: 'unavailable', status: 'none' })).toBeGreaterThan(0);
    mend();
    await clock.advance(30_000);
    expect(await watch.value('matrix.breaker.state')).toBe(0);
    expect(await watch.value('matrix.breaker.openings')).toBe(1);
  });

  it('ends with the manager, and what was counted stays', async () => {
    const watch = watched();
    const { userId } = await watch.manager.provisionUser({ username: 'alice' });
    await watch.manager.startClient({ userId });
    await watch.manager.shutdown();
    const metrics = await watch.collect();
    expect(sum(metrics.get('matrix.client.stops'), { reason: 'shutdown' })).toBe(1);
    expect(metrics.get('matrix.client.count') ?? []).toEqual([]);
    expect(watch.manager.stats()).toMatchObject({ clients: { live: 0 }, stops: { shutdown: 1 } });
  });
});

it('stats() counts without OpenTelemetry being set up', async () => {
  const watch = new WatchedManager();
  await watch.close();
  const plain = watched({ meterProvider: undefined, tracerProvider: undefined } as never);
  await plain.manager.provisionUser({ username: 'alice' });
  expect(plain.manager.stats()).toMatchObject({ provisions: { created: { count: 1 } }, requests: { count: 2 } });
});
