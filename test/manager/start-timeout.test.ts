import { afterEach, describe, expect, it } from 'vitest';
import type { MatrixClientManagerOptions } from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

const START_TIMEOUT_MS = 20_000;
/** What the SDK's loop and the storage are given to end, once a sync is being stored. */
const STOP_MS = 60_000;

function setUp(options: Partial<MatrixClientManagerOptions> = {}) {
  const on = managerOnFake({ startTimeoutMs: START_TIMEOUT_MS, startConcurrency: 1, ...options });
  open.push(on.fake, on.manager);
  const [alice, bob] = ['alice', 'bob'].map((username) => on.fake.createUser({ username }));
  return { ...on, alice: alice!, bob: bob!, userId: alice!.userId };
}
type On = ReturnType<typeof setUp>;

/** Has the storage not answer for Alice, until the function that is returned is called. */
function hangStorage({ storage, userId }: On, method: 'getCredentials' | 'loadCheckpoint' | 'commit'): () => void {
  const answers = storage[method].bind(storage) as (user: string, ...rest: unknown[]) => Promise<unknown>;
  const over = Promise.withResolvers<void>();
  let hangs = true;
  (storage as unknown as Record<string, unknown>)[method] = async (user: string, ...rest: unknown[]) => {
    if (hangs && user === userId) await over.promise;
    return answers(user, ...rest);
  };
  return () => {
    hangs = false;
    over.resolve();
  };
}

/** What a start can wait for; each returns what ends the wait. */
const waits: Record<string, (on: On) => () => void> = {
  'storage.getCredentials()': (on) => hangStorage(on, 'getCredentials'),
  'storage.loadCheckpoint()': (on) => hangStorage(on, 'loadCheckpoint'),
  'storage.commit()': (on) => hangStorage(on, 'commit'),
  'the homeserver': ({ fake }) => {
    fake.faults.hang({ endpoint: '/sync' });
    return () => fake.faults.clear();
  },
};

/** What `work` has come to so far. */
function outcome(work: Promise<unknown>): { code?: unknown; value?: unknown } {
  const end: { code?: unknown; value?: unknown } = {};
  work.then(
    (value) => (end.value = value),
    (error: { code?: unknown }) => (end.code = error.code ?? error),
  );
  return end;
}

describe.each(Object.keys(waits))('a start that waits for %s', (what) => {
  it('fails after startTimeoutMs, ends a stop that waits for it, and lets the next one start', async () => {
    const on = setUp();
    const { manager, clock, storage, alice, bob, userId, fake } = on;
    for (const user of [alice, bob]) await storage.setCredentials(user);
    const answer = waits[what]!(on);
    const start = outcome(manager.startClient({ userId }));
    await clock.advance(0);
    const stop = outcome(manager.stopClient(userId));
    await clock.advance(START_TIMEOUT_MS - 1);
    expect([start, stop]).toEqual([{}, {}]);
    await clock.advance(1);
    if (what === 'storage.commit()') await clock.advance(STOP_MS);
    expect(start).toEqual({ code: 'TIMEOUT' });
    expect(stop).toEqual({ value: true });
    expect(manager.hasClient(userId)).toBe(false);

    const requests = fake.requests.length;
    answer();
    await clock.advance(0);
    expect(fake.requests.length).toBe(requests); // nothing is left of it
    await manager.startClient({ userId: bob.userId });
    expect(await manager.startClient({ userId })).toMatchObject({ state: 'live' });
  });
});

it('a start that waits for `credentials` fails after startTimeoutMs, however it was asked for', async () => {
  const { manager, clock, userId } = setUp({ credentials: () => new Promise(() => {}), startConcurrency: 8 });
  const calls = [
    manager.startClient({ userId }),
    manager.withClient(userId, () => {}),
    manager.connect({ userId }),
    manager.encryptionStatus(userId),
  ].map(outcome);
  await clock.advance(START_TIMEOUT_MS - 1);
  expect(calls).toEqual([{}, {}, {}, {}]);
  await clock.advance(1);
  expect(calls.map(({ code }) => code)).toEqual(['TIMEOUT', 'TIMEOUT', 'TIMEOUT', 'TIMEOUT']);
  expect(manager.listClients()).toEqual([]);
});

it.each(Object.keys(waits))('a shutdown does not wait for a start that waits for %s', async (what) => {
  const on = setUp();
  const { manager, clock, storage, alice, userId } = on;
  await storage.setCredentials(alice);
  const answer = waits[what]!(on);
  const start = outcome(manager.startClient({ userId }));
  await clock.advance(10);
  const closing = outcome(manager.shutdown());
  await clock.advance(STOP_MS);
  answer();
  await clock.advance(0);
  expect(start).toEqual({ code: 'MANAGER_CLOSED' });
  expect(closing).toEqual({ value: undefined });
});
