import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import type { ClientCallback, ClientEvent } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';

/** How much happened in all lives: a test of nothing would find nothing. */
const total = { started: 0, delivered: 0, stopped: 0 };

const USERS = ['ann', 'ben', 'cat'];

type Step =
  | { do: 'start' | 'stop' | 'touch' | 'lease' | 'release' | 'send' | 'say' | 'add' | 'remove' | 'kill'; user: number }
  | { do: 'advance'; ms: number }
  | { do: 'restart' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'start',
        'start',
        'start',
        'say',
        'say',
        'send',
        'stop',
        'touch',
        'lease',
        'release',
        'send',
        'say',
        'add',
        'remove',
        'kill',
      ),
      user: fc.nat(USERS.length - 1),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('advance'), ms: fc.constantFrom(0, 10, 1_000, 30_000, 90_000) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart') }) },
);

/** Plays one life of a manager: steps are begun without waiting for those before, unless time is advanced. */
async function play(steps: readonly Step[], maxClients: number, slidingSync: boolean): Promise<void> {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  const users = USERS.map((username) => fake.createUser({ username }));
  const [creator = '', ...members] = users.map(({ userId }) => userId);
  const roomId = fake.createRoom({ creator, members });
  // With others after it, the room is not among those that a client starts with by sliding sync.
  for (let i = 0; i < (slidingSync ? 22 : 0); i++) fake.createRoom({ creator, members });
  const manager = new MatrixClientManager({
    homeserverUrl: fake.baseUrl,
    admin: fake.admin,
    fetch: fake.fetch,
    clock,
    maxClients,
    slidingSync,
    idleTimeoutMs: 60_000,
    sweepIntervalMs: 5_000,
  });
  const running = new Set<string>();
  const doubled: string[] = []; // looked at in the end: what a listener throws is caught by the manager
  manager.on('clientStateChanged', ({ userId, to }) => {
    if (to === 'live') total.started++;
    if (to === 'stopped') total.stopped++;
    if (to === 'starting') {
      if (running.has(userId)) doubled.push(userId);
      running.add(userId);
    }
    if (to === 'stopped' || to === 'failed') running.delete(userId);
  });

  const delivered = new Map<ClientCallback, string[]>();
  const callbacks = users.map(() =>
    [0, 1].map((): ClientCallback => {
      const callback = async (event: ClientEvent): Promise<void> => {
        await Promise.resolve();
        if (event.type === 'message') delivered.get(callback)?.push(event.eventId);
      };
      delivered.set(callback, []);
      return callback;
    }),
  );
  const leases: (() => void)[] = [];
  const calls: Promise<unknown>[] = [];
  /** Nothing may be left hanging, and what fails has to fail with an error of ours. */
  const begin = (call: Promise<unknown>): void => {
    calls.push(call.catch((error: unknown) => expect(error).toMatchObject({ name: 'MatrixClientManagerError' })));
  };

  for (const action of steps) {
    if (action.do === 'advance') {
      await clock.advance(action.ms);
      for (const { userId } of users) expect(openSyncs(fake, userId)).toBeLessThanOrEqual(1);
      continue;
    }
    if (action.do === 'restart') {
      fake.restart();
      continue;
    }
    const user = users[action.user] as (typeof users)[number];
    const { userId } = user;
    const callback = callbacks[action.user]?.[steps.indexOf(action) % 2] as ClientCallback;
    if (action.do === 'start') begin(manager.startClient({ ...user, callbacks: [callback] }));
    if (action.do === 'stop') begin(manager.stopClient(userId));
    if (action.do === 'touch') manager.touch(userId);
    if (action.do === 'lease') begin(manager.withClient(userId, () => new Promise<void>((done) => leases.push(done))));
    if (action.do === 'release') leases.shift()?.();
    if (action.do === 'send') begin(manager.sendMessage({ userId, roomId, text: 'sent' }));
    if (action.do === 'say') fake.sendMessage(roomId, userId, 'said');
    if (action.do === 'add') manager.addCallback(userId, callback);
    if (action.do === 'remove') manager.removeCallback(userId, callback);
    if (action.do === 'kill') fake.killTokens(userId);
  }
  await clock.advance(1_000);
  const over = manager.shutdown();
  for (let rounds = 0; rounds < 5; rounds++) {
    for (const release of leases.splice(0)) release(); // a lease that ends lets another start, which is let go next
    await clock.advance(60_000);
  }
  await over;
  await Promise.all(calls);

  for (const eventIds of delivered.values()) total.delivered += eventIds.length;
  for (const eventIds of delivered.values()) expect(new Set(eventIds).size).toBe(eventIds.length);
  expect(doubled).toEqual([]);
  expect([...running]).toEqual([]);
  expect(manager.listClients()).toEqual([]);
  expect(fake.inFlight).toBe(0);
  expect(clock.pendingTimers).toBe(0);
  await expect(manager.startClient({ userId: users[0]?.userId ?? '' })).rejects.toMatchObject({
    code: 'MANAGER_CLOSED',
  });
  expect(fake.unhandled).toEqual([]);
  await fake.close();
}

/** Long polls of a user that the homeserver holds now. */
function openSyncs(fake: FakeHomeserver, userId: string): number {
  return fake.requests.filter((request) => {
    return request.endpoint === '/sync' && request.userId === userId && request.status === undefined;
  }).length;
}

describe('random lives of a manager', () => {
  it('has one client per user at most, delivers nothing twice, and leaves nothing over', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 80 }), fc.constantFrom(1, 2, 10), fc.boolean(), play),
      { numRuns: Number(process.env.LIVES ?? 100), timeout: 10_000, endOnFailure: true },
    );
    expect(total.started).toBeGreaterThan(200);
    expect(total.delivered).toBeGreaterThan(200);
    expect(total.stopped).toBeGreaterThan(200);
  }, 90_000);
});
